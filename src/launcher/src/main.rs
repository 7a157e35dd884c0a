//! The launcher's program. The library describes what it does.

#![no_main]
// C calls `main`, and only it can promise what `start` needs.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

/// Runs the launcher, called by the C library. Rust's own start-up would install handlers and allocate stacks that have
/// no use here, and hides where the arguments are.
// SAFETY: the name is that of C's entry point, and the signature is the one that C asks for.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *mut *mut c_char) -> c_int {
    // SAFETY: these are C's own arguments. This is the first thing that the process does, so that no thread runs, and
    // nobody owns a descriptor.
    unsafe { sandbox_launcher::start(count, arguments) };
    0
}
