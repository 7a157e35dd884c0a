//! Tests of the system's files that are shown, with systems of several kinds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::system::system;

struct Root(tempfile::TempDir);

impl Root {
    fn new(files: &[&str], links: &[(&str, &str)]) -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for file in files {
            let path = root.0.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (link, target) in links {
            let path = root.0.path().join(link);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        root
    }

    /// Returns the paths that the sandbox sees.
    fn shown(&self) -> Vec<String> {
        let root = fs::canonicalize(self.0.path()).unwrap();
        let (binds, _) = system(&root);
        let target = |bind: crate::sandbox::view::Bind| {
            assert_eq!(bind.source, root.join(bind.target.strip_prefix("/").unwrap()), "it is shown at the same path");
            bind.target.display().to_string()
        };
        binds.into_iter().map(target).collect()
    }

    fn links(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let links = system(&fs::canonicalize(self.0.path()).unwrap()).1;
        links.iter().map(|link| (text(&link.path), text(&link.target))).collect()
    }
}

#[test]
fn top_level_links_stay_links_and_directories_are_shown() {
    let merged = Root::new(&["usr/bin/sh", "usr/lib/x"], &[("bin", "usr/bin"), ("lib", "usr/lib")]);
    assert_eq!(merged.shown(), ["/usr"]);
    assert_eq!(merged.links(), [("/bin", "usr/bin"), ("/lib", "usr/lib")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let split = Root::new(&["usr/bin/x", "bin/sh", "lib/x"], &[]);
    assert_eq!(split.shown(), ["/usr", "/bin", "/lib"]);
}

#[test]
fn only_public_parts_of_etc_are_shown() {
    let root = Root::new(
        &[
            "usr/bin/sh",
            "etc/shadow",
            "etc/passwd",
            "etc/ssh/ssh_host_key",
            "etc/ssl/private/key.pem",
            "etc/ssl/certs/ca.crt",
            "etc/gitconfig",
            "etc/alternatives/java",
            "etc/java-17-openjdk/security/java.security",
            "etc/java-secrets/x",
            "etc/pip.conf",
        ],
        &[],
    );
    assert_eq!(root.shown(), ["/usr", "/etc/alternatives", "/etc/ssl/certs", "/etc/java-17-openjdk"]);
}

#[test]
fn link_in_etc_is_shown_with_its_target() {
    let root = Root::new(
        &["etc/pki/ca-trust/extracted/pem/bundle", "usr/share/zoneinfo/UTC"],
        &[("etc/ssl/certs", "../pki/ca-trust/extracted/pem"), ("etc/localtime", "../usr/share/zoneinfo/UTC")],
    );
    assert_eq!(root.shown(), ["/usr", "/etc/pki/ca-trust/extracted/pem", "/etc/pki/ca-trust/extracted"]);
    let links = root.links();
    assert!(links.contains(&("/etc/ssl/certs".to_owned(), "/etc/pki/ca-trust/extracted/pem".to_owned())));
    assert!(links.contains(&("/etc/localtime".to_owned(), "/usr/share/zoneinfo/UTC".to_owned())));
}

#[test]
fn dangling_or_outside_link_is_left_out() {
    let root = Root::new(&["usr/bin/sh"], &[("etc/ssl/certs", "/proc"), ("etc/localtime", "nowhere")]);
    assert_eq!((root.shown(), root.links()), (vec!["/usr".to_owned()], vec![]));
}
