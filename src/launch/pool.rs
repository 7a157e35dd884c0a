//! The managers of all environments in use: each is started by its first call and ends when it was not used for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sandbox_launcher::{Environment, Plan};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::manager::Manager;
use super::{LaunchError, OnSockets, Run};
use crate::job::Output;

/// How long a manager waits for a call that does not come.
const IDLE: Duration = Duration::from_secs(900);
/// How often a call is handed to a new manager when one was lost before the call began.
const ATTEMPTS: usize = 3;

/// Runs plans in sandboxes that are ready before they are asked for.
#[derive(Default)]
pub struct Pool {
    managers: Mutex<HashMap<Environment, Slot>>,
    /// How many sandboxes a manager may have ready; None leaves it to this machine's size.
    ready: Option<usize>,
}

struct Slot {
    manager: Arc<OnceCell<Manager>>,
    used: Instant,
}

impl Pool {
    pub fn new() -> Self {
        Self::default()
    }

    /// A pool whose managers have at most so many sandboxes ready.
    pub fn with_ready(ready: usize) -> Self {
        Self { ready: Some(ready), ..Self::default() }
    }

    /// Runs a plan, in a sandbox that was ready if there was one. Whatever way it returns, nothing of the sandbox is
    /// left.
    pub async fn run(&self, plan: &Plan, output: Output, cancelled: &CancellationToken) -> Result<Run, LaunchError> {
        self.run_with_sockets(plan, output, &drop, cancelled).await
    }

    /// The same for a plan whose sandbox has a gateway, of which somebody gets the sockets.
    pub async fn run_with_sockets(
        &self,
        plan: &Plan,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Run, LaunchError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let cell = self.slot(&plan.environment);
            let ready = self.ready.unwrap_or_else(most_ready);
            let start = cell.get_or_try_init(|| Manager::start(&plan.environment, ready));
            let manager = tokio::select! {
                manager = start => manager?,
                () = cancelled.cancelled() => return Err(LaunchError::Cancelled),
            };
            match manager.run(&plan.call, output, on_sockets, cancelled).await {
                Err(LaunchError::Unbegun { source }) => {
                    self.forget(&plan.environment, &cell);
                    if attempts == ATTEMPTS {
                        return Err(LaunchError::Lost { source });
                    }
                    tracing::warn!("a manager of sandboxes was lost, and another is started: {source}");
                }
                Err(error @ LaunchError::Lost { .. }) => {
                    self.forget(&plan.environment, &cell);
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    fn slot(&self, environment: &Environment) -> Arc<OnceCell<Manager>> {
        let now = Instant::now();
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is at work has more owners than this map.
        managers.retain(|_, slot| Arc::strong_count(&slot.manager) > 1 || now - slot.used < IDLE);
        match managers.get_mut(environment) {
            Some(slot) => {
                slot.used = now;
                slot.manager.clone()
            }
            None => {
                let manager = Arc::default();
                managers.insert(environment.clone(), Slot { manager: Arc::clone(&manager), used: now });
                manager
            }
        }
    }

    /// Lets go of a manager, unless another took its place already.
    fn forget(&self, environment: &Environment, lost: &Arc<OnceCell<Manager>>) {
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        if managers.get(environment).is_some_and(|slot| Arc::ptr_eq(&slot.manager, lost)) {
            managers.remove(environment);
        }
    }
}

/// Twice the processors: more calls at once gain nothing, and a ready sandbox takes up to 2 MB.
fn most_ready() -> usize {
    std::thread::available_parallelism().map_or(2, |count| 2 * count.get()).min(32)
}
