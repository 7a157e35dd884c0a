//! How a machine enforces the limits of a sandbox: by control groups, or by the launcher's watch.

use std::fs;

use crate::plan::Resources;
use crate::seccomp::Bounds;
use crate::{Cgroup, Identity, Watch};

const MB: u64 = 1 << 20;

/// The properties of a machine that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub identity: Identity,
    pub controlled: Controlled,
    /// The groups of the sandbox.
    pub cgroups: Vec<Cgroup>,
    pub buffers: SocketBuffers,
}

/// The resources that control groups limit. The launcher watches the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controlled {
    pub memory: bool,
    pub processes: bool,
    pub processors: bool,
}

/// The sizes of a socket's buffers if the program can't change them: the machine's defaults, which hold for all network
/// namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketBuffers {
    /// Bytes as the kernel counts them, with its own overhead.
    pub send: u64,
    pub receive: u64,
}

impl SocketBuffers {
    /// Sizes larger than any kernel's own default, which is 212992 with pages of 4 KB.
    pub const GENEROUS: Self = Self { send: 1 << 20, receive: 1 << 20 };

    /// Returns what a socket holds by default on this machine; where that can't be found out, [`Self::GENEROUS`].
    pub fn of_this_machine() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
        let Ok(socket) = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None) else {
            return Self::GENEROUS;
        };
        let size = |size: rustix::io::Result<usize>, otherwise| size.map_or(otherwise, |size| size as u64);
        Self {
            send: size(sockopt::socket_send_buffer_size(&socket), Self::GENEROUS.send),
            receive: size(sockopt::socket_recv_buffer_size(&socket), Self::GENEROUS.receive),
        }
    }

    /// Returns the number of bytes that one socket of any kind can hold. What a unix socket has sent counts as its own
    /// until it is read, and the last message may go into a buffer that is nearly full. Other sockets hold at most both
    /// buffers, each exceeded by one packet.
    pub fn capacity(self) -> u64 {
        2 * self.send + self.receive
    }
}

impl Controlled {
    /// Returns which limits hold, for the seccomp filter.
    pub fn bounds(self) -> Bounds {
        Bounds { memory: self.memory, processors: self.processors }
    }

    /// Returns what the launcher must watch in sandboxes of this user.
    pub fn watch(self, resources: &Resources, host_uid: u32, buffers: SocketBuffers) -> Watch {
        Watch {
            memory: (!self.memory).then_some(resources.memory_mb * MB),
            socket: (!self.memory).then(|| buffers.capacity()),
            processes: (!self.processes).then_some(resources.processes),
            ends_forks: !self.processes && is_root_of_the_machine(host_uid),
            processors: Some(resources.cpu),
        }
    }
}

/// Returns whether each pid namespace has its own largest pid, as since Linux 6.14.
pub fn kernel_bounds_pids() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= (6, 14))
}

/// Returns whether a user is the machine's root to the kernel, which does not limit root's processes. A builder is,
/// under any number, if Nix has no users for its builders.
fn is_root_of_the_machine(uid: u32) -> bool {
    // If the map can't be read, the worst case is assumed.
    fs::read_to_string("/proc/self/uid_map").map_or(true, |map| outside(&map, uid) == Some(0))
}

/// Returns the number of a user outside of the user namespace that has this map.
fn outside(map: &str, uid: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let place = uid.checked_sub(inside).filter(|place| *place < count)?;
        outside.checked_add(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousand_sockets_fit_into_a_gigabyte() {
        assert!(1000 * SocketBuffers { send: 212_992, receive: 212_992 }.capacity() < 1 << 30);
    }

    #[test]
    fn root_of_the_machine_is_found_under_any_number() {
        let builder = "      1000          0          1\n";
        assert_eq!((outside(builder, 1000), outside(builder, 0)), (Some(0), None));
        let machine = "         0          0 4294967295\n";
        assert_eq!((outside(machine, 0), outside(machine, 65534)), (Some(0), Some(65534)));
        let several = "0 100000 1000\n5000 0 2\n";
        assert_eq!(
            (outside(several, 999), outside(several, 5001), outside(several, 1000)),
            (Some(100_999), Some(1), None)
        );
    }
}
