//! The way out: resolves a host where the server is, judges each address, and connects to that very address.
//!
//! Each connection is resolved anew and once, so that no answer of a moment later takes the place of the one that was
//! judged.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::refusals::Reason;
use sandbox_manifest::address;
use sandbox_manifest::policy::Host;

/// How long the resolver, and the way to one address, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many addresses of a name are tried.
const MOST_TRIED: usize = 6;

/// The C library resolves names, in a thread for each, and can't be interrupted: threads that hang in it must not grow in
/// number, and not keep others from working.
static LOOKUPS: Semaphore = Semaphore::const_new(32);

/// Connects to a host that is allowed already.
pub async fn connect(host: &Host, port: u16) -> Result<TcpStream, Reason> {
    let addresses = match host {
        Host::Address(address) => vec![IpAddr::V4(*address)],
        Host::Name(name) => resolve(name.as_str()).await.map_err(Reason::Unresolved)?,
    };
    let addresses = public(addresses)?;
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses.into_iter().take(MOST_TRIED) {
        match timeout(PATIENCE, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Reason::Unreachable(failure))
}

/// The addresses of a name, none twice, in the order in which they should be tried.
async fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    // The dot keeps the resolver from trying the name below this machine's own domains.
    let name = format!("{name}.");
    let lookup = async {
        // It is never closed.
        let permit = LOOKUPS.acquire().await.map_err(io::Error::other)?;
        spawn_blocking(move || {
            // Held by the thread, which may go on after the wait for it is over.
            let _permit = permit;
            (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip().to_canonical()).collect())
        })
        .await
        .map_err(io::Error::other)?
    };
    let found: Vec<IpAddr> = timeout(PATIENCE, lookup).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Leaves the addresses that may be connected to; with none left, the reason is that of the first.
fn public(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Reason> {
    let mut refused = None;
    let mut public = Vec::new();
    for address in addresses {
        let reason = match address::refused(address) {
            Some(block) => Reason::Address(block),
            None if is_own(address) => Reason::OwnMachine,
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

/// Whether the address is one of this machine's own, whose services may trust what comes from the machine itself: the
/// kernel would then choose it, or a loopback address, as the source as well. Nothing is sent for this.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Any port will do.
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // Without a way there, connecting fails too, and says why.
    source.is_ok_and(|source| source.ip() == address || source.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_that_are_not_public_are_left_out_and_with_no_other_the_first_is_the_reason() {
        let left = public(addresses(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"])).unwrap();
        assert_eq!(left, addresses(&["8.8.8.8", "2606:4700::1111"]));
        match public(addresses(&["169.254.169.254", "10.0.0.1"])).unwrap_err() {
            Reason::Address(block) => assert_eq!(block.what, "a cloud's metadata service"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_of_this_machine_is_known_as_its_own() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()) && is_own(Ipv4Addr::new(127, 1, 2, 3).into()));
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
