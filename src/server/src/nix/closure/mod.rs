//! The closure of a derivation of the archive, ready to be added to a store.

use std::collections::{BTreeSet, HashSet};

use nix_store::addressed::{Addressed, is_source};
use nix_store::archive::{ArchiveError, Paths};
use nix_store::nar::Node;
use nix_store::store_path::{STORE, StorePath};

/// Returns the closure of a derivation's `.drv` file. Each path comes after those that it refers to.
///
/// # Errors
///
/// A path of the closure is not in the archive, or its name does not follow from its content.
pub fn closure(paths: &Paths, root: &StorePath) -> Result<Vec<Addressed>, ArchiveError> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([root.clone()]);
    // The paths whose references are being visited, each with the references that are left.
    let mut open = vec![visit(paths, root)?];
    while let Some(visit) = open.last_mut() {
        match visit.left.pop_first() {
            Some(next) if seen.insert(next.clone()) => open.push(self::visit(paths, &next)?),
            Some(_) => {}
            None => found.extend(open.pop().map(|visit| visit.path)),
        }
    }
    Ok(found)
}

struct Visit {
    path: Addressed,
    left: BTreeSet<StorePath>,
}

fn visit(paths: &Paths, path: &StorePath) -> Result<Visit, ArchiveError> {
    let node = paths.get(path)?;
    let references = references(paths, path, node)?;
    let path =
        Addressed::new(path, node, references.clone()).ok_or_else(|| ArchiveError::Content { path: path.clone() })?;
    Ok(Visit { path, left: references })
}

fn references(paths: &Paths, path: &StorePath, node: &Node) -> Result<BTreeSet<StorePath>, ArchiveError> {
    if path.name().ends_with(".drv") {
        let derivation = paths.derivation(path)?;
        return Ok(derivation.input_derivations.into_keys().chain(derivation.input_sources).collect());
    }
    match node {
        Node::File { content, .. } if !is_source(path, node) => Ok(named(paths, content)),
        _ => Ok(BTreeSet::new()),
    }
}

/// Returns the paths of the archive that a text names: it was made by evaluation, and refers to them.
fn named(paths: &Paths, text: &[u8]) -> BTreeSet<StorePath> {
    let text = String::from_utf8_lossy(text);
    let names = text.split(STORE).skip(1);
    let path = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/+-._?=".contains(c)).unwrap_or(rest.len());
        let name = rest[..end].strip_prefix('/')?.split('/').next()?;
        StorePath::parse(&format!("{STORE}/{name}")).ok().filter(|path| paths.get(path).is_ok())
    };
    names.filter_map(path).collect()
}

#[cfg(test)]
mod tests;
