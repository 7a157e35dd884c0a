//! How full a sandbox's disk is: the tmpfs of its private directories.

use std::os::fd::AsFd;

use rustix::fs::fstatfs;

/// Blocks that may be free on a full disk: a write that needs more of them has failed.
const FREE_BLOCKS: u64 = 16;

/// What there is no room for on a sandbox's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FullDisk {
    #[default]
    No,
    /// A few more blocks.
    Space,
    /// Another file.
    Files,
}

impl FullDisk {
    /// Looks at the file system that `file` is on. It counts as not full if the kernel does not tell.
    pub fn of(file: impl AsFd) -> Self {
        fstatfs(file)
            .map_or(Self::No, |status| Self::by([status.f_blocks, status.f_bfree], [status.f_files, status.f_ffree]))
    }

    /// Each number is followed by how many of them are free. It is 0 if there is no such limit.
    fn by([blocks, free_blocks]: [u64; 2], [files, free_files]: [u64; 2]) -> Self {
        if blocks > FREE_BLOCKS && free_blocks <= FREE_BLOCKS {
            Self::Space
        } else if files > 0 && free_files == 0 {
            Self::Files
        } else {
            Self::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_without_free_blocks_or_files_is_full() {
        assert_eq!([0, 16].map(|free| FullDisk::by([1000, free], [500, 400])), [FullDisk::Space; 2]);
        assert_eq!(FullDisk::by([1000, 900], [500, 0]), FullDisk::Files);
        assert_eq!(FullDisk::by([1000, 17], [500, 1]), FullDisk::No);
        assert_eq!(FullDisk::by([0, 0], [0, 0]), FullDisk::No);
    }
}
