//! The system's files that every sandbox on host toolchains sees: `/usr`, and the parts of `/etc` that toolchains need.

use std::fs;
use std::path::{Path, PathBuf};

use super::prefix::SYSTEM;
use crate::sandbox::view::{Bind, Link};

/// Public parts of `/etc`. Private keys such as `/etc/ssl/private` are left out, and settings that may contain
/// passwords: those of package managers, git and services.
const ETC_PARTS: [&str; 21] = [
    // Links that select one of several programs for names such as `java` or `cc`.
    "alternatives",
    // The search paths of the dynamic loader and the linker.
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    // Certificates of authorities, at the paths that distributions use.
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "ssl/ca-bundle.pem",
    "ca-certificates/extracted",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust/extracted",
    "pki/java",
    "crypto-policies",
    // Data that standard libraries read: the time zone, media types, protocols, ports and fonts.
    "localtime",
    "timezone",
    "mime.types",
    "protocols",
    "services",
    "fonts",
];

/// Returns the binds and links of the system below `root`, which is `/` except in tests. Targets are paths of the
/// sandbox.
pub(super) fn system(root: &Path) -> (Vec<Bind>, Vec<Link>) {
    let mut view = System { root: root.to_owned(), binds: Vec::new(), links: Vec::new() };
    for top in SYSTEM {
        view.show_top(Path::new(top));
    }
    for part in ETC_PARTS {
        view.show(&Path::new("/etc").join(part));
    }
    for part in view.java_settings() {
        view.show(&part);
    }
    view.links.sort();
    view.links.dedup();
    (view.binds, view.links)
}

/// The view while it is being made.
struct System {
    root: PathBuf,
    binds: Vec<Bind>,
    links: Vec<Link>,
}

impl System {
    /// Returns the host's path for a path of the sandbox.
    fn source(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Shows a top-level directory. `/lib`, for example, is a link to `usr/lib` on most hosts, and a directory on some.
    fn show_top(&mut self, path: &Path) {
        let source = self.source(path);
        match fs::read_link(&source) {
            Ok(target) => self.links.push(Link::new(path, target)),
            Err(_) if source.is_dir() => self.binds.push(Bind { source, target: path.to_owned() }),
            Err(_) => {}
        }
    }

    /// Shows a path if it exists. A link remains a link, because it cannot be a mount point, and its target is shown
    /// too.
    fn show(&mut self, path: &Path) {
        let source = self.source(path);
        let Ok(end) = fs::canonicalize(&source) else { return };
        let Ok(root) = fs::canonicalize(&self.root) else { return };
        // The target of a link that leaves the root would not exist inside the sandbox.
        let Ok(target) = end.strip_prefix(&root).map(|end| Path::new("/").join(end)) else { return };
        if target != path {
            self.links.push(Link::new(path, &target));
        }
        let bind = Bind { source: end, target };
        if !self.binds.iter().any(|shown| bind.target.starts_with(&shown.target)) {
            self.binds.push(bind);
        }
    }

    /// Returns the directories in `/etc` with the settings of JDKs, which distributions keep outside of the JDK.
    fn java_settings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.source(Path::new("/etc"))).into_iter().flatten().flatten();
        let is_java = |name: &str| name == "java" || (name.starts_with("java-") && name.contains("openjdk"));
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names.into_iter().filter(|name| is_java(name)).map(|name| Path::new("/etc").join(name)).collect()
    }
}
