//! What a sandbox's network namespace must hold so that programs reach what is allowed, as data.
//!
//! Each allowed name gets a fake address of 198.18.0.0/15, which is set aside for benchmarks and thus nobody's. In the
//! namespace these addresses lead to the loopback interface, where sockets that were opened there but are held outside
//! listen: a connection's local address tells which name the program meant.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

use sandbox_plan::Route;

use sandbox_manifest::policy::{Entry, Pattern};

/// The addresses that stand for names.
const FAKE: Route = Route { network: Ipv4Addr::new(198, 18, 0, 0), prefix: 15 };
/// Where names are resolved.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The first address of a name that the list holds as such.
const FIRST_LISTED: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
/// The first address of a name that a wildcard allows: it is given one when a program asks for it.
pub const FIRST_ASKED: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

const DNS: u16 = 53;

/// The set-up of a network namespace. Its loopback interface must be up before, and its sockets be opened before the
/// privileges are dropped: port 53 and others below 1024 ask for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub routes: Vec<Route>,
    /// TCP sockets that listen, to be handed to the server.
    pub listeners: Vec<SocketAddrV4>,
    /// A UDP socket that is handed to the server too.
    pub resolver: SocketAddrV4,
    /// Lines of /etc/hosts for the names of the list.
    pub hosts: String,
    /// All of /etc/resolv.conf.
    pub resolv_conf: String,
}

impl Gateway {
    pub fn of(entries: &[Entry]) -> Self {
        let resolver = SocketAddrV4::new(RESOLVER, DNS);
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

    /// Whether a connection to this address comes to one of the listeners.
    pub fn accepts(&self, to: SocketAddrV4) -> bool {
        let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, to.port());
        self.listeners.contains(&to) || self.listeners.contains(&anywhere)
    }
}

/// The names that the list holds as such, each once, with their fake addresses.
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

/// The addresses that the list holds as such lead to the loopback interface like the fake ones.
fn routes(entries: &[Entry]) -> Vec<Route> {
    let addresses: BTreeSet<Ipv4Addr> = entries
        .iter()
        .filter_map(|entry| match entry.to {
            Pattern::Address(address) => Some(address),
            Pattern::Name(_) | Pattern::Below(_) => None,
        })
        .collect();
    [FAKE].into_iter().chain(addresses.into_iter().map(|network| Route { network, prefix: 32 })).collect()
}

/// A port that a wildcard names is listened to at every address, since which names will be asked for is not known.
/// A program's own servers can't have such a port; they can have any other, be it listed for a name.
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
    fn every_listed_name_has_one_address_however_many_ports_it_has() {
        let gateway = gateway(&["b.org:443", "a.org:443", "b.org:80"]);
        assert_eq!(gateway.hosts, "198.18.1.1 a.org\n198.18.1.2 b.org\n");
        assert_eq!(gateway.listeners, sockets(&["198.18.1.2:443", "198.18.1.1:443", "198.18.1.2:80"]));
    }

    #[test]
    fn a_port_of_a_wildcard_is_listened_to_at_every_address_and_only_once() {
        let gateway = gateway(&["*.a.org:443", "*.b.org:443", "b.org:443", "b.org:80", "8.8.8.8:443"]);
        assert_eq!(gateway.listeners, sockets(&["198.18.1.1:80", "0.0.0.0:443"]));
        assert_eq!(gateway.hosts, "198.18.1.1 b.org\n");
        assert!(gateway.accepts("198.19.3.4:443".parse().unwrap()));
        assert!(gateway.accepts("198.18.1.1:80".parse().unwrap()));
        assert!(!gateway.accepts("198.19.3.4:80".parse().unwrap()));
    }

    #[test]
    fn a_listed_address_is_led_to_the_loopback_interface_and_stands_for_itself() {
        let gateway = gateway(&["8.8.8.8:53", "8.8.8.8:443"]);
        let routes = [("198.18.0.0", 15), ("8.8.8.8", 32)];
        assert_eq!(gateway.routes, routes.map(|(network, prefix)| Route { network: network.parse().unwrap(), prefix }));
        assert_eq!(gateway.listeners, sockets(&["8.8.8.8:53", "8.8.8.8:443"]));
        assert_eq!(gateway.hosts, "");
    }

    #[test]
    fn an_empty_list_leaves_a_resolver_that_knows_no_name() {
        let gateway = gateway(&[]);
        assert_eq!((gateway.listeners, gateway.hosts), (Vec::new(), String::new()));
        assert_eq!(gateway.resolver.to_string(), "198.18.0.1:53");
        assert_eq!(gateway.resolv_conf, "nameserver 198.18.0.1\n");
    }

    #[test]
    fn every_fake_address_lies_in_the_route_of_fake_addresses() {
        let texts: Vec<String> = (0..64).map(|index| format!("host{index}.org:443")).collect();
        let list: Vec<Entry> = texts.iter().map(|text| Entry::parse(text).unwrap()).collect();
        let addresses: BTreeSet<Ipv4Addr> = listed(&list).map(|(_, address)| address).collect();
        assert_eq!(addresses.len(), 64);
        assert!(addresses.iter().all(|address| FAKE.contains(*address) && *address < FIRST_ASKED));
        assert!(FAKE.contains(RESOLVER) && FAKE.contains(FIRST_ASKED) && !addresses.contains(&RESOLVER));
        assert!(!FAKE.contains("198.20.0.0".parse().unwrap()) && !FAKE.contains("198.17.255.255".parse().unwrap()));
    }
}
