//! Reads a Nix archive. Whatever is accepted is written again, byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_store::nar::NarParser;

fuzz_target!(|bytes: &[u8]| {
    let mut parser = NarParser::new(bytes);
    if let Ok(node) = parser.archive()
        && parser.is_at_end()
    {
        let mut written = Vec::new();
        node.write(&mut written).expect("writing to memory does not fail");
        assert_eq!(written, bytes);
    }
});
