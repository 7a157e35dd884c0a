//! A command whose processes can be told from all others on this machine, whichever namespace they are in.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fmt, fs};

pub struct Sleeper {
    seconds: String,
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Sleeper {
    /// Returns a command that sleeps for longer than any test.
    pub fn new() -> Self {
        Self::of("900.")
    }

    /// Returns a command that sleeps for about `seconds`, which has a decimal point.
    pub fn of(seconds: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A fraction as a mark, since processes are told apart by their arguments.
        let mark = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { seconds: format!("{seconds}0{:07}{mark:04}", std::process::id()) }
    }

    /// Returns the argument of `sleep`.
    pub fn seconds(&self) -> &str {
        &self.seconds
    }

    /// Counts the running processes, without those that were killed but not yet waited for.
    pub fn count(&self) -> usize {
        let is_ours = |pid: &str| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == self.seconds.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("list /proc").flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok() && is_ours(name)))
            .count()
    }

    /// Waits until `count` processes are running.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        self.wait_until(|running| running == count);
    }

    #[track_caller]
    pub fn wait_until(&self, is_wanted: impl Fn(usize) -> bool) {
        let begun = Instant::now();
        while !is_wanted(self.count()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "there are {} sleepers", self.count());
            sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Display for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sleep {}", self.seconds)
    }
}
