//! The managers of all environments in use: each is started by its first call and ends when it was not used for long.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sandbox_plan::{Call, SandboxEnvironment, Step};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::manager::Manager;
use super::{LaunchError, OnSockets, Run};
use crate::call::job::Output;

/// How long a manager waits for a call that does not come.
const IDLE: Duration = Duration::from_secs(900);
/// How many managers a pool of few keeps.
const FEW: usize = 4;
/// How many sandboxes each of them may have ready.
const FEW_READY: usize = 1;
/// How often a call is handed to a new manager when one was lost before the call began.
const ATTEMPTS: usize = 3;
/// The most sandboxes that are kept ready, and the most in which a program runs already.
const MOST_READY: usize = 32;
const MOST_AHEAD: usize = 4;

/// Runs plans in sandboxes that are ready before they are asked for.
#[derive(Default)]
pub struct Pool {
    /// They are few.
    managers: Mutex<Vec<Slot>>,
    /// How many sandboxes a manager may have ready; None leaves it to this machine's size.
    ready: Option<usize>,
    /// How many managers are kept that are not at work.
    most: Option<usize>,
}

struct Slot {
    environment: Arc<SandboxEnvironment>,
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

    /// A pool for environments of which there may be any number: few managers are kept, and few sandboxes ready.
    pub fn of_few(ready: Option<usize>) -> Self {
        Self { ready: Some(ready.unwrap_or(FEW_READY).min(FEW_READY)), most: Some(FEW), ..Self::default() }
    }

    /// Runs a call, in a sandbox that was ready if there was one. Whatever way it returns, nothing of the sandbox is left.
    pub async fn run(
        &self,
        environment: &Arc<SandboxEnvironment>,
        call: &Call,
        output: Output,
        cancelled: &CancellationToken,
    ) -> Result<Run, LaunchError> {
        self.run_with_sockets(environment, call, output, &drop, cancelled).await
    }

    /// The same for an environment whose sandboxes have a gateway, of which somebody gets the sockets.
    pub async fn run_with_sockets(
        &self,
        environment: &Arc<SandboxEnvironment>,
        call: &Call,
        output: Output,
        on_sockets: OnSockets<'_>,
        cancelled: &CancellationToken,
    ) -> Result<Run, LaunchError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let cell = self.slot(environment);
            let ready = self.ready.unwrap_or_else(|| most_ready(environment));
            let start = cell.get_or_try_init(|| Manager::start(environment, ready));
            let manager = tokio::select! {
                manager = start => manager?,
                () = cancelled.cancelled() => return Err(LaunchError::Cancelled),
            };
            match manager.run(call, output, on_sockets, cancelled).await {
                Err(LaunchError::Unbegun { source }) => {
                    self.forget(&cell);
                    if attempts == ATTEMPTS {
                        return Err(LaunchError::Lost { source });
                    }
                    tracing::warn!("a manager of sandboxes was lost, and another is started: {source}");
                }
                Err(error @ LaunchError::Lost { .. }) => {
                    self.forget(&cell);
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    fn slot(&self, environment: &Arc<SandboxEnvironment>) -> Arc<OnceCell<Manager>> {
        let now = Instant::now();
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is at work has more owners than this map.
        managers.retain(|slot| Arc::strong_count(&slot.manager) > 1 || now - slot.used < IDLE);
        // To compare what they name takes longer than all else here, and is seldom needed.
        let same = |slot: &&mut Slot| Arc::ptr_eq(&slot.environment, environment) || slot.environment == *environment;
        match managers.iter_mut().find(same) {
            Some(slot) => {
                slot.used = now;
                slot.manager.clone()
            }
            None => {
                self.make_room(&mut managers);
                let manager = Arc::default();
                let environment = Arc::clone(environment);
                managers.push(Slot { environment, manager: Arc::clone(&manager), used: now });
                manager
            }
        }
    }

    /// Lets go of those not used for longest, so that there is room for one more.
    fn make_room(&self, managers: &mut Vec<Slot>) {
        while self.most.is_some_and(|most| managers.len() >= most) {
            let idle = managers.iter().enumerate().filter(|(_, slot)| Arc::strong_count(&slot.manager) == 1);
            let Some((index, _)) = idle.min_by_key(|(_, slot)| slot.used) else { return };
            managers.swap_remove(index);
        }
    }

    /// Lets go of the managers that show this path: what they have mounted is gone from the disk once it was deleted, though
    /// something of the same name may be there again.
    pub fn forget_path(&self, path: &Path) {
        let shows = |step: &Step| matches!(step, Step::Bind { source, .. } if source == path);
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        managers.retain(|slot| !slot.environment.view.iter().any(shows));
    }

    /// Lets go of a manager, unless another took its place already.
    fn forget(&self, lost: &Arc<OnceCell<Manager>>) {
        let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        managers.retain(|slot| !Arc::ptr_eq(&slot.manager, lost));
    }
}

/// Twice the processors: more calls at once gain nothing, and a ready sandbox takes up to 2 MB. One whose program was
/// started ahead takes what the program takes, which can be 100 MB, so that few must be enough.
fn most_ready(environment: &SandboxEnvironment) -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    let (each, most) = if environment.ahead.is_some() { (1, MOST_AHEAD) } else { (2, MOST_READY) };
    (each * *PROCESSORS).min(most)
}
