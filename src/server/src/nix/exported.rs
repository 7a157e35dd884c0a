//! A receipt as one file: the `.drv` file, behind the files of the call where that does not hold them. The form is that of
//! `nix-store --export`.
//!
//! What else the derivation needs, every server of the same manifest has: the launcher, and the environment's derivation.
//! Nothing in the file is believed: what it holds must have the paths that the receipt names.

use std::fmt;

use crate::call::file::{File, FileError};
use crate::nix::receipt::{Receipt, ReceiptError};
use crate::nix::run_derivation::{RunDerivation, files_node, files_path};
use nix_store::export::{self, Export};
use nix_store::nar::{Malformed, Node};
use nix_store::store_path::StorePathError;

/// Why a file is no receipt, or none with its files.
#[derive(Debug)]
pub enum ExportedError {
    Form(Malformed),
    /// It is text in no encoding that Nix writes.
    Text,
    Receipt(ReceiptError),
    /// It holds something else than a receipt and its files.
    Other {
        path: String,
    },
    /// A call has files, and no links.
    Link {
        name: String,
    },
    File(FileError),
    Path(StorePathError),
    /// The files are not those of the call.
    Files {
        named: String,
        found: String,
    },
}

impl fmt::Display for ExportedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(error) => write!(f, "it is no receipt: {error}"),
            Self::Text => f.write_str("it is no receipt: it holds what is not UTF-8"),
            Self::Receipt(error) => error.fmt(f),
            Self::Other { path } => write!(f, "it holds {path}, which belongs to no receipt"),
            Self::Link { name } => write!(f, "it holds the symbolic link `{name}`, which belongs to no call"),
            Self::File(error) => error.fmt(f),
            Self::Path(error) => error.fmt(f),
            Self::Files { named, found } => {
                write!(
                    f,
                    "its files are not those of the call: they have the path {found}, and the receipt names {named}"
                )
            }
        }
    }
}

impl std::error::Error for ExportedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Form(error) => Some(error),
            Self::Receipt(error) => Some(error),
            Self::File(error) => Some(error),
            Self::Path(error) => Some(error),
            Self::Text | Self::Other { .. } | Self::Link { .. } | Self::Files { .. } => None,
        }
    }
}

/// The receipt of a call with these files.
pub fn write(derivation: &RunDerivation, files: &[File]) -> Vec<u8> {
    let mut stream = Export::default();
    if let Some(path) = &derivation.files {
        stream.add(path, &files_node(files), []);
    }
    let text = Node::File { content: derivation.text.as_bytes(), executable: false };
    stream.add(&derivation.path, &text, &derivation.references);
    stream.finish()
}

/// Reads a receipt, with the files that it does not hold itself: what [`write`] has written, or the text of a `.drv` file.
pub fn read(bytes: &[u8]) -> Result<(Receipt, Vec<File>), ExportedError> {
    let receipt =
        |text| Receipt::parse(str::from_utf8(text).map_err(|_| ExportedError::Text)?).map_err(ExportedError::Receipt);
    if !export::is_export(bytes) {
        return Ok((receipt(bytes)?, Vec::new()));
    }
    let mut paths = export::read(bytes).map_err(ExportedError::Form)?;
    let last = paths.pop();
    let Some(Node::File { content, .. }) = last.map(|last| last.content) else {
        return Err(ExportedError::Receipt(ReceiptError::Other { reason: "it holds no file" }));
    };
    let receipt = receipt(content)?;
    let named = receipt.run().map_err(ExportedError::Receipt)?.files;
    let other = |path: &[u8]| Err(ExportedError::Other { path: String::from_utf8_lossy(path).into_owned() });
    match (&named, &paths[..]) {
        (_, []) => Ok((receipt, Vec::new())),
        (Some(named), [exported]) => {
            let files = files(&exported.content)?;
            let found = files_path(&files).map_err(ExportedError::Path)?;
            match found == *named {
                true => Ok((receipt, files)),
                false => Err(ExportedError::Files { named: named.to_string(), found: found.to_string() }),
            }
        }
        (_, [exported, ..]) => other(exported.path),
    }
}

/// The files of a call, from the form in which they are added to a store.
fn files(root: &Node) -> Result<Vec<File>, ExportedError> {
    let mut files = Vec::new();
    let mut left = vec![(String::new(), root)];
    while let Some((name, node)) = left.pop() {
        match node {
            Node::File { content, .. } => {
                let content = String::from_utf8(content.to_vec()).map_err(|_| ExportedError::Text)?;
                files.push(File::parse(&name, content).map_err(ExportedError::File)?);
            }
            Node::Link { .. } => return Err(ExportedError::Link { name }),
            Node::Directory(entries) => {
                for (entry, node) in entries {
                    let entry = str::from_utf8(entry).map_err(|_| ExportedError::Text)?;
                    left.push((if name.is_empty() { entry.to_owned() } else { format!("{name}/{entry}") }, node));
                }
            }
        }
    }
    Ok(files)
}
