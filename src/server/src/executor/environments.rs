//! What sandboxes are made of, kept from call to call: to make it anew, and to compare all that it names with what a
//! manager was started for, takes a server longer than the rest of a call, the more so the larger the closure.

use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use sandbox_plan::SandboxEnvironment;

use crate::call::definition::{Network, Sandbox};
use crate::sandbox::launch::Controls;
use crate::sandbox::plan;
use crate::sandbox::view::View;

#[derive(Default)]
pub struct Environments {
    known: Mutex<Vec<Known>>,
}

struct Known {
    environment: Arc<SandboxEnvironment>,
    /// What it was made of.
    sandbox: &'static Sandbox,
    view: Arc<View>,
    resolver: Vec<(PathBuf, String)>,
}

impl Environments {
    /// The environment of a sandbox with this view, as this machine is now.
    pub fn of(&self, sandbox: &'static Sandbox, view: &Arc<View>) -> Arc<SandboxEnvironment> {
        let resolver = match sandbox.network {
            // The host's resolver can change while the server runs.
            Network::Bridge => plan::resolver_files(),
            Network::None | Network::Allow(_) => Vec::new(),
        };
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |known: &Known| ptr::eq(known.sandbox, sandbox) && Arc::ptr_eq(&known.view, view);
        if let Some(known) = all.iter().find(|known| is_of(known) && known.resolver == resolver) {
            return known.environment.clone();
        }
        let environment = Arc::new(plan::environment(Controls::of_this_machine(), sandbox, view));
        let known = Known { environment: environment.clone(), sandbox, view: view.clone(), resolver };
        // A view that nobody else has will not be asked for again.
        all.retain(|known| !is_of(known) && Arc::strong_count(&known.view) > 1);
        all.push(known);
        environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tool::TOOLS;

    #[test]
    fn an_environment_is_made_once_for_a_view_and_anew_for_another() {
        let environments = Environments::default();
        for tool in TOOLS {
            let (view, mut other) = (Arc::new(View::empty()), View::empty());
            let first = environments.of(&tool.sandbox, &view);
            assert!(Arc::ptr_eq(&first, &environments.of(&tool.sandbox, &view)), "{}", tool.sandbox.id);
            other.links.push(crate::sandbox::view::Link::new("/lib", "usr/lib"));
            let second = environments.of(&tool.sandbox, &Arc::new(other));
            assert_ne!(first, second, "{}", tool.sandbox.id);
        }
    }

    #[test]
    fn what_was_made_for_a_view_is_kept_no_longer_than_the_view() {
        let (environments, kept) = (Environments::default(), Arc::new(View::empty()));
        for tool in TOOLS {
            environments.of(&tool.sandbox, &kept);
            environments.of(&tool.sandbox, &Arc::new(View::empty()));
        }
        // The last was the other's, which nobody has asked after since.
        assert_eq!(environments.known.lock().unwrap().len(), TOOLS.len() + 1);
    }
}
