//! Versions of Landlock, by which both ends of a plan know what it guards.

use std::io;

/// A version of Landlock, as the kernel counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Landlock(pub u32);

impl Landlock {
    /// Returns the newest version that the kernel speaks.
    ///
    /// # Errors
    ///
    /// If the kernel has no Landlock, or a container's filter refuses the system call.
    pub fn of_this_kernel() -> io::Result<Self> {
        const VERSION: libc::c_uint = 1;
        let none = std::ptr::null::<u8>();
        // SAFETY: with the version flag, the kernel asks for a null pointer and no size.
        let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
        u32::try_from(version).map(Self).map_err(|_| io::Error::last_os_error())
    }

    /// Whether a file that may only be read is kept from being emptied.
    pub fn guards_content(self) -> bool {
        self.0 >= 3
    }

    /// Whether signals and abstract unix sockets are kept inside.
    pub fn guards_signals(self) -> bool {
        self.0 >= 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landlock_is_known_by_what_its_version_guards() {
        let guards = |version| (Landlock(version).guards_content(), Landlock(version).guards_signals());
        assert_eq!([2, 3, 5, 6].map(guards), [(false, false), (true, false), (true, false), (true, true)]);
    }
}
