//! Reads messages between server and launcher. Whatever is accepted is the same after it was written and read again.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use sandbox_plan::{Call, MAX_REPORT_BYTES, Order, Report, decode, encode, parse_call_header, read_message};

fn check<M: Debug + PartialEq>(
    bytes: &[u8],
    decode: impl Fn(&mut Vec<u8>) -> std::io::Result<Option<M>>,
    read: impl Fn(&mut &[u8]) -> std::io::Result<Option<M>>,
    encode: impl Fn(&M) -> std::io::Result<Vec<u8>>,
) {
    let mut rest = bytes.to_vec();
    let decoded = decode(&mut rest);
    if let Ok(Some(message)) = decoded {
        let written = encode(&message).expect("what was read can be written");
        assert_eq!(decode(&mut written.clone()).ok().flatten().as_ref(), Some(&message));
        assert_eq!(read(&mut &bytes[..]).ok().flatten(), Some(message));
    }
}

fn check_all(bytes: &[u8]) {
    check::<Order>(bytes, |from| decode(from, MAX_REPORT_BYTES), |from| read_message(from, MAX_REPORT_BYTES), encode);
    check::<Call>(bytes, |from| decode(from, MAX_REPORT_BYTES), |from| read_message(from, MAX_REPORT_BYTES), encode);
    check::<Report>(bytes, |from| decode(from, MAX_REPORT_BYTES), |from| read_message(from, MAX_REPORT_BYTES), encode);
}

fuzz_target!(|bytes: &[u8]| {
    check_all(bytes);
    // Mutations seldom leave the length right.
    check_all(&[&(bytes.len() as u32).to_le_bytes(), bytes].concat());
    if let Some(header) = bytes.first_chunk() {
        parse_call_header(*header);
    }
});
