//! An LRU cache of views with packages. Making a view reads the closure of each package. Prepared sandboxes are found
//! by the identity of their view, so the same view must be used from call to call.

use std::sync::{Arc, Mutex, PoisonError};

use crate::call::packages::Packages;
use crate::sandbox::view::View;

/// The capacity of the cache. Clients choose the packages, so the number of possible views is unbounded.
const MAX_CACHED_VIEWS: usize = 16;

/// A cache of views, which evicts the least recently used one when it is full.
#[derive(Default)]
pub struct ViewCache {
    /// The most recently used entry is the last one.
    entries: Mutex<Vec<CachedView>>,
}

struct CachedView {
    /// The view of the environment without packages.
    base: Arc<View>,
    view: Arc<View>,
}

impl ViewCache {
    /// Returns the view of `base` with these packages. `None` if it is not cached, or if one of its store paths was
    /// deleted.
    pub fn get(&self, base: &Arc<View>, packages: &Packages) -> Option<Arc<View>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |cached: &CachedView| Arc::ptr_eq(&cached.base, base) && cached.view.packages == *packages;
        let cached = entries.iter().position(is_wanted).map(|index| entries.remove(index))?;
        if !cached.view.is_present() {
            return None;
        }
        let view = cached.view.clone();
        entries.push(cached);
        Some(view)
    }

    /// Adds a view that was made of `base`, and evicts the least recently used one if the cache is full. Returns the
    /// cached view if another call has added the same one in the meantime.
    pub fn insert(&self, base: &Arc<View>, view: View) -> Arc<View> {
        if let Some(view) = self.get(base, &view.packages) {
            return view;
        }
        let view = Arc::new(view);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == MAX_CACHED_VIEWS {
            entries.remove(0);
        }
        entries.push(CachedView { base: base.clone(), view: view.clone() });
        view
    }

    /// Removes all views, because some of their store paths were deleted.
    pub fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::definition::{Environment, Package, PackageSet};

    /// Makes one package more than the cache has entries. The paths of all of them exist.
    fn packages() -> Vec<Packages> {
        let package = |index: usize| Package {
            name: format!("{index:02}").leak(),
            version: "",
            description: "",
            provides: &[],
            search_paths: &[],
            environment: Environment { drv: "", out: format!("{}/.", "/.".repeat(index)).leak() },
        };
        let packages: &'static [Package] = Vec::leak((0..=MAX_CACHED_VIEWS).map(package).collect());
        let set: &'static PackageSet = Box::leak(Box::new(PackageSet { id: "", description: "", packages }));
        let choose = |package: &Package| Packages::choose(&[package.name.to_owned()], &[set], |_| Vec::new());
        packages.iter().map(|package| choose(package).expect("it is in the set")).collect()
    }

    #[test]
    fn least_recently_used_view_is_evicted() {
        let (cache, base, packages) = (ViewCache::default(), Arc::new(View::empty()), packages());
        let view = |packages: &Packages| View { packages: packages.clone(), ..View::empty() };
        let (last, first) = packages.split_last().expect("there are packages");
        let views: Vec<_> = first.iter().map(|packages| cache.insert(&base, view(packages))).collect();
        assert!(Arc::ptr_eq(&cache.get(&base, &packages[0]).expect("it is cached"), &views[0]));
        cache.insert(&base, view(last));
        assert!(cache.get(&base, &packages[1]).is_none());
        assert!(cache.get(&base, &packages[0]).is_some() && cache.get(&base, last).is_some());
    }

    #[test]
    fn view_is_cached_once_per_environment() {
        let (cache, base, packages) = (ViewCache::default(), Arc::new(View::empty()), packages());
        let view = || View { packages: packages[0].clone(), ..View::empty() };
        let first = cache.insert(&base, view());
        assert!(Arc::ptr_eq(&first, &cache.insert(&base, view())));
        assert!(cache.get(&Arc::new(View::empty()), &packages[0]).is_none());
    }
}
