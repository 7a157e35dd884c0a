//! Reads the headers of an image. Whatever is accepted begins like an image and has a size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::read_image;

fuzz_target!(|bytes: &[u8]| read_image(bytes));
