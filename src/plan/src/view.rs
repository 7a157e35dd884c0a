//! What a program sees of the host's file system.

use std::fs;
use std::path::{Path, PathBuf};

/// A file or directory of the host, and where it appears.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
}

impl Bind {
    /// Returns a bind that shows a path where it is on the host.
    pub fn in_place(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { source: path.clone(), target: path }
    }
}

/// A symbolic link made in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub path: PathBuf,
    pub target: PathBuf,
}

impl Link {
    pub fn new(path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), target: target.into() }
    }
}

/// The file of an environment that lists the closure of its packages, one store path a line.
pub const CLOSURE: &str = "closure";

/// Where a pinned environment's time zones are, as on NixOS. The variable `TZDIR` must name it, since the C library of
/// nixpkgs looks only in its own store path otherwise.
pub const ZONES: &str = "/etc/zoneinfo";

/// The locales of a pinned environment. The variable `LOCALE_ARCHIVE` must name them, since the C library of nixpkgs looks
/// only in its own store path otherwise.
pub const LOCALES: &str = "/usr/lib/locale/locale-archive";

/// The certificates of a pinned environment, in one file. OpenSSL of nixpkgs looks for the variable `SSL_CERT_FILE` first.
pub const CERTIFICATES: &str = "/etc/ssl/certs/ca-bundle.crt";

/// The directory of an environment whose entries appear in /etc.
const ETC: &str = "share/sandbox-mcp/etc";

/// Adds the store paths of a package: its output, and those of its file [`CLOSURE`].
pub fn join<'a>(binds: &mut Vec<Bind>, out: &Path, closure: impl IntoIterator<Item = &'a str>) {
    binds.extend([Bind::in_place(out)].into_iter().chain(closure.into_iter().map(Bind::in_place)));
    binds.sort();
    binds.dedup();
}

/// Returns what is shown of a pinned environment: its closure, and no other store path.
pub fn pinned<'a>(out: &Path, closure: impl IntoIterator<Item = &'a str>) -> (Vec<Bind>, Vec<Link>) {
    let binds = [Bind::in_place(out)].into_iter().chain(closure.into_iter().map(Bind::in_place)).collect();
    // Programs expect `/bin/sh`, `/usr/bin/env` and `/usr/share`.
    let mut links = vec![Link::new("/bin", out.join("bin")), Link::new("/usr", out)];
    // Node.js looks for modules in `node_modules` of each directory above the program's, for every kind of import.
    let others = [("/etc/ssl", "etc/ssl"), ("/node_modules", "lib/node_modules"), (ZONES, "share/zoneinfo")];
    for (path, target) in others {
        if out.join(target).exists() {
            links.push(Link::new(path, out.join(target)));
        }
    }
    // The environments of older servers have none.
    let mut names: Vec<_> =
        fs::read_dir(out.join(ETC)).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    links.extend(names.iter().map(|name| Link::new(Path::new("/etc").join(name), out.join(ETC).join(name))));
    (binds, links)
}
