//! Reads a DNS message of a sandbox and answers it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::answer_question;

fuzz_target!(|message: &[u8]| answer_question(message));
