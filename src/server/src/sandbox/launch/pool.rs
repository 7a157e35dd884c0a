//! The managers of all environments in use. A manager is started by the first call of its environment, and stopped when
//! it has been idle for a while.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sandbox_plan::{Call, SandboxEnvironment, Step};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::manager::Manager;
use super::{LaunchError, OnSockets, SandboxRun};
use crate::call::cancelled::Cancelled;
use crate::call::job::Output;

/// How long a manager is kept without a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(900);
/// How many managers a small pool keeps.
const SMALL_POOL_MANAGERS: usize = 4;
/// How many sandboxes each manager of a small pool keeps ready.
const SMALL_POOL_READY_SANDBOXES: usize = 1;
/// How often a call is tried, each time with a new manager, if its manager is lost before the call starts.
const MAX_ATTEMPTS: usize = 3;
/// How many sandboxes a manager keeps ready at most.
const MAX_READY_SANDBOXES: usize = 32;
/// How many sandboxes a manager keeps ready at most if their program is started ahead of the call.
const MAX_PRESTARTED_PROGRAMS: usize = 4;

/// Runs calls in sandboxes that are prepared in advance.
#[derive(Default)]
pub struct ManagerPool {
    /// A list, because there are only a few.
    managers: Mutex<Vec<ManagerSlot>>,
    /// How many sandboxes each manager keeps ready. `None` if that depends on the number of processors.
    ready: Option<usize>,
    /// How many managers are kept. `None` if their number is not limited.
    capacity: Option<usize>,
}

/// A manager and its environment.
struct ManagerSlot {
    environment: Arc<SandboxEnvironment>,
    manager: Arc<OnceCell<Manager>>,
    last_used: Instant,
}

impl ManagerPool {
    /// Returns a pool whose number of ready sandboxes depends on the number of processors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a pool whose managers keep `ready` sandboxes ready.
    pub fn with_ready(ready: usize) -> Self {
        Self { ready: Some(ready), ..Self::default() }
    }

    /// Returns a pool for an unbounded number of environments. It keeps few managers, and few sandboxes ready.
    pub fn small(ready: Option<usize>) -> Self {
        Self {
            ready: Some(ready.unwrap_or(SMALL_POOL_READY_SANDBOXES).min(SMALL_POOL_READY_SANDBOXES)),
            capacity: Some(SMALL_POOL_MANAGERS),
            ..Self::default()
        }
    }

    /// Runs a call, in a ready sandbox if there is one. When it returns, nothing of the sandbox is left.
    pub async fn run(
        &self,
        environment: &Arc<SandboxEnvironment>,
        call: &Call,
        output: Output,
        cancelled: &CancellationToken,
    ) -> Result<SandboxRun, LaunchError> {
        self.run_with_sockets(environment, call, output, &drop, cancelled).await
    }

    /// Runs a call whose sandbox has a gateway, and passes the gateway's sockets to `on_sockets`.
    pub async fn run_with_sockets(
        &self,
        environment: &Arc<SandboxEnvironment>,
        call: &Call,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<SandboxRun, LaunchError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let cell = self.slot(environment);
            let ready = self.ready.unwrap_or_else(|| default_ready(environment));
            let start = cell.get_or_try_init(|| Manager::start(environment, ready));
            let manager = tokio::select! {
                manager = start => manager?,
                () = cancelled.cancelled() => return Err(Cancelled.into()),
            };
            match manager.run(call, output, on_sockets, cancelled).await {
                Err(LaunchError::LostBeforeStart { cause }) => {
                    self.remove(&cell);
                    if attempts == MAX_ATTEMPTS {
                        return Err(LaunchError::Lost { cause });
                    }
                    tracing::warn!("lost a manager of sandboxes, starting another one: {cause}");
                }
                Err(error @ LaunchError::Lost { .. }) => {
                    self.remove(&cell);
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    /// Returns the manager of an environment, which may not be started yet.
    fn slot(&self, environment: &Arc<SandboxEnvironment>) -> Arc<OnceCell<Manager>> {
        let now = Instant::now();
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        // A manager in use has owners other than this list.
        managers.retain(|slot| Arc::strong_count(&slot.manager) > 1 || now - slot.last_used < IDLE_TIMEOUT);
        // Pointers are compared first, because comparing whole environments is slow and rarely needed.
        let same =
            |slot: &&mut ManagerSlot| Arc::ptr_eq(&slot.environment, environment) || slot.environment == *environment;
        match managers.iter_mut().find(same) {
            Some(slot) => {
                slot.last_used = now;
                slot.manager.clone()
            }
            None => {
                self.evict_idle(&mut managers);
                let manager = Arc::default();
                let environment = Arc::clone(environment);
                managers.push(ManagerSlot { environment, manager: Arc::clone(&manager), last_used: now });
                manager
            }
        }
    }

    /// Evicts the least recently used idle managers until there is room for one more.
    fn evict_idle(&self, managers: &mut Vec<ManagerSlot>) {
        while self.capacity.is_some_and(|capacity| managers.len() >= capacity) {
            let idle = managers.iter().enumerate().filter(|(_, slot)| Arc::strong_count(&slot.manager) == 1);
            let Some((index, _)) = idle.min_by_key(|(_, slot)| slot.last_used) else { return };
            managers.swap_remove(index);
        }
    }

    /// Removes the managers whose view contains this path. If the path was deleted and created again, they still have
    /// the deleted one mounted.
    pub fn invalidate_path(&self, path: &Path) {
        let shows = |step: &Step| matches!(step, Step::Bind { source, .. } if source == path);
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        managers.retain(|slot| !slot.environment.view.iter().any(shows));
    }

    /// Removes a manager, unless it was replaced already.
    fn remove(&self, lost: &Arc<OnceCell<Manager>>) {
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        managers.retain(|slot| !Arc::ptr_eq(&slot.manager, lost));
    }
}

/// Returns how many sandboxes to keep ready: two for each processor, because more concurrent calls gain nothing and a
/// ready sandbox takes up to 2 MB. A program that is started ahead of the call can take 100 MB, so these are fewer.
fn default_ready(environment: &SandboxEnvironment) -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    let (per_processor, max) =
        if environment.ahead.is_some() { (1, MAX_PRESTARTED_PROGRAMS) } else { (2, MAX_READY_SANDBOXES) };
    (per_processor * *PROCESSORS).min(max)
}
