//! Measurements of benchmarks.

use std::time::{Duration, Instant};

/// Returns the time that an operation takes.
pub fn timed(operation: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    operation();
    begun.elapsed()
}

/// Returns the median of some times, and sorts them.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
