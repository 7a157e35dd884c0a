//! The launcher's program; see the library for what it does.

#![no_main]

use std::ffi::{c_char, c_int};

/// Is called by the C library. Rust's own start-up would install handlers and allocate stacks that are of no use here,
/// and hides where the arguments lie.
// SAFETY: the name is that of C's entry point, and the signature is the one that C asks for.
#[unsafe(no_mangle)]
pub extern "C" fn main(count: c_int, arguments: *mut *mut c_char) -> c_int {
    // SAFETY: these are C's own arguments, and no thread was started yet.
    unsafe { sandbox_launcher::start(count, arguments) };
    0
}
