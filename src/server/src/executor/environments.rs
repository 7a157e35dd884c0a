//! A cache of the launcher environments of sandboxes. Building one, and comparing it with the environment that a
//! manager was started for, takes longer than the rest of a call, especially for a large closure.

use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use sandbox_plan::SandboxEnvironment;

use crate::call::definition::{Network, Sandbox};
use crate::sandbox::launch::Controls;
use crate::sandbox::view::View;
use crate::sandbox::{host_network, plan};

/// Launcher environments by sandbox and view.
#[derive(Default)]
pub struct Environments {
    cached: Mutex<Vec<CachedEnvironment>>,
}

struct CachedEnvironment {
    environment: Arc<SandboxEnvironment>,
    /// The inputs of the environment.
    sandbox: &'static Sandbox,
    view: Arc<View>,
    host_files: Vec<(PathBuf, String)>,
}

impl Environments {
    /// Returns the environment of a sandbox with this view, in this machine's present state.
    pub fn of(&self, sandbox: &'static Sandbox, view: &Arc<View>) -> Arc<SandboxEnvironment> {
        let host_files = match sandbox.network {
            // What the host has can change while the server runs.
            Network::Bridge => host_network::files(),
            Network::None | Network::Allow(_) => Vec::new(),
        };
        let mut all = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let matches = |cached: &CachedEnvironment| ptr::eq(cached.sandbox, sandbox) && Arc::ptr_eq(&cached.view, view);
        if let Some(cached) = all.iter().find(|cached| matches(cached) && cached.host_files == host_files) {
            return cached.environment.clone();
        }
        let environment = Arc::new(plan::environment(Controls::of_this_machine(), sandbox, view));
        let added = CachedEnvironment { environment: environment.clone(), sandbox, view: view.clone(), host_files };
        // A view that only this cache holds will not be asked for again.
        all.retain(|cached| !matches(cached) && Arc::strong_count(&cached.view) > 1);
        all.push(added);
        environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::catalog::catalog;

    #[test]
    fn environment_is_cached_per_view() {
        let environments = Environments::default();
        for tool in catalog().tools {
            let (view, mut other) = (Arc::new(View::empty()), View::empty());
            let first = environments.of(&tool.sandbox, &view);
            assert!(Arc::ptr_eq(&first, &environments.of(&tool.sandbox, &view)), "{}", tool.sandbox.id);
            other.links.push(crate::sandbox::view::Link::new("/lib", "usr/lib"));
            let second = environments.of(&tool.sandbox, &Arc::new(other));
            assert_ne!(first, second, "{}", tool.sandbox.id);
        }
    }

    #[test]
    fn environment_is_evicted_with_its_view() {
        let (environments, kept) = (Environments::default(), Arc::new(View::empty()));
        for tool in catalog().tools {
            environments.of(&tool.sandbox, &kept);
            environments.of(&tool.sandbox, &Arc::new(View::empty()));
        }
        // The last entry is of a dropped view; the next call evicts it.
        assert_eq!(environments.cached.lock().unwrap().len(), catalog().tools.len() + 1);
    }
}
