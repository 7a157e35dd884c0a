//! Giving up privileges, for good.

use std::io;

use crate::sys::{self, CapabilitySet};

/// Secure bits and, one place to the left of each, the bit that locks it: root gets no capability, a change of user
/// brings none back, and no ambient one can be raised. SECBIT_KEEP_CAPS is not locked: there is no capability to keep,
/// and ping gives up if it can't set it.
const SECURE_BITS: u32 = 0b1100_1111;

/// Makes sure that a capability can't be regained after it is dropped. Those that are held now stay.
pub fn prevent_regaining() -> io::Result<()> {
    // An ordinary user without a user namespace holds no capability, and no_new_privs keeps it from gaining any.
    // Without CAP_SETPCAP neither the bounding set nor the secure bits can be changed.
    if sys::has_capability(CapabilitySet::SETPCAP)? {
        sys::clear_bounding_set()?;
        sys::set_secure_bits(SECURE_BITS)?;
    }
    Ok(())
}

/// Becomes the user, with no capability left in any set.
///
/// If the user namespace has only this user (`sole_user`), the kernel refuses to change supplementary groups, since
/// leaving a group can be a gain. They stay then, as for any program of that user.
pub fn drop(uid: u32, gid: u32, sole_user: bool) -> io::Result<()> {
    if sys::has_capability(CapabilitySet::SETGID)? && !sole_user {
        sys::clear_groups()?;
    }
    sys::become_user(uid, gid)?;
    sys::clear_capabilities()
}
