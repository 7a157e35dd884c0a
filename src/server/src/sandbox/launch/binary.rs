//! The launcher's binary, which is embedded in the server.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, SealFlags};

/// The static binary, built by build.rs.
pub static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// Stores the launcher on the first call, and returns a path that executes it. It is stored in memory (a memfd), so
/// that there is no file to install, lose or change; or in a temporary file where memfds cannot be executed.
pub fn launcher_path() -> io::Result<&'static PathBuf> {
    static STORED: OnceLock<(PathBuf, Box<dyn Send + Sync>)> = OnceLock::new();
    if let Some((path, _)) = STORED.get() {
        return Ok(path);
    }
    let stored = match in_memory().map_err(too_large) {
        Ok(memory) => (PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd())), Box::new(memory) as _),
        Err(error) => {
            tracing::debug!("storing the launcher in a file, because it cannot be stored in memory: {error}");
            let directory = tempfile::Builder::new().prefix("sandbox-mcp-").tempdir()?;
            let path = directory.path().join("sandbox-launcher");
            fs::write(&path, LAUNCHER).map_err(too_large)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o500))?;
            (path, Box::new(directory) as _)
        }
    };
    Ok(&STORED.get_or_init(|| stored).0)
}

/// Adds a remedy to the error of a launcher that exceeds the limit on file sizes.
fn too_large(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => io::Error::new(
            error.kind(),
            "the limit on file sizes (RLIMIT_FSIZE) is smaller than the launcher; raise it, in a shell by `ulimit -f unlimited`",
        ),
        _ => error,
    }
}

/// Writes the launcher into a sealed memfd.
fn in_memory() -> io::Result<fs::File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not support EXEC, and allow every memfd to be executed.
    let memory = rustix::fs::memfd_create("sandbox-launcher", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("sandbox-launcher", flags))?;
    let mut memory = fs::File::from(memory);
    memory.write_all(LAUNCHER)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}
