//! Paths that are named by their content, such as `.drv` files and sources. A store accepts them from every user.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::hash::{archive_hash, base16, base32, flat_path, source_path, text_path};
use crate::nar::Node;
use crate::store_path::StorePath;

/// A path with everything that a store must be told to add it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    pub path: StorePath,
    pub references: BTreeSet<StorePath>,
    /// The content as an archive.
    pub archive: Vec<u8>,
    /// The SHA-256 of the archive, in base 16.
    pub archive_hash: String,
    /// The content address in Nix's notation, such as `fixed:r:sha256:…`.
    pub address: String,
}

impl Addressed {
    /// Returns `None` if content that refers to `references` has another path.
    pub fn new(path: &StorePath, node: &Node, references: BTreeSet<StorePath>) -> Option<Self> {
        let archive_hash = archive_hash(node);
        let address = address(path, node, &references, &archive_hash)?;
        let mut archive = Vec::new();
        node.write(&mut archive).expect("writing to memory does not fail");
        Some(Self { path: path.clone(), references, archive, archive_hash: base16(&archive_hash), address })
    }
}

/// Returns whether a path is a source: plain files without references.
pub fn is_source(path: &StorePath, node: &Node) -> bool {
    let is_flat = |content| flat_path(path.name(), content).as_ref() == Ok(path);
    source_path(path.name(), node).as_ref() == Ok(path)
        || matches!(node, Node::File { content, .. } if is_flat(content))
}

fn address(path: &StorePath, node: &Node, references: &BTreeSet<StorePath>, archive_hash: &[u8; 32]) -> Option<String> {
    let name = path.name();
    match node {
        Node::File { content, executable: false } if text_path(name, content, references).as_ref() == Ok(path) => {
            Some(format!("text:sha256:{}", base32(&Sha256::digest(content))))
        }
        _ if !references.is_empty() => None,
        _ if source_path(name, node).as_ref() == Ok(path) => Some(format!("fixed:r:sha256:{}", base32(archive_hash))),
        Node::File { content, executable: false } if flat_path(name, content).as_ref() == Ok(path) => {
            Some(format!("fixed:sha256:{}", base32(&Sha256::digest(content))))
        }
        _ => None,
    }
}
