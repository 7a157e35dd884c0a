//! Views with packages, the last used of which are kept: to make one takes reading the closure of each package, and what is
//! made of a view is known by it from call to call.

use std::sync::{Arc, Mutex, PoisonError};

use crate::call::packages::Packages;
use crate::sandbox::view::View;

/// How many are kept. There are as many others as clients can name.
const MOST: usize = 16;

#[derive(Default)]
pub struct JoinedViews {
    /// The last used comes last.
    kept: Mutex<Vec<Joined>>,
}

struct Joined {
    /// The view of the environment alone.
    base: Arc<View>,
    view: Arc<View>,
}

impl JoinedViews {
    /// The view that `base` makes with these packages, if it is kept and all that it shows is still there.
    pub fn find(&self, base: &Arc<View>, packages: &Packages) -> Option<Arc<View>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |joined: &Joined| Arc::ptr_eq(&joined.base, base) && joined.view.packages == *packages;
        let joined = kept.iter().position(is_wanted).map(|index| kept.remove(index))?;
        if !joined.view.is_present() {
            return None;
        }
        let view = joined.view.clone();
        kept.push(joined);
        Some(view)
    }

    /// Keeps a view that was made of `base`, in place of the one that was not used for longest if there are too many; or
    /// gives the same that another call has made meanwhile.
    pub fn keep(&self, base: &Arc<View>, view: View) -> Arc<View> {
        if let Some(view) = self.find(base, &view.packages) {
            return view;
        }
        let view = Arc::new(view);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push(Joined { base: base.clone(), view: view.clone() });
        view
    }

    /// Forgets all, since some of what they show is not there any more.
    pub fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::definition::{Environment, Package, PackageSet};

    /// As many packages as there are views, and one more; all of them are there.
    fn packages() -> Vec<Packages> {
        let package = |index: usize| Package {
            name: format!("{index:02}").leak(),
            version: "",
            description: "",
            search_paths: &[],
            environment: Environment { drv: "", out: format!("{}/.", "/.".repeat(index)).leak() },
        };
        let packages: &'static [Package] = Vec::leak((0..=MOST).map(package).collect());
        let set: &'static PackageSet = Box::leak(Box::new(PackageSet { id: "", description: "", packages }));
        let choose = |package: &Package| Packages::choose(&[package.name.to_owned()], &[set], |_| Vec::new());
        packages.iter().map(|package| choose(package).expect("it is in the set")).collect()
    }

    #[test]
    fn the_views_used_last_are_kept() {
        let (joined, base, packages) = (JoinedViews::default(), Arc::new(View::empty()), packages());
        let view = |packages: &Packages| View { packages: packages.clone(), ..View::empty() };
        let kept: Vec<_> = packages[..MOST].iter().map(|packages| joined.keep(&base, view(packages))).collect();
        assert!(Arc::ptr_eq(&joined.find(&base, &packages[0]).expect("it is kept"), &kept[0]));
        joined.keep(&base, view(&packages[MOST]));
        assert!(joined.find(&base, &packages[1]).is_none());
        assert!(joined.find(&base, &packages[0]).is_some() && joined.find(&base, &packages[MOST]).is_some());
    }

    #[test]
    fn a_view_is_made_anew_for_another_environment_and_once_for_two_calls() {
        let (joined, base, packages) = (JoinedViews::default(), Arc::new(View::empty()), packages());
        let view = || View { packages: packages[0].clone(), ..View::empty() };
        let first = joined.keep(&base, view());
        assert!(Arc::ptr_eq(&first, &joined.keep(&base, view())));
        assert!(joined.find(&Arc::new(View::empty()), &packages[0]).is_none());
    }
}
