//! Giving up privileges: users, capabilities, Landlock, seccomp.

use std::ffi::{c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null;

use super::{check, done, owned};

// The system calls as such: the C library's wrappers would look for other threads to do the same to.

pub fn clear_groups() -> io::Result<()> {
    // SAFETY: with a count of 0 the kernel follows no pointer.
    done(unsafe { libc::syscall(libc::SYS_setgroups, 0, null::<u32>()) })
}

pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Header of capget and capset: version 3, which has 64 bits a set in two halves, and this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// The effective capabilities 0 to 31.
pub fn effective_capabilities() -> io::Result<u32> {
    let mut header = CAPABILITY_HEADER;
    let mut sets = [0u32; 6];
    // SAFETY: version 3 writes two times three 32-bit sets, and may write the header.
    done(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) })?;
    Ok(sets[0])
}

/// Empties the effective, permitted and inheritable sets, and with them the ambient one.
pub fn clear_capabilities() -> io::Result<()> {
    let sets = [0u32; 6];
    // SAFETY: version 3 reads two times three 32-bit sets.
    done(unsafe { libc::syscall(libc::SYS_capset, CAPABILITY_HEADER.as_ptr(), sets.as_ptr()) })
}

// ---- Landlock ----

/// `struct landlock_ruleset_attr` of version 6.
#[repr(C)]
pub struct LandlockRuleset {
    pub files: u64,
    pub network: u64,
    pub scoped: u64,
}

/// The newest version of Landlock that the kernel speaks.
pub fn landlock_version() -> io::Result<u32> {
    const VERSION: c_uint = 1;
    // SAFETY: with the version flag, the kernel asks for a null pointer and no size.
    Ok(check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null::<u8>(), 0usize, VERSION) })? as u32)
}

/// The kernel knows the first `size` bytes of the attributes.
pub fn landlock_ruleset(attributes: &LandlockRuleset, size: usize) -> io::Result<OwnedFd> {
    assert!(size <= size_of_val(attributes));
    // SAFETY: the pointer is to at least `size` bytes.
    owned(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *attributes, size, 0) })
}

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

pub fn landlock_restrict(ruleset: BorrowedFd) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
}

// ---- Seccomp ----

/// Installs a filter, given as the bytes of an array of `struct sock_filter`.
pub fn install_seccomp(program: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
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
