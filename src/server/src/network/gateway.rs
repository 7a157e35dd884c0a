//! The set-up of a sandbox's network namespace, as data.
//!
//! Each allowed name gets a fake address in 198.18.0.0/15, a range that is reserved for benchmarks (RFC 2544) and so is
//! never a real host's. In the namespace, these addresses are routed to the loopback interface. Sockets that were
//! opened there, but are held by the server, listen at them. The local address of a connection identifies the name
//! that the program meant.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

use sandbox_plan::Route;

use sandbox_manifest::policy::{Entry, Pattern};

/// The range of addresses that stand for names.
const FAKE_ADDRESSES: Route = Route { network: Ipv4Addr::new(198, 18, 0, 0), prefix: 15 };
/// The address of the sandbox's DNS resolver.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The first address for names that the allow-list names without a wildcard.
const FIRST_LISTED: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
/// The first address for names that a wildcard allows. Such a name gets an address when a program asks for it.
pub(crate) const FIRST_ASKED: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

const DNS_PORT: u16 = 53;

/// The set-up of a network namespace. The loopback interface must be up first. The sockets must be opened before
/// privileges are dropped, because ports below 1024 require them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Ranges of addresses that are routed to the loopback interface.
    pub routes: Vec<Route>,
    /// The addresses of the TCP sockets that listen.
    pub listeners: Vec<SocketAddrV4>,
    /// The address of the UDP socket for DNS.
    pub resolver: SocketAddrV4,
    /// Lines for /etc/hosts: the listed names and their fake addresses.
    pub hosts: String,
    /// The contents of /etc/resolv.conf.
    pub resolv_conf: String,
}

impl Gateway {
    /// Builds the gateway for an allow-list.
    pub fn of(entries: &[Entry]) -> Self {
        let resolver = SocketAddrV4::new(RESOLVER, DNS_PORT);
        let hosts = listed(entries).fold(String::new(), |mut lines, (name, address)| {
            let _ = writeln!(lines, "{address} {name}");
            lines
        });
        Self {
            routes: routes(entries),
            listeners: listeners(entries),
            resolver,
            hosts,
            resolv_conf: format!("nameserver {RESOLVER}\n"),
        }
    }

    /// Returns whether a connection to this address reaches one of the listeners.
    pub fn accepts(&self, to: SocketAddrV4) -> bool {
        let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, to.port());
        self.listeners.contains(&to) || self.listeners.contains(&anywhere)
    }
}

/// Returns the names that `entries` list without a wildcard, each once, with their fake addresses.
pub fn listed<'a>(entries: &'a [Entry<'a>]) -> impl Iterator<Item = (&'a str, Ipv4Addr)> {
    let names: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| match entry.to {
            Pattern::Name(name) => Some(name),
            Pattern::Below(_) | Pattern::Address(_) => None,
        })
        .collect();
    names.into_iter().zip((FIRST_LISTED.to_bits()..).map(Ipv4Addr::from_bits))
}

/// Returns the ranges to route to the loopback interface: the fake addresses, and the addresses that are listed.
fn routes(entries: &[Entry]) -> Vec<Route> {
    let addresses: BTreeSet<Ipv4Addr> = entries
        .iter()
        .filter_map(|entry| match entry.to {
            Pattern::Address(address) => Some(address),
            Pattern::Name(_) | Pattern::Below(_) => None,
        })
        .collect();
    [FAKE_ADDRESSES].into_iter().chain(addresses.into_iter().map(|network| Route { network, prefix: 32 })).collect()
}

/// Returns the addresses to listen at. The port of a wildcard is listened to at every address, because its names are
/// not known in advance. The program's own servers cannot use such a port. They can use any other, even one that is
/// listed for a name.
fn listeners(entries: &[Entry]) -> Vec<SocketAddrV4> {
    let anywhere: BTreeSet<u16> =
        entries.iter().filter(|entry| matches!(entry.to, Pattern::Below(_))).map(|entry| entry.port).collect();
    let listed: Vec<_> = listed(entries).collect();
    let addresses = entries.iter().filter(|entry| !anywhere.contains(&entry.port)).filter_map(|entry| {
        let address = match entry.to {
            Pattern::Name(name) => listed.iter().find(|(known, _)| *known == name)?.1,
            Pattern::Address(address) => address,
            Pattern::Below(_) => return None,
        };
        Some(SocketAddrV4::new(address, entry.port))
    });
    let mut listeners: Vec<SocketAddrV4> = addresses.collect();
    listeners.extend(anywhere.iter().map(|port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, *port)));
    listeners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(texts: &[&str]) -> Gateway {
        Gateway::of(&texts.iter().map(|text| Entry::parse(text).unwrap()).collect::<Vec<_>>())
    }

    fn sockets(texts: &[&str]) -> Vec<SocketAddrV4> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn listed_name_with_two_ports_has_one_address() {
        let gateway = gateway(&["b.org:443", "a.org:443", "b.org:80"]);
        assert_eq!(gateway.hosts, "198.18.1.1 a.org\n198.18.1.2 b.org\n");
        assert_eq!(gateway.listeners, sockets(&["198.18.1.2:443", "198.18.1.1:443", "198.18.1.2:80"]));
    }

    #[test]
    fn wildcard_port_has_one_listener_at_every_address() {
        let gateway = gateway(&["*.a.org:443", "*.b.org:443", "b.org:443", "b.org:80", "8.8.8.8:443"]);
        assert_eq!(gateway.listeners, sockets(&["198.18.1.1:80", "0.0.0.0:443"]));
        assert_eq!(gateway.hosts, "198.18.1.1 b.org\n");
        assert!(gateway.accepts("198.19.3.4:443".parse().unwrap()));
        assert!(gateway.accepts("198.18.1.1:80".parse().unwrap()));
        assert!(!gateway.accepts("198.19.3.4:80".parse().unwrap()));
    }

    #[test]
    fn listed_address_is_routed_to_the_loopback_interface() {
        let gateway = gateway(&["8.8.8.8:53", "8.8.8.8:443"]);
        let routes = [("198.18.0.0", 15), ("8.8.8.8", 32)];
        assert_eq!(gateway.routes, routes.map(|(network, prefix)| Route { network: network.parse().unwrap(), prefix }));
        assert_eq!(gateway.listeners, sockets(&["8.8.8.8:53", "8.8.8.8:443"]));
        assert_eq!(gateway.hosts, "");
    }

    #[test]
    fn empty_list_leaves_a_resolver_without_names() {
        let gateway = gateway(&[]);
        assert_eq!((gateway.listeners, gateway.hosts), (Vec::new(), String::new()));
        assert_eq!(gateway.resolver.to_string(), "198.18.0.1:53");
        assert_eq!(gateway.resolv_conf, "nameserver 198.18.0.1\n");
    }

    #[test]
    fn fake_addresses_are_within_their_route() {
        let texts: Vec<String> = (0..64).map(|index| format!("host{index}.org:443")).collect();
        let list: Vec<Entry> = texts.iter().map(|text| Entry::parse(text).unwrap()).collect();
        let addresses: BTreeSet<Ipv4Addr> = listed(&list).map(|(_, address)| address).collect();
        assert_eq!(addresses.len(), 64);
        assert!(addresses.iter().all(|address| FAKE_ADDRESSES.contains(*address) && *address < FIRST_ASKED));
        assert!(FAKE_ADDRESSES.contains(RESOLVER) && FAKE_ADDRESSES.contains(FIRST_ASKED));
        assert!(!addresses.contains(&RESOLVER));
        for outside in ["198.17.255.255", "198.20.0.0"] {
            assert!(!FAKE_ADDRESSES.contains(outside.parse().unwrap()), "{outside}");
        }
    }
}
