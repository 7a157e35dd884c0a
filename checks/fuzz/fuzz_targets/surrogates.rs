//! Replaces lone surrogates in JSON. Valid JSON has none, and afterwards a JSON parser finds none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::replace_halves;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let mut replaced = bytes.to_vec();
    let count = replace_halves(&mut replaced);
    assert_eq!(count == 0, replaced == bytes);
    assert_eq!(replace_halves(&mut replaced), 0);
    if serde_json::from_slice::<Value>(bytes).is_ok() {
        assert_eq!(count, 0);
    } else if let Err(error) = serde_json::from_slice::<Value>(&replaced) {
        assert!(!error.to_string().contains("surrogate"), "{error}");
    }
});
