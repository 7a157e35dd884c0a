//! What tests make on the host: directories and processes.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fmt};

use super::TestCaller;

impl TestCaller {
    /// Makes a directory of the host that this caller's programs can write to.
    pub fn host_directory(&self) -> HostDirectory {
        let path = env::temp_dir().join(format!("sandbox-launcher-{}-{}", std::process::id(), unique()));
        fs::create_dir(&path).expect("make a directory");
        let identity = self.identity();
        // An ordinary user can't, and need not.
        let _ = std::os::unix::fs::chown(&path, Some(identity.host_uid), Some(identity.host_gid));
        HostDirectory(path)
    }
}

/// A directory that is removed when it is dropped.
pub struct HostDirectory(pub PathBuf);

impl Drop for HostDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a number that no other process on this machine uses.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}{:04}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Ends a process at once.
pub fn kill(pid: i32) {
    // SAFETY: the call takes no pointers.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0, "kill {pid}: {}", std::io::Error::last_os_error());
}

/// A command that sleeps for longer than any test, and its processes on this machine, whichever namespace they are in.
pub struct SleepProcess {
    seconds: String,
}

impl SleepProcess {
    pub fn new() -> Self {
        // A fraction as a mark, since sleepers are told apart by their arguments.
        Self { seconds: format!("900.{}", unique()) }
    }

    /// Returns the number of running processes, without zombies.
    pub fn count(&self) -> usize {
        let ours = |pid: &str| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == self.seconds.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("list /proc").flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok() && ours(name)))
            .count()
    }

    /// Waits until this number is running.
    #[track_caller]
    pub fn wait_for(&self, count: usize, timeout: Duration) {
        let start = Instant::now();
        while self.count() != count {
            assert!(start.elapsed() < timeout, "{} processes, not {count}, after {timeout:?}", self.count());
            sleep(Duration::from_millis(2));
        }
    }
}

impl fmt::Display for SleepProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sleep {}", self.seconds)
    }
}
