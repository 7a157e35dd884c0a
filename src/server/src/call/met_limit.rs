//! Limits that a program meets as an error and that do not end it: its disk and its open files.

use std::fmt;

use sandbox_plan::Ending;
use sandbox_plan::disk::FullDisk;
use sandbox_plan::plan::{Resources, SCRATCH_INODES};

use crate::call::outcome::RunResult;

/// What programs print of a disk that has no room.
const DISK: [&str; 5] = ["No space left on device", "[Errno 28]", "ENOSPC", "os error 28", "disk is full"];
/// What programs print of a process that has as many files open as it may. The kernel does not count these failures.
const OPEN_FILES: [&str; 4] = ["Too many open files", "[Errno 24]", "EMFILE", "os error 24"];
/// What they print of a machine that has, which is none of the sandbox's limits.
const OF_THE_MACHINE: [&str; 2] = ["Too many open files in system", "ENFILE"];

/// A limit that a program met, and that did not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetLimit {
    Disk { bytes: u64 },
    Files { count: u64 },
    OpenFiles { count: u64 },
}

impl MetLimit {
    /// Returns the limit that a program met: its disk was full at the end, or it failed and has printed an error that tells.
    pub fn of(result: &RunResult, resources: &Resources) -> Option<Self> {
        let disk = Self::Disk { bytes: resources.disk() };
        match result.ending {
            Ending::OverLimit { .. } | Ending::Unready => None,
            _ if result.full == FullDisk::Space => Some(disk),
            _ if result.full == FullDisk::Files => Some(Self::Files { count: SCRATCH_INODES }),
            Ending::Exited { code: 0 } | Ending::TimedOut => None,
            Ending::Exited { .. } | Ending::Signalled { .. } => {
                let (stderr, stdout) = (result.stderr.text(), result.stdout.text());
                let tells =
                    |errors: &[&str]| errors.iter().any(|error| stderr.contains(error) || stdout.contains(error));
                // Without namespaces the disk is the machine's.
                if tells(&DISK) && result.has_own_disk() {
                    Some(disk)
                } else if tells(&OPEN_FILES) && !tells(&OF_THE_MACHINE) {
                    Some(Self::OpenFiles { count: resources.files })
                } else {
                    None
                }
            }
        }
    }
}

impl fmt::Display for MetLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { bytes } => write!(f, "disk limit of {} MB reached", bytes >> 20),
            Self::Files { count } => write!(f, "limit of {count} files reached"),
            Self::OpenFiles { count } => write!(f, "limit of {count} open files reached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const RESOURCES: Resources = Resources { cpu: 1, memory_mb: 1024, disk_mb: 512, processes: 64, files: 256 };

    fn met(ending: Ending, full: FullDisk, stderr: &str) -> Option<String> {
        let result = RunResult { full, ..testing::run_result(ending, stderr) };
        MetLimit::of(&result, &RESOURCES).map(|met| met.to_string())
    }

    #[test]
    fn full_disk_is_named_however_the_program_ended() {
        let disk = Some("disk limit of 512 MB reached".to_owned());
        assert_eq!(met(Ending::Exited { code: 0 }, FullDisk::Space, ""), disk);
        assert_eq!(met(Ending::Signalled { signal: 7 }, FullDisk::Space, ""), disk);
        assert_eq!(met(Ending::Exited { code: 1 }, FullDisk::No, "OSError: [Errno 28] No space left on device"), disk);
        assert_eq!(met(Ending::Exited { code: 0 }, FullDisk::No, "OSError: [Errno 28] No space left on device"), None);
        assert_eq!(met(Ending::Exited { code: 1 }, FullDisk::No, "error"), None);
        let files = Some("limit of 65536 files reached".to_owned());
        assert_eq!(met(Ending::Exited { code: 0 }, FullDisk::Files, ""), files);
    }

    #[test]
    fn open_files_are_named_if_a_failed_program_tells() {
        let files = Some("limit of 256 open files reached".to_owned());
        let failed = Ending::Exited { code: 1 };
        for error in ["[Errno 24] Too many open files: 'x'", "Error: EMFILE: too many open files, open", "os error 24"]
        {
            assert_eq!(
                (met(failed, FullDisk::No, error), met(Ending::Exited { code: 0 }, FullDisk::No, error)),
                (files.clone(), None)
            );
        }
        assert_eq!(met(failed, FullDisk::No, "Too many open files in system"), None);
        let over = Ending::OverLimit { limit: sandbox_plan::Limit::Processes { count: 64 } };
        assert_eq!(met(over, FullDisk::Space, "EMFILE"), None);
    }
}
