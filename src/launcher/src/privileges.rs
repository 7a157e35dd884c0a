//! Giving up privileges, for good.

use std::io;

use crate::sys::{self, CapabilitySet};

/// Secure bits and, one place to the left of each, the one that locks it: being root grants no capability, a change of
/// user brings none back, and no ambient one can be raised. That a capability may be kept is not locked: none is left
/// to keep, and ping gives up where it can't ask for it.
const SECURE_BITS: u32 = 0b1100_1111;

/// Sees to it that no capability can be won back once it is dropped. What is held now stays until then.
pub fn bar() -> io::Result<()> {
    // An ordinary user without a namespace of its own holds no capability, and no_new_privs keeps it from any.
    // Without CAP_SETPCAP neither the bounding set nor the secure bits can be changed.
    if sys::has_capability(CapabilitySet::SETPCAP)? {
        sys::clear_bounding_set()?;
        sys::set_secure_bits(SECURE_BITS)?;
    }
    Ok(())
}

/// Becomes the user, with no capability left in any set.
///
/// `sole_user` tells that the user namespace holds one user only. The kernel then refuses to change supplementary
/// groups, since leaving a group can be a gain; they stay, as they would for any program of that user.
pub fn drop(uid: u32, gid: u32, sole_user: bool) -> io::Result<()> {
    if sys::has_capability(CapabilitySet::SETGID)? && !sole_user {
        sys::clear_groups()?;
    }
    sys::become_user(uid, gid)?;
    sys::clear_capabilities()
}
