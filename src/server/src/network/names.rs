//! Which fake address stands for which name, in one sandbox.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::gateway::{self, FIRST_ASKED};
use sandbox_manifest::policy::{self, Entry, Host, HostName, Pattern};

/// How many names below wildcards one sandbox may ask for. They are kept until it ends.
const MOST_ASKED: usize = 1024;

/// The names of one sandbox. Names below wildcards are added when a program asks for them.
pub struct Names {
    entries: &'static [Entry<'static>],
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    of: HashMap<HostName, Ipv4Addr>,
    at: HashMap<Ipv4Addr, Host>,
    asked: usize,
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAddress {
    NotListed,
    /// The sandbox has asked for too many names.
    Exhausted,
}

impl Names {
    pub fn new(entries: &'static [Entry<'static>]) -> Self {
        let mut addresses = Addresses::default();
        for (name, address) in gateway::listed(entries) {
            if let Some(name) = HostName::parse(name) {
                addresses.insert(name, address);
            }
        }
        for entry in entries {
            if let Pattern::Address(address) = entry.to {
                addresses.at.insert(address, Host::Address(address));
            }
        }
        Self { entries, addresses: Mutex::new(addresses) }
    }

    /// The address that a program is told for a name.
    pub fn address_of(&self, name: &HostName) -> Result<Ipv4Addr, NoAddress> {
        let mut addresses = self.lock();
        if let Some(address) = addresses.of.get(name) {
            return Ok(*address);
        }
        if !policy::knows(self.entries, &Host::Name(name.clone())) {
            return Err(NoAddress::NotListed);
        }
        if addresses.asked == MOST_ASKED {
            return Err(NoAddress::Exhausted);
        }
        let address = Ipv4Addr::from_bits(FIRST_ASKED.to_bits() + addresses.asked as u32);
        addresses.asked += 1;
        addresses.insert(name.clone(), address);
        Ok(address)
    }

    /// What a program means by an address that it connects to.
    pub fn host_at(&self, address: Ipv4Addr) -> Option<Host> {
        self.lock().at.get(&address).cloned()
    }

    pub fn permits(&self, host: &Host, port: u16) -> bool {
        policy::permits(self.entries, host, port)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Addresses> {
        // Whoever panicked with it, the maps are whole after each of their steps.
        self.addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Addresses {
    fn insert(&mut self, name: HostName, address: Ipv4Addr) {
        self.at.insert(address, Host::Name(name.clone()));
        self.of.insert(name, address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[Entry] = &[
        Entry { to: Pattern::Name("api.example.org"), port: 443 },
        Entry { to: Pattern::Below("example.org"), port: 8443 },
        Entry { to: Pattern::Address(Ipv4Addr::new(8, 8, 8, 8)), port: 53 },
    ];

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    #[test]
    fn a_name_below_a_wildcard_gets_an_address_once_asked_for_and_keeps_it() {
        let names = Names::new(LIST);
        assert_eq!(names.host_at(FIRST_ASKED), None);
        let address = names.address_of(&name("a.example.org")).unwrap();
        assert_eq!(names.host_at(address), Some(Host::Name(name("a.example.org"))));
        assert_eq!(names.address_of(&name("A.EXAMPLE.ORG")), Ok(address));
        assert_ne!(names.address_of(&name("b.example.org")), Ok(address));
    }

    #[test]
    fn a_listed_name_has_its_address_from_the_beginning_though_a_wildcard_covers_it_too() {
        let names = Names::new(LIST);
        let (_, address) = gateway::listed(LIST).next().unwrap();
        let host = Host::Name(name("api.example.org"));
        assert_eq!(names.address_of(&name("api.example.org")), Ok(address));
        assert_eq!(names.host_at(address), Some(host.clone()));
        assert!(names.permits(&host, 443) && names.permits(&host, 8443) && !names.permits(&host, 80));
    }

    #[test]
    fn an_address_stands_for_itself_where_it_is_listed() {
        let names = Names::new(LIST);
        let listed = Ipv4Addr::new(8, 8, 8, 8);
        assert_eq!(names.host_at(listed), Some(Host::Address(listed)));
        assert_eq!(names.host_at(Ipv4Addr::new(8, 8, 4, 4)), None);
        assert_eq!(names.host_at(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn a_name_that_is_not_listed_gets_none() {
        let names = Names::new(LIST);
        assert_eq!(names.address_of(&name("example.org")), Err(NoAddress::NotListed));
        assert_eq!(names.address_of(&name("example.com")), Err(NoAddress::NotListed));
    }

    #[test]
    fn the_names_that_a_sandbox_may_ask_for_are_bounded_and_those_it_has_remain() {
        let names = Names::new(LIST);
        let ask = |index: usize| names.address_of(&name(&format!("n{index}.example.org")));
        let first = ask(0).unwrap();
        assert!((1..MOST_ASKED).all(|index| ask(index).is_ok()));
        assert_eq!(ask(MOST_ASKED), Err(NoAddress::Exhausted));
        assert_eq!(ask(0), Ok(first));
        assert!(names.address_of(&name("api.example.org")).is_ok());
    }
}
