//! Finds the ids of requests by scanning. For valid JSON, the id is the one that a JSON parser finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::{IdFinder, MAX_IDS};
use serde_json::Value;

/// Beyond this length the scanner gives up on an id on purpose.
const LONGEST_ID: usize = 1024;

fuzz_target!(|bytes: &[u8]| {
    let mut finder = IdFinder::default();
    bytes.chunks(3).for_each(|piece| finder.feed(piece));
    let found = finder.found();
    assert!(found.len() <= MAX_IDS && found.iter().all(|id| id.is_string() || id.is_number()));
    // The scanner does not decode the names of members.
    let is_comparable = bytes.len() <= LONGEST_ID && !bytes.windows(2).any(|pair| pair == b"\\u");
    if let (true, Ok(value)) = (is_comparable, serde_json::from_slice::<Value>(bytes)) {
        let has = |member| value.get(member).is_some();
        let is_response = !has("method") && (has("result") || has("error"));
        let id = value.get("id").filter(|id| !is_response && (id.is_string() || id.is_number()));
        assert_eq!(found, Vec::from_iter(id.cloned()));
    }
});
