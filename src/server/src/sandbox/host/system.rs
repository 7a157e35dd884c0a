//! What every sandbox on host toolchains sees of the system: `/usr`, and of `/etc` what toolchains need.

use std::fs;
use std::path::{Path, PathBuf};

use super::prefix::SYSTEM;
use crate::sandbox::view::{Bind, Link};

/// Public parts of `/etc`. Left out are, above all, `/etc/ssl/private` and the like, and settings that may hold a
/// password: those of package managers, of git, of services.
const ETC: [&str; 21] = [
    // Which of several programs `java` or `cc` is.
    "alternatives",
    // Where the dynamic loader and the linker find libraries.
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    // Certificates of authorities, in the places that distributions have for them.
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
    // Time zone, kinds of files, names of protocols and ports, fonts: standard libraries read these.
    "localtime",
    "timezone",
    "mime.types",
    "protocols",
    "services",
    "fonts",
];

/// Distributions keep the settings of each JDK outside of it, in a directory of this beginning.
const JAVA: &str = "java";

/// The system below `root`, which is `/` but in tests; targets are as the sandbox sees them.
pub(super) fn system(root: &Path) -> (Vec<Bind>, Vec<Link>) {
    let mut view = System { root: root.to_owned(), binds: Vec::new(), links: Vec::new() };
    for top in SYSTEM {
        view.show_top(Path::new(top));
    }
    for part in ETC {
        view.show(&Path::new("/etc").join(part));
    }
    for part in view.java_settings() {
        view.show(&part);
    }
    view.links.sort();
    view.links.dedup();
    (view.binds, view.links)
}

struct System {
    root: PathBuf,
    binds: Vec<Bind>,
    links: Vec<Link>,
}

impl System {
    /// Where a path of the sandbox is on the host.
    fn source(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// `/lib` is a link to `usr/lib` on most hosts, and a directory on some.
    fn show_top(&mut self, path: &Path) {
        let source = self.source(path);
        match fs::read_link(&source) {
            Ok(target) => self.links.push(Link::new(path, target)),
            Err(_) if source.is_dir() => self.binds.push(Bind { source, target: path.to_owned() }),
            Err(_) => {}
        }
    }

    /// Shows a path if it exists; a link stays one, because mounts can't lie on it, and its end is shown too.
    fn show(&mut self, path: &Path) {
        let source = self.source(path);
        let Ok(end) = fs::canonicalize(&source) else { return };
        let Ok(root) = fs::canonicalize(&self.root) else { return };
        // A link that leads out of the root leads, inside the sandbox, nowhere.
        let Ok(target) = end.strip_prefix(&root).map(|end| Path::new("/").join(end)) else { return };
        if target != path {
            self.links.push(Link::new(path, &target));
        }
        let bind = Bind { source: end, target };
        if !self.binds.iter().any(|shown| bind.target.starts_with(&shown.target)) {
            self.binds.push(bind);
        }
    }

    fn java_settings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.source(Path::new("/etc"))).into_iter().flatten().flatten();
        let is_java = |name: &str| name == JAVA || (name.starts_with("java-") && name.contains("openjdk"));
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names.into_iter().filter(|name| is_java(name)).map(|name| Path::new("/etc").join(name)).collect()
    }
}
