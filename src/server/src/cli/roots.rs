//! The command `roots`: what this user's calls have kept from Nix's garbage collector, and how to let it go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Serialize;

use crate::call::catalog::{Catalog, catalog};
use crate::cli::output::{cut, print, print_json, width};
use crate::cli::run::OWN_FAILURE;
use crate::nix::realise::Realiser;
use crate::nix::roots::{GcRoot, GcRootError, Roots};

/// What frees the space of what no root keeps.
const HINT: &str = "Nothing was deleted from the store yet: `nix-collect-garbage` or `nix store gc` frees the space.";

/// Which roots to drop.
#[derive(Debug, Clone, Copy)]
pub enum Dropped<'a> {
    Named(&'a [String]),
    All,
}

/// What `roots --json` prints.
#[derive(Debug, Serialize)]
struct RootList {
    directory: PathBuf,
    /// The roots that there are, or, with `--drop`, that were dropped.
    roots: Vec<ListedRoot>,
}

#[derive(Debug, Serialize)]
struct ListedRoot {
    name: String,
    /// The store path that it keeps.
    path: PathBuf,
    /// Whether the store has that path.
    present: bool,
    /// Whether this server uses it; otherwise another one made it, or one of an earlier version.
    used: bool,
    /// Bytes of the path and of all that it needs, which other roots may need, too; none if Nix does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    closure_bytes: Option<u64>,
}

/// Lists the roots, or drops some.
pub fn run(realiser: &Realiser, dropped: Option<Dropped>, is_json: bool) -> ExitCode {
    let Some(roots) = realiser.roots() else {
        eprintln!("sandbox-mcp: cannot find the roots: there is no home directory; set HOME or XDG_STATE_HOME");
        return ExitCode::from(OWN_FAILURE);
    };
    let found = match dropped {
        None => roots.list(),
        Some(Dropped::All) => roots.drop_all(),
        Some(Dropped::Named(names)) => roots.drop_named(names),
    };
    match found {
        Ok(found) => report(roots, found, realiser.nix_store(), dropped.is_some(), is_json),
        Err(error) => return fail(&error),
    }
    ExitCode::SUCCESS
}

fn fail(error: &GcRootError) -> ExitCode {
    eprintln!("sandbox-mcp: {error}");
    ExitCode::from(OWN_FAILURE)
}

fn report(roots: &Roots, found: Vec<GcRoot>, nix_store: Option<&Path>, is_dropped: bool, is_json: bool) {
    let sizes = nix_store.map(|program| closure_sizes(program, &found)).unwrap_or_default();
    let listed = found.into_iter().map(|root| ListedRoot {
        present: root.target.exists(),
        used: is_used(catalog(), &root.target),
        closure_bytes: sizes.get(&root.target).copied(),
        name: root.name,
        path: root.target,
    });
    let list = RootList { directory: roots.directory().to_owned(), roots: listed.collect() };
    if is_json {
        return print_json(&list);
    }
    print(&text(&list, is_dropped, width()));
}

fn text(list: &RootList, is_dropped: bool, width: Option<usize>) -> String {
    let directory = list.directory.display();
    if list.roots.is_empty() {
        return format!("There are no roots in {directory}.\n");
    }
    let name_width = list.roots.iter().map(|root| root.name.len()).max().unwrap_or_default();
    let mut text = match is_dropped {
        true => format!("Dropped from {directory}:\n"),
        false => format!("In {directory}, each with what it needs, which others may need, too:\n"),
    };
    for root in &list.roots {
        let size = root.closure_bytes.map_or(String::new(), |bytes| format!("{} MB", bytes.div_ceil(1_000_000)));
        let note = match root {
            ListedRoot { present: false, .. } => "  (no longer in the store)",
            ListedRoot { used: false, .. } => "  (not of this server)",
            _ => "",
        };
        let path = root.path.display();
        text += &cut(&format!("{:name_width$}  {size:>8}  {path}{note}", root.name), width);
        text.push('\n');
    }
    if is_dropped {
        text += &format!("{HINT} The next call that needs one of these makes its root again.\n");
    }
    text
}

/// Returns whether a server with this catalog uses a store path.
fn is_used(catalog: &Catalog, path: &Path) -> bool {
    let environments = catalog.tools.iter().filter_map(|tool| tool.sandbox.environment.as_ref());
    let packages = catalog.package_sets.iter().flat_map(|set| set.packages).map(|package| &package.environment);
    environments.chain(packages).any(|environment| Path::new(environment.out) == path)
}

/// Asks Nix how large the closures of these roots are. Those that it does not know are left out.
fn closure_sizes(nix_store: &Path, roots: &[GcRoot]) -> BTreeMap<PathBuf, u64> {
    let present = roots.iter().map(|root| &root.target).filter(|target| target.exists());
    let output = Command::new(nix_store.with_file_name("nix"))
        .args(["--extra-experimental-features", "nix-command", "path-info", "--closure-size"])
        .args(present)
        .output();
    let Ok(output) = output else { return BTreeMap::new() };
    sizes(&String::from_utf8_lossy(&output.stdout))
}

/// Reads lines of a path and a number of bytes.
fn sizes(text: &str) -> BTreeMap<PathBuf, u64> {
    let size = |line: &str| {
        let (path, bytes) = line.trim().rsplit_once(char::is_whitespace)?;
        Some((PathBuf::from(path.trim()), bytes.parse().ok()?))
    };
    text.lines().filter_map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-mcp-shell";

    fn root(name: &str, present: bool, used: bool, closure_bytes: Option<u64>) -> ListedRoot {
        ListedRoot { name: name.to_owned(), path: PATH.into(), present, used, closure_bytes }
    }

    #[test]
    fn sizes_are_read_from_lines_of_nix() {
        let text = format!("{PATH}\t 160123456\n/nix/store/x\tmany\n\n");
        assert_eq!(sizes(&text), BTreeMap::from([(PathBuf::from(PATH), 160_123_456)]));
    }

    #[test]
    fn text_tells_sizes_and_what_is_of_no_use() {
        let roots = vec![root("shell", true, true, Some(160_123_456)), root("old", true, false, None)];
        let mut list = RootList { directory: "/state".into(), roots };
        let shown = text(&list, false, None);
        assert!(shown.contains(&format!("shell    161 MB  {PATH}\n")) && !shown.contains("collect-garbage"), "{shown}");
        assert!(shown.contains(&format!("old              {PATH}  (not of this server)\n")), "{shown}");
        let dropped = text(&list, true, None);
        assert!(dropped.starts_with("Dropped from /state:\n") && dropped.contains("nix-collect-garbage"), "{dropped}");
        list.roots.clear();
        assert_eq!(text(&list, true, None), "There are no roots in /state.\n");
    }
}
