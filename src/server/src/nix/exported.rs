//! A receipt as one file: the files and the standard input of the call, if the `.drv` file does not hold them, and then the `.drv` file. The
//! format is that of `nix-store --export`.
//!
//! Every server of the same manifest has the other inputs of the derivation: the launcher, and the environment's
//! derivation. The file is not trusted: its contents must have the paths that the receipt names.

use thiserror::Error;

use crate::call::file::{File, FileError};
use crate::call::stored_inputs::StoredInputs;
use crate::nix::receipt::{Receipt, ReceiptError};
use crate::nix::run_derivation::RunDerivation;
use nix_store::export::{self, Export};
use nix_store::nar::{MalformedNar, Node};
use nix_store::store_path::StorePathError;
use sandbox_plan::variables::{STORED_FILES, STORED_STDIN};

/// Why a file is not a receipt, or not one with its files.
#[derive(Debug, Error)]
pub enum ExportedError {
    #[error("it is not a receipt: {0}")]
    Form(MalformedNar),
    /// It is not UTF-8.
    #[error("it is not a receipt: its text is not UTF-8")]
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

/// The files and the standard input of a call that was read. Both are empty where the `.drv` file holds them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportedInputs {
    pub files: Vec<File>,
    pub stdin: Vec<u8>,
}

impl ExportedInputs {
    pub fn as_stored(&self) -> StoredInputs<'_> {
        StoredInputs { files: &self.files, stdin: &self.stdin }
    }
}

/// Writes the receipt of a call with these inputs.
pub fn write(derivation: &RunDerivation, inputs: StoredInputs) -> Vec<u8> {
    let mut stream = Export::default();
    if let Some(path) = &derivation.stored {
        stream.add(path, &inputs.node(), []);
    }
    let text = Node::File { content: derivation.text.as_bytes(), executable: false };
    stream.add(&derivation.path, &text, &derivation.references);
    stream.finish()
}

/// Reads a receipt with its inputs, from what [`write`] has written or from the text of a `.drv` file.
///
/// # Errors
///
/// It is malformed, it holds something else, or its files are not those that the receipt names.
pub fn read(bytes: &[u8]) -> Result<(Receipt, ExportedInputs), ExportedError> {
    let receipt =
        |text| Ok::<_, ExportedError>(Receipt::parse(str::from_utf8(text).map_err(|_| ExportedError::Text)?)?);
    if !export::is_export(bytes) {
        return Ok((receipt(bytes)?, ExportedInputs::default()));
    }
    let mut paths = export::read(bytes).map_err(ExportedError::Form)?;
    let last = paths.pop();
    let Some(Node::File { content, .. }) = last.map(|last| last.content) else {
        return Err(ReceiptError::Other { reason: "it holds no file" }.into());
    };
    let receipt = receipt(content)?;
    let named = receipt.run()?.stored;
    let other = |path: &[u8]| Err(ExportedError::Other { path: String::from_utf8_lossy(path).into_owned() });
    match (&named, &paths[..]) {
        (_, []) => Ok((receipt, ExportedInputs::default())),
        (Some(named), [exported]) => {
            let inputs = inputs(&exported.content, receipt.stores_stdin())?;
            let found = inputs.as_stored().path()?;
            match found == *named {
                true => Ok((receipt, inputs)),
                false => Err(ExportedError::Files { named: named.to_string(), found: found.to_string() }),
            }
        }
        (_, [exported, ..]) => other(exported.path),
    }
}

/// Returns the inputs of a call from the form in which they are added to a store.
fn inputs(root: &Node, with_stdin: bool) -> Result<ExportedInputs, ExportedError> {
    if !with_stdin {
        return Ok(ExportedInputs { files: files(root)?, stdin: Vec::new() });
    }
    let entry = |name: &str| match root {
        Node::Directory(entries) => entries.get(name.as_bytes()),
        _ => None,
    };
    match (entry(STORED_FILES), entry(STORED_STDIN)) {
        (Some(root), Some(Node::File { content, .. })) => {
            Ok(ExportedInputs { files: files(root)?, stdin: content.to_vec() })
        }
        _ => Err(ReceiptError::Other { reason: "its inputs are not files and a standard input" }.into()),
    }
}

/// Returns the files of a call from the form in which they are added to a store.
fn files(root: &Node) -> Result<Vec<File>, ExportedError> {
    let mut files = Vec::new();
    let mut left = vec![(String::new(), root)];
    while let Some((name, node)) = left.pop() {
        match node {
            Node::File { content, executable } => {
                files.push(File { executable: *executable, ..File::parse(&name, *content)? });
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
