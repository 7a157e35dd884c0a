//! Outgoing connections: resolves a host from the server's network, checks each address, and connects to a checked one.
//!
//! Each connection resolves its name exactly once. A later DNS answer can therefore not replace the one that was
//! checked (DNS rebinding).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::refusals::RefusalReason;
use sandbox_manifest::address;
use sandbox_manifest::policy::RemoteHost;

/// The time limit for resolving a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many addresses of a name are tried.
const MAX_TRIED_ADDRESSES: usize = 6;

/// Limits the lookups at once. The C library resolves each name in a thread that cannot be interrupted, so hanging
/// lookups must not use up the threads of the blocking pool.
static LOOKUP_SLOTS: Semaphore = Semaphore::const_new(32);

/// Connects to a host that the allow-list permits.
pub async fn connect(host: &RemoteHost, port: u16) -> Result<TcpStream, RefusalReason> {
    let addresses = match host {
        RemoteHost::Address(address) => vec![IpAddr::V4(*address)],
        RemoteHost::Name(name) => resolve(name.as_str()).await.map_err(RefusalReason::Unresolved)?,
    };
    let addresses = public(addresses)?;
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses.into_iter().take(MAX_TRIED_ADDRESSES) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(RefusalReason::Unreachable(failure))
}

/// Resolves a name to its distinct addresses, in the order in which they should be tried.
async fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    // The final dot stops the resolver from appending this machine's search domains.
    let name = format!("{name}.");
    let lookup = async {
        // The semaphore is never closed.
        let permit = LOOKUP_SLOTS.acquire().await.map_err(io::Error::other)?;
        spawn_blocking(move || {
            // The thread holds the permit, because it may outlive the timeout below.
            let _permit = permit;
            (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip().to_canonical()).collect())
        })
        .await
        .map_err(io::Error::other)?
    };
    let found: Vec<IpAddr> =
        timeout(RESOLVE_TIMEOUT, lookup).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Keeps the addresses that may be connected to.
///
/// # Errors
///
/// If no address is left, the reason why the first one was refused.
fn public(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, RefusalReason> {
    let mut refused = None;
    let mut public = Vec::new();
    for address in addresses {
        let reason = match address::refused(address) {
            Some(block) => RefusalReason::Address(block),
            None if is_own(address) => RefusalReason::OwnMachine,
            None => {
                public.push(address);
                continue;
            }
        };
        refused.get_or_insert(reason);
    }
    match refused {
        Some(reason) if public.is_empty() => Err(reason),
        _ => Ok(public),
    }
}

/// Returns whether the address belongs to this machine, whose services may trust local connections. The kernel chooses
/// the address itself, or a loopback address, as the source of packets to such an address. No packet is sent.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // The port does not matter.
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // If there is no route, the connection fails later with the reason.
    source.is_ok_and(|source| source.ip() == address || source.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn public_drops_other_addresses_or_reports_the_first() {
        let left = public(addresses(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"])).unwrap();
        assert_eq!(left, addresses(&["8.8.8.8", "2606:4700::1111"]));
        match public(addresses(&["169.254.169.254", "10.0.0.1"])).unwrap_err() {
            RefusalReason::Address(block) => assert_eq!(block.description, "a cloud's metadata service"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn loopback_address_is_this_machines_own() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()) && is_own(Ipv4Addr::new(127, 1, 2, 3).into()));
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
