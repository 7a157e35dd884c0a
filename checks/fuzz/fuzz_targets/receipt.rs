//! Reads a receipt, with or without its files. Whatever is accepted names the derivation that it stands for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::read_receipt;

fuzz_target!(|bytes: &[u8]| read_receipt(bytes));
