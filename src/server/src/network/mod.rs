//! Network access by allow-list: a sandbox reaches the hosts and ports that its definition lists, and nothing else.
//!
//! # How a program gets out
//!
//! ```text
//!  sandbox's network namespace          │ server
//!                                       │
//!  program ── UDP 198.18.0.1:53 ────────┼─ resolver: a fake address for an allowed name, or none
//!     │                                 │
//!     └────── TCP 198.18.1.7:443 ───────┼─ relay: which name is 198.18.1.7? is it allowed at 443? ──► outside:
//!                                       │    resolve it, judge the addresses, connect to one of these ──► host
//! ```
//!
//! The namespace has only a loopback interface. [`Gateway`] lists what the launcher sets up there before it drops its
//! privileges: routes from the fake addresses in 198.18.0.0/15 to that interface, and sockets at these addresses. The
//! launcher opens the sockets inside the namespace and passes them to the server, which serves them from outside
//! ([`serve`]). There is no interface to a wider network, no process in between, and no proxy that programs must be
//! configured for. TLS is end to end between the program and the host.
//!
//! | socket | served by |
//! |---|---|
//! | one TCP listener for each listed host and port, and one for each port of a wildcard | `relay` |
//! | UDP port 53 | `resolver` |
//! | raw TCP, which receives the first packet of each connection | `observer` |
//!
//! # What is refused, and where
//!
//! | what | where |
//! |---|---|
//! | a name that is not listed | the resolver answers that it does not exist |
//! | an address that is not listed, UDP, ICMP, IPv6 | the namespace has no route there |
//! | a port that is not listed | no socket listens there; the observer records the reason |
//! | a listed name at the port of another one | `relay`, by the list |
//! | a listed name that resolves to a private network, to this machine or to a cloud's metadata service | `outside`, by [`sandbox_manifest::address`] |
//! | DNS rebinding: another answer after the first was checked | each connection resolves its name once |
//!
//! Refused connections are returned as [`Refusals`], one sentence each.
//!
//! # Limitations
//!
//! Traffic is not inspected. If a host serves several names at one address, a program can reach all of them by TLS or
//! HTTP. Names are resolved by this machine's resolver; of its NAT64 prefixes, only the reserved ones are recognised.
//! The server needs direct access to the internet: it does not use a proxy.

pub(crate) mod dns;
pub mod gateway;
mod names;
mod observer;
mod outside;
mod rate_limit;
mod refusals;
mod relay;
mod resolver;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use gateway::Gateway;
use names::NameTable;
use observer::Observer;
use rate_limit::RateLimiter;
use refusals::RefusalLog;
use sandbox_manifest::policy::Entry;

pub use refusals::Refusals;

/// How many connections of one sandbox are served at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// How many DNS questions, or connection attempts without a listener, are handled at once before the rate limit
/// applies.
const EVENT_BURST: u32 = 256;

/// The delay before an operation that failed temporarily is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The sockets that the launcher opened in the sandbox's network namespace, as its [`Gateway`] lists them.
#[derive(Debug)]
pub struct Sockets {
    /// TCP sockets that listen.
    pub listeners: Vec<OwnedFd>,
    /// The UDP socket at port 53.
    pub resolver: OwnedFd,
    /// A raw TCP socket.
    pub observer: OwnedFd,
}

impl Sockets {
    /// Splits the sockets that the launcher opened for `entries`. Their order is: listeners, resolver, observer.
    ///
    /// # Errors
    ///
    /// `EMFILE` if sockets are missing. The kernel drops descriptors that exceed this process's limit (RLIMIT_NOFILE).
    pub fn of(entries: &[Entry], mut opened: Vec<OwnedFd>) -> io::Result<Self> {
        if opened.len() != Gateway::of(entries).listeners.len() + 2 {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        match (opened.pop(), opened.pop()) {
            (Some(observer), Some(resolver)) => Ok(Self { listeners: opened, resolver, observer }),
            _ => unreachable!("there are at least two sockets"),
        }
    }
}

/// Serves a sandbox's sockets until `ended`, and returns the refused connections. All of its tasks stop when it returns
/// or when the future is dropped.
pub async fn serve(
    entries: &'static [Entry<'static>],
    sockets: Sockets,
    ended: &CancellationToken,
) -> io::Result<Refusals> {
    let network = Arc::new(SandboxNetwork::new(entries));
    let _end = network.ended.clone().drop_guard();
    let observer = Observer::adopt(sockets.observer)?;
    let resolver = resolver::adopt(sockets.resolver)?;
    let listeners = sockets.listeners.into_iter().map(relay::adopt).collect::<io::Result<Vec<_>>>()?;

    network.spawn(resolver::answer(resolver, network.clone()));
    for listener in listeners {
        network.spawn(relay::accept(listener, network.clone()));
    }
    ended.run_until_cancelled(observer.observe(&network)).await;
    ended.cancelled().await;
    network.ended.cancel();
    network.tasks.close();
    network.tasks.wait().await;
    observer.finish(&network);
    Ok(network.refusals.take())
}

/// The state that the tasks serving one sandbox share.
struct SandboxNetwork {
    names: NameTable,
    gateway: Gateway,
    refusals: RefusalLog,
    /// One permit for each connection that may be served now.
    connection_slots: Arc<Semaphore>,
    connection_rate: RateLimiter,
    question_rate: RateLimiter,
    /// Limits the recording of connection attempts where no socket listens.
    attempt_rate: RateLimiter,
    tasks: TaskTracker,
    /// Cancelled when the sandbox ends.
    ended: CancellationToken,
}

impl SandboxNetwork {
    fn new(entries: &'static [Entry<'static>]) -> Self {
        Self {
            names: NameTable::new(entries),
            gateway: Gateway::of(entries),
            refusals: RefusalLog::default(),
            connection_slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            connection_rate: RateLimiter::new(MAX_CONNECTIONS as u32, 100),
            question_rate: RateLimiter::new(EVENT_BURST, 1000),
            attempt_rate: RateLimiter::new(EVENT_BURST, 1000),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Starts a task that stops when the sandbox ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            ended.run_until_cancelled(task).await;
        });
    }
}
