//! Reads a stream of store paths, as `nix-store --export` writes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_store::export;

fuzz_target!(|bytes: &[u8]| {
    if export::read(bytes).is_ok_and(|paths| !paths.is_empty()) {
        assert!(export::is_export(bytes));
    }
});
