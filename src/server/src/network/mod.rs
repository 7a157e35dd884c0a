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
//! The namespace holds a loopback interface and no other. [`Gateway`] says what the launcher sets up there before it
//! drops its privileges: routes that lead the fake addresses of 198.18.0.0/15 to that interface, and the sockets at
//! these addresses. It opens them inside and hands them to the server, which serves them outside ([`serve`]). So there
//! is no interface to a wider network, no process between, no proxy for programs to know of, and TLS stays between the
//! program and the host.
//!
//! | socket | served by |
//! |---|---|
//! | one TCP listener for each listed host and port, and one for each port of a wildcard | `relay` |
//! | UDP port 53 | `resolver` |
//! | raw TCP, which sees the first packet of each connection | `observer` |
//!
//! # What is refused, and where
//!
//! | what | where |
//! |---|---|
//! | a name that is not listed | it does not exist for the resolver |
//! | an address that is not listed, UDP, ICMP, IPv6 | the namespace has no route there |
//! | a port that is not listed | nobody listens there; the observer tells why |
//! | a listed name at the port of another one | `relay`, by the list |
//! | a listed name that leads into a private network, to this machine or to a cloud's metadata | `outside`, by [`address`] |
//! | another answer of the DNS once the first was judged | there is no second question for a connection |
//!
//! What was refused comes back as [`Refusals`], a sentence each.
//!
//! # What it does not do
//!
//! It does not look into what is sent. Where a host serves several names at one address, TLS and HTTP can ask it for
//! any of them. It resolves with this machine's resolver, whose NAT64 prefix it knows if it is one of those that are
//! set aside for that. It needs a way to the internet that takes no proxy.

pub(crate) mod dns;
pub mod gateway;
mod names;
mod observer;
mod outside;
mod pace;
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
use names::Names;
use observer::Observer;
use pace::Pace;
use refusals::Record;
use sandbox_manifest::policy::Entry;

pub use refusals::Refusals;

/// How many connections of one sandbox are served at once; further ones wait to be accepted.
const CONNECTIONS_AT_ONCE: usize = 64;

/// How long to wait after an error that may pass.
const RETRY: Duration = Duration::from_millis(100);

/// What the launcher opened in the sandbox's network namespace as its [`Gateway`] says.
#[derive(Debug)]
pub struct Sockets {
    pub listeners: Vec<OwnedFd>,
    pub resolver: OwnedFd,
    /// A raw socket of TCP.
    pub observer: OwnedFd,
}

impl Sockets {
    /// From the order in which the launcher has opened them for these entries: the listeners, the resolver, the
    /// observer.
    pub fn of(entries: &[Entry], mut opened: Vec<OwnedFd>) -> io::Result<Self> {
        if opened.len() != Gateway::of(entries).listeners.len() + 2 {
            // Those are missing that this process had no room for.
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        match (opened.pop(), opened.pop()) {
            (Some(observer), Some(resolver)) => Ok(Self { listeners: opened, resolver, observer }),
            _ => unreachable!("there are two at least"),
        }
    }
}

/// Serves a sandbox's sockets until `ended`, and tells what was refused. Nothing of it goes on afterwards, nor when
/// the future is dropped.
pub async fn serve(
    entries: &'static [Entry<'static>],
    sockets: Sockets,
    ended: &CancellationToken,
) -> io::Result<Refusals> {
    let service = Arc::new(Service::new(entries));
    let _end = service.ended.clone().drop_guard();
    let observer = Observer::adopt(sockets.observer)?;
    let resolver = resolver::adopt(sockets.resolver)?;
    let listeners = sockets.listeners.into_iter().map(relay::adopt).collect::<io::Result<Vec<_>>>()?;

    service.spawn(resolver::answer(resolver, service.clone()));
    for listener in listeners {
        service.spawn(relay::accept(listener, service.clone()));
    }
    ended.run_until_cancelled(observer.observe(&service)).await;
    ended.cancelled().await;
    service.ended.cancel();
    service.tasks.close();
    service.tasks.wait().await;
    observer.finish(&service);
    Ok(service.record.take())
}

/// What all that serves one sandbox has in common.
struct Service {
    names: Names,
    gateway: Gateway,
    record: Record,
    /// Places for connections.
    slots: Arc<Semaphore>,
    connections: Pace,
    questions: Pace,
    attempts: Pace,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Service {
    fn new(entries: &'static [Entry<'static>]) -> Self {
        Self {
            names: Names::new(entries),
            gateway: Gateway::of(entries),
            record: Record::default(),
            slots: Arc::new(Semaphore::new(CONNECTIONS_AT_ONCE)),
            connections: Pace::new(CONNECTIONS_AT_ONCE as u32, 100),
            questions: Pace::new(256, 1000),
            attempts: Pace::new(256, 1000),
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
