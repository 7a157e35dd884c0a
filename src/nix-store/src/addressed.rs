//! Paths that are named by their content, as `.drv` files and sources are: a store takes them from anybody.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::hash::{archive_hash, base16, base32, flat_path, source_path, text_path};
use crate::nar::Node;
use crate::store_path::StorePath;

/// A path with all that a store must be told to add it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    pub path: StorePath,
    pub references: BTreeSet<StorePath>,
    /// The content, as an archive.
    pub archive: Vec<u8>,
    /// The archive's SHA-256, in base 16.
    pub archive_hash: String,
    /// How the name follows from the content, in Nix's words.
    pub address: String,
}

impl Addressed {
    /// None if a path with this content, which refers to `references`, has another name.
    pub fn new(path: &StorePath, node: &Node, references: BTreeSet<StorePath>) -> Option<Self> {
        let archive_hash = archive_hash(node);
        let address = address(path, node, &references, &archive_hash)?;
        let mut archive = Vec::new();
        node.write(&mut archive).expect("writing to memory does not fail");
        Some(Self { path: path.clone(), references, archive, archive_hash: base16(&archive_hash), address })
    }
}

/// Whether a path is a source: files as they are, which refer to nothing.
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
