//! The fake addresses of one sandbox, and the names they stand for.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::gateway::{self, FIRST_ASKED};
use sandbox_manifest::policy::{self, Entry, HostName, Pattern, RemoteHost};

/// How many names below wildcards one sandbox may resolve. They are kept until the sandbox ends.
const MAX_ASKED_NAMES: usize = 1024;

/// The names of one sandbox and their fake addresses. Names below wildcards are added when a program resolves them.
pub struct NameTable {
    entries: &'static [Entry<'static>],
    maps: Mutex<NameMaps>,
}

#[derive(Default)]
struct NameMaps {
    addresses: HashMap<HostName, Ipv4Addr>,
    hosts: HashMap<Ipv4Addr, RemoteHost>,
    /// How many names below wildcards have an address.
    asked: usize,
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    NotListed,
    /// The sandbox has resolved [`MAX_ASKED_NAMES`] names below wildcards.
    Exhausted,
}

impl NameTable {
    /// Makes the table for an allow-list. Names below wildcards are not in it yet.
    pub fn new(entries: &'static [Entry<'static>]) -> Self {
        let mut maps = NameMaps::default();
        for (name, address) in gateway::listed(entries) {
            if let Some(name) = HostName::parse(name) {
                maps.insert(name, address);
            }
        }
        for entry in entries {
            if let Pattern::Address(address) = entry.to {
                maps.hosts.insert(address, RemoteHost::Address(address));
            }
        }
        Self { entries, maps: Mutex::new(maps) }
    }

    /// Returns the fake address of a name, and assigns one if a wildcard allows the name.
    pub fn address_of(&self, name: &HostName) -> Result<Ipv4Addr, NameError> {
        let mut maps = self.lock();
        if let Some(address) = maps.addresses.get(name) {
            return Ok(*address);
        }
        if !policy::lists(self.entries, &RemoteHost::Name(name.clone())) {
            return Err(NameError::NotListed);
        }
        if maps.asked == MAX_ASKED_NAMES {
            return Err(NameError::Exhausted);
        }
        let address = Ipv4Addr::from_bits(FIRST_ASKED.to_bits() + maps.asked as u32);
        maps.asked += 1;
        maps.insert(name.clone(), address);
        Ok(address)
    }

    /// Returns the host that an address stands for. `None` if the address was never given to the program.
    pub fn host_at(&self, address: Ipv4Addr) -> Option<RemoteHost> {
        self.lock().hosts.get(&address).cloned()
    }

    /// Returns whether the allow-list permits connections to this host and port.
    pub fn permits(&self, host: &RemoteHost, port: u16) -> bool {
        policy::permits(self.entries, host, port)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, NameMaps> {
        // Poisoning is ignored: no code that holds the lock can panic between two changes that belong together.
        self.maps.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl NameMaps {
    fn insert(&mut self, name: HostName, address: Ipv4Addr) {
        self.hosts.insert(address, RemoteHost::Name(name.clone()));
        self.addresses.insert(name, address);
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
    fn wildcard_name_gets_and_keeps_an_address_when_asked_for() {
        let names = NameTable::new(LIST);
        assert_eq!(names.host_at(FIRST_ASKED), None);
        let address = names.address_of(&name("a.example.org")).unwrap();
        assert_eq!(names.host_at(address), Some(RemoteHost::Name(name("a.example.org"))));
        assert_eq!(names.address_of(&name("A.EXAMPLE.ORG")), Ok(address));
        assert_ne!(names.address_of(&name("b.example.org")), Ok(address));
    }

    #[test]
    fn listed_name_below_a_wildcard_has_its_listed_address() {
        let names = NameTable::new(LIST);
        let (_, address) = gateway::listed(LIST).next().unwrap();
        let host = RemoteHost::Name(name("api.example.org"));
        assert_eq!(names.address_of(&name("api.example.org")), Ok(address));
        assert_eq!(names.host_at(address), Some(host.clone()));
        assert!(names.permits(&host, 443) && names.permits(&host, 8443) && !names.permits(&host, 80));
    }

    #[test]
    fn listed_address_stands_for_itself() {
        let names = NameTable::new(LIST);
        let listed = Ipv4Addr::new(8, 8, 8, 8);
        assert_eq!(names.host_at(listed), Some(RemoteHost::Address(listed)));
        assert_eq!(names.host_at(Ipv4Addr::new(8, 8, 4, 4)), None);
        assert_eq!(names.host_at(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn unlisted_name_gets_no_address() {
        let names = NameTable::new(LIST);
        assert_eq!(names.address_of(&name("example.org")), Err(NameError::NotListed));
        assert_eq!(names.address_of(&name("example.com")), Err(NameError::NotListed));
    }

    #[test]
    fn asked_names_are_bounded_and_known_names_stay_valid() {
        let names = NameTable::new(LIST);
        let ask = |index: usize| names.address_of(&name(&format!("n{index}.example.org")));
        let first = ask(0).unwrap();
        assert!((1..MAX_ASKED_NAMES).all(|index| ask(index).is_ok()));
        assert_eq!(ask(MAX_ASKED_NAMES), Err(NameError::Exhausted));
        assert_eq!(ask(0), Ok(first));
        assert!(names.address_of(&name("api.example.org")).is_ok());
    }
}
