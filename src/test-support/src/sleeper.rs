//! A `sleep` command whose processes can be recognised on this machine, whatever namespaces they are in.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fmt, fs};

/// A `sleep` command with a unique argument.
pub struct Sleeper {
    seconds: String,
}

impl Sleeper {
    /// Makes a command that sleeps longer than any test.
    pub fn new() -> Self {
        Self::of("900.")
    }

    /// Makes a command that sleeps for about this time; `seconds` must have a decimal point.
    pub fn of(seconds: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The fraction of the seconds is the mark by which the arguments of a process are recognised.
        let mark = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { seconds: format!("{seconds}0{:07}{mark:04}", std::process::id()) }
    }

    /// Returns the argument of `sleep`.
    pub fn seconds(&self) -> &str {
        &self.seconds
    }

    /// Counts the running processes. Zombies do not count.
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

    /// Waits until this number of processes is running.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        self.wait_until(|running| running == count);
    }

    /// Waits until the number of running processes meets a condition.
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
