//! The paths to show of a toolchain that is installed outside of `/usr`: its prefix, or parts of it.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use super::locate::{self, Located};
use super::{Host, HostError};
use crate::sandbox::view::Link;

/// The paths that a toolchain adds to the view.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub binds: Vec<PathBuf>,
    /// Links on the way to the program that are outside of all binds.
    pub links: Vec<Link>,
}

/// The top-level directories that every sandbox on host toolchains sees.
pub(super) const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Package stores that every user may read. Programs in a store refer to other paths of it, so all of it is shown.
const STORES: [&str; 2] = ["/nix/store", "/gnu/store"];

/// The parts of Homebrew's prefix that its programs read. The rest of `etc` and `var` are settings and data of
/// services.
const HOMEBREW_PARTS: [&str; 6] = ["Cellar", "opt", "lib", "etc/ca-certificates", "etc/openssl@3", "etc/ld.so.cache"];

/// Directories below a home that contain programs of many kinds, and also secrets.
const SHARED_BELOW_HOME: [&str; 3] = [".local", ".cargo", ".config"];

pub(super) fn is_of_system(path: &Path) -> bool {
    SYSTEM.iter().any(|top| path.starts_with(top))
}

pub(super) fn store(path: &Path) -> Option<&'static Path> {
    STORES.iter().map(Path::new).find(|store| path.starts_with(store))
}

/// Returns the paths that a program needs to run.
pub(super) fn shown(program: &str, located: &Located, tool: &'static str, host: &Host) -> Result<Shown, HostError> {
    match located.is_venv {
        true => venv(program, &located.path, tool, host),
        false => Ok(Shown { binds: parts(program, &located.path, host), links: Vec::new() }),
    }
}

fn parts(program: &str, path: &Path, host: &Host) -> Vec<PathBuf> {
    if is_of_system(path) {
        return Vec::new();
    }
    if let Some(store) = store(path) {
        return vec![store.to_owned()];
    }
    if let Some(homebrew) = above(path, "Cellar") {
        return existing(HOMEBREW_PARTS.iter().map(|part| homebrew.join(part)));
    }
    let only_file = vec![path.to_owned()];
    let Some(directory) = path.parent().filter(|directory| directory.ends_with("bin")) else { return only_file };
    let Some(prefix) = directory.parent() else { return only_file };
    let own = own_parts(program, prefix);
    match own.is_empty() {
        // The prefix may not belong to a toolchain: `~/project/bin/node` must not show the project.
        true => only_file,
        false if is_shared(prefix, host) => only_file.into_iter().chain(own).collect(),
        false => vec![prefix.to_owned()],
    }
}

/// Returns the parts of a prefix that belong to the toolchain. Other programs may use the same prefix.
fn own_parts(program: &str, prefix: &Path) -> Vec<PathBuf> {
    let patterns: &[(&str, &str)] = match program {
        "python" | "python3" => {
            &[("lib", "python3"), ("lib64", "python3"), ("lib", "libpython3"), ("include", "python3")]
        }
        "node" => &[("lib", "node_modules"), ("include", "node")],
        "rustc" | "cargo" => &[("lib", "rustlib"), ("lib", "librustc_driver"), ("lib", "libLLVM")],
        "java" | "javac" => &[("lib", "modules"), ("lib", "jrt-fs.jar"), ("lib", "server")],
        "go" => &[("pkg", "tool"), ("src", "runtime")],
        "cc" => &[("lib", "gcc"), ("lib64", "gcc"), ("libexec", "gcc"), ("lib", "clang")],
        _ => &[],
    };
    let mut parts = Vec::new();
    for (directory, start) in patterns {
        let entries = fs::read_dir(prefix.join(directory)).into_iter().flatten().flatten();
        let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
        parts.extend(own.map(|entry| entry.path()));
    }
    parts.sort();
    parts
}

/// Returns whether a prefix contains more than a toolchain, so that it must not be shown as a whole.
fn is_shared(prefix: &Path, host: &Host) -> bool {
    let is_of_home = host.true_home().is_some_and(|home| {
        home.starts_with(prefix) || SHARED_BELOW_HOME.iter().any(|shared| prefix == home.join(shared))
    });
    // `/`, `/opt`, `/root` and the homes of other users.
    let is_top = prefix.components().filter(|part| matches!(part, Component::Normal(_))).count() < 2;
    is_of_home || is_top || prefix.parent() == Some(Path::new("/home")) || prefix.join(".git").exists()
}

/// Returns the parts of a Python venv and of its base. A venv is often inside a project's directory, which must not be
/// shown as a whole.
fn venv(program: &str, path: &Path, tool: &'static str, host: &Host) -> Result<Shown, HostError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |cause| HostError::Read { tool, path, cause }
    };
    let missing = || read(path)(io::ErrorKind::NotFound.into());
    let configuration = locate::venv_configuration(path).ok_or_else(missing)?;
    let root = configuration.parent().ok_or_else(missing)?;
    let text = fs::read_to_string(&configuration).map_err(read(&configuration))?;
    let value = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "home");
    let (_, home) = value
        .ok_or_else(|| read(&configuration)(io::Error::new(io::ErrorKind::InvalidData, "it has no key `home`")))?;
    let home = Path::new(home.trim());

    let own = ["bin", "lib", "lib64", "include", "pyvenv.cfg"].map(|part| root.join(part));
    // The interpreter finds its base both by its own link and by the key `home`. Both ways may contain links.
    let (base, mut links) = trail(path).map_err(read(path))?;
    links.extend(trail(home).map_err(read(home))?.1);
    let base = locate::follow(base, program, tool, host)?;
    let mut binds = existing(own.into_iter());
    binds.extend(parts(program, &base.path, host));
    Ok(Shown { binds, links })
}

/// Resolves a path, and returns its end and all symbolic links on the way.
fn trail(path: &Path) -> io::Result<(PathBuf, Vec<Link>)> {
    let mut links = Vec::new();
    let mut end = PathBuf::from("/");
    // The components that are left, in reverse order.
    let mut ahead: Vec<PathBuf> = components(path);
    while let Some(part) = ahead.pop() {
        if part.as_os_str() == ".." {
            end.pop();
            continue;
        }
        let next = end.join(&part);
        match fs::read_link(&next) {
            Ok(_) if links.len() >= 100 => return Err(io::Error::other("too many symbolic links")),
            Ok(target) => {
                if target.is_absolute() {
                    end = PathBuf::from("/");
                }
                ahead.extend(components(&target));
                links.push(Link::new(next, target));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => end = next,
            Err(error) => return Err(error),
        }
    }
    Ok((end, links))
}

fn components(path: &Path) -> Vec<PathBuf> {
    let walked = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    walked.rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Returns the directory that contains the path's component of this name.
fn above<'a>(path: &'a Path, name: &str) -> Option<&'a Path> {
    path.ancestors().find(|directory| directory.ends_with(name))?.parent()
}

fn existing(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    paths.filter(|path| path.exists()).collect()
}
