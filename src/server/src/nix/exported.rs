//! A receipt as one file: the files of the call, if the `.drv` file does not hold them, and then the `.drv` file. The
//! format is that of `nix-store --export`.
//!
//! Every server of the same manifest has the other inputs of the derivation: the launcher, and the environment's
//! derivation. The file is not trusted: its contents must have the paths that the receipt names.

use thiserror::Error;

use crate::call::file::{File, FileError};
use crate::nix::receipt::{Receipt, ReceiptError};
use crate::nix::run_derivation::{RunDerivation, files_node, files_path};
use nix_store::export::{self, Export};
use nix_store::nar::{MalformedNar, Node};
use nix_store::store_path::StorePathError;

/// Why a file is not a receipt, or not one with its files.
#[derive(Debug, Error)]
pub enum ExportedError {
    #[error("it is no receipt: {0}")]
    Form(MalformedNar),
    /// It is not UTF-8.
    #[error("it is no receipt: it holds what is not UTF-8")]
    Text,
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// It holds something else than a receipt and its files.
    #[error("it holds {path}, which belongs to no receipt")]
    Other { path: String },
    /// A call has files, and no links.
    #[error("it holds the symbolic link `{name}`, which belongs to no call")]
    Link { name: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// The files are not those of the call.
    #[error("its files are not those of the call: they have the path {found}, and the receipt names {named}")]
    Files { named: String, found: String },
}

/// Writes the receipt of a call with these files.
pub fn write(derivation: &RunDerivation, files: &[File]) -> Vec<u8> {
    let mut stream = Export::default();
    if let Some(path) = &derivation.files {
        stream.add(path, &files_node(files), []);
    }
    let text = Node::File { content: derivation.text.as_bytes(), executable: false };
    stream.add(&derivation.path, &text, &derivation.references);
    stream.finish()
}

/// Reads a receipt with its files, from what [`write`] has written or from the text of a `.drv` file.
///
/// # Errors
///
/// It is malformed, it holds something else, or its files are not those that the receipt names.
pub fn read(bytes: &[u8]) -> Result<(Receipt, Vec<File>), ExportedError> {
    let receipt =
        |text| Ok::<_, ExportedError>(Receipt::parse(str::from_utf8(text).map_err(|_| ExportedError::Text)?)?);
    if !export::is_export(bytes) {
        return Ok((receipt(bytes)?, Vec::new()));
    }
    let mut paths = export::read(bytes).map_err(ExportedError::Form)?;
    let last = paths.pop();
    let Some(Node::File { content, .. }) = last.map(|last| last.content) else {
        return Err(ReceiptError::Other { reason: "it holds no file" }.into());
    };
    let receipt = receipt(content)?;
    let named = receipt.run()?.files;
    let other = |path: &[u8]| Err(ExportedError::Other { path: String::from_utf8_lossy(path).into_owned() });
    match (&named, &paths[..]) {
        (_, []) => Ok((receipt, Vec::new())),
        (Some(named), [exported]) => {
            let files = files(&exported.content)?;
            let found = files_path(&files)?;
            match found == *named {
                true => Ok((receipt, files)),
                false => Err(ExportedError::Files { named: named.to_string(), found: found.to_string() }),
            }
        }
        (_, [exported, ..]) => other(exported.path),
    }
}

/// Returns the files of a call from the form in which they are added to a store.
fn files(root: &Node) -> Result<Vec<File>, ExportedError> {
    let mut files = Vec::new();
    let mut left = vec![(String::new(), root)];
    while let Some((name, node)) = left.pop() {
        match node {
            Node::File { content, .. } => {
                let content = String::from_utf8(content.to_vec()).map_err(|_| ExportedError::Text)?;
                files.push(File::parse(&name, content)?);
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
