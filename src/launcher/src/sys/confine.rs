//! Giving up privileges: users, capabilities, Landlock, seccomp.

use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySets};

pub use rustix::thread::CapabilitySet;

use super::{check, done, owned};

// These change the calling thread only, while the C library's functions would look for other threads to change too.

/// Drops all supplementary groups.
pub fn clear_groups() -> io::Result<()> {
    Ok(rustix::thread::set_thread_groups(&[])?)
}

/// Changes the real, effective and saved user and group.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Returns whether this process holds a capability.
pub fn has_capability(capability: CapabilitySet) -> io::Result<bool> {
    Ok(rustix::thread::capabilities(None)?.effective.contains(capability))
}

/// Empties the effective, permitted and inheritable sets, and with them the ambient one.
pub fn clear_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

/// Empties the bounding set.
pub fn clear_bounding_set() -> io::Result<()> {
    for number in 0..u64::BITS {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // The first number for which the kernel knows no capability.
            Err(Errno::INVAL) if number > 0 => break,
            result => result?,
        }
    }
    Ok(())
}

/// Sets the secure bits.
pub fn set_secure_bits(bits: u32) -> io::Result<()> {
    Ok(rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::from_bits_retain(bits))?)
}

/// Keeps this process and its descendants from gaining privileges by executing a program (no_new_privs).
pub fn set_no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Returns whether no_new_privs is set.
pub fn has_no_new_privileges() -> io::Result<bool> {
    Ok(rustix::thread::no_new_privs()?)
}

// ---- Landlock ----

/// `struct landlock_ruleset_attr` of version 6.
#[repr(C)]
pub struct LandlockRuleset {
    pub files: u64,
    pub network: u64,
    pub scoped: u64,
}

/// Returns the newest version of Landlock that the kernel supports.
pub fn landlock_version() -> io::Result<u32> {
    const VERSION: c_uint = 1;
    // SAFETY: with the version flag, the kernel asks for a null pointer and no size.
    Ok(check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null::<u8>(), 0usize, VERSION) })? as u32)
}

/// Makes a set of rules. `size` is the size of the attributes that the kernel knows, in bytes.
pub fn landlock_ruleset(attributes: &LandlockRuleset, size: usize) -> io::Result<OwnedFd> {
    assert!(size <= size_of_val(attributes));
    // SAFETY: the pointer is to at least `size` bytes, and the call makes a descriptor.
    unsafe { owned(libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *attributes, size, 0)) }
}

/// Adds a rule that allows `access` to the files beneath a directory, or to one file.
pub fn landlock_allow(ruleset: BorrowedFd, access: u64, beneath: BorrowedFd) -> io::Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const PATH_BENEATH: c_int = 1;
    let rule = PathBeneath { access, parent: beneath.as_raw_fd() };
    // SAFETY: the pointer is to a landlock_path_beneath_attr, which is packed.
    done(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) })
}

/// Confines this process, and all its descendants, to a set of rules.
pub fn landlock_restrict(ruleset: BorrowedFd) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
}

// ---- Seccomp ----

/// Installs a filter, given as the bytes of an array of `struct sock_filter`.
pub fn install_seccomp(program: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::from(Errno::INVAL);
    let (instructions, rest) = program.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(invalid());
    }
    let mut instructions: Vec<libc::sock_filter> = instructions
        .iter()
        .map(|&[code0, code1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
            code: u16::from_ne_bytes([code0, code1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect();
    let len = instructions.len().try_into().map_err(|_| invalid())?;
    let filter = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: the pointer is to a sock_fprog that describes `instructions`.
    done(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) })
}
