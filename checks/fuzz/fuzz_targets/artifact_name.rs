//! Shows a name that a program chose. Nothing in it passes for a line of its own or hides a part.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::{shown_name, uri};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new(OsStr::from_bytes(bytes));
    assert!(!shown_name(path).chars().any(char::is_control));
    let uri = uri(path);
    assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#?".contains(&byte)), "{uri}");
});
