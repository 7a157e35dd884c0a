//! Reads what a builder leaves in its output. Whatever is accepted is the same after it was written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_plan::capture::Captured;
use sandbox_plan::left::Left;
use sandbox_plan::record::{Omitted, RunCost, RunRecord};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        if let Ok(record) = text.parse::<RunRecord>() {
            assert_eq!(record.to_string().parse(), Ok(record));
        }
        if let Ok(cost) = text.parse::<RunCost>() {
            assert_eq!(cost.to_string().parse(), Ok(cost));
        }
    }
    if let Ok(omitted) = Omitted::read(bytes) {
        assert_eq!(Omitted::read(&Omitted::write(&omitted)), Ok(omitted));
    }
    if let Ok(left) = Left::read(bytes) {
        assert_eq!(Left::read(&left.write()), Ok(left));
    }
    if let Some((total, kept)) = bytes.split_first_chunk()
        && let Some(captured) = Captured::of(kept, u64::from_le_bytes(*total))
    {
        assert_eq!(captured.kept(), kept);
        captured.text();
    }
});
