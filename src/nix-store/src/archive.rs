//! The derivations that come with a server, in one file: a Nix archive of a directory like a store, which holds `.drv`
//! files and what they refer to, compressed by zstd. `nix/lib/derivations.nix` makes it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use thiserror::Error;

use crate::derivation::{Derivation, DerivationSyntaxError};
use crate::nar::{MalformedNar, NarParser, Node};
use crate::store_path::{STORE, StorePath};

/// Why a derivation cannot be read from an archive.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveError {
    /// It cannot be decompressed.
    #[error("cannot unpack the archive: {0}")]
    Compression(String),
    /// It holds something else than was packed.
    #[error("the archive fails its checksum")]
    Checksum,
    #[error("the archive is malformed: {0}")]
    Form(MalformedNar),
    #[error("the archive is malformed: it is not a directory")]
    Root,
    /// The archive lacks a path that is needed.
    #[error("the archive does not hold {path}")]
    Missing { path: StorePath },
    #[error("{path} in the archive: {cause}")]
    Derivation { path: StorePath, cause: DerivationSyntaxError },
    /// A path that is named like a derivation is not UTF-8 text.
    #[error("{path} in the archive is not UTF-8 text")]
    Text { path: StorePath },
    /// The name of a path does not follow from its content.
    #[error("{path} in the archive does not match the hash in its name")]
    Content { path: StorePath },
}

/// An archive that was decompressed.
pub struct Archive(Vec<u8>);

impl Archive {
    /// Decompresses an archive.
    ///
    /// # Errors
    ///
    /// It is not zstd, or its checksum is wrong.
    pub fn unpack(compressed: &[u8]) -> Result<Self, ArchiveError> {
        let failed = |error: &dyn Display| ArchiveError::Compression(error.to_string());
        let mut decoder = StreamingDecoder::new(compressed).map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        decoder.read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        let (rest, decoder) = decoder.into_parts();
        let expected = decoder.get_checksum_from_data();
        if !rest.is_empty() || expected.is_some() && expected != decoder.get_calculated_checksum() {
            return Err(ArchiveError::Checksum);
        }
        Ok(Self(bytes))
    }

    /// Returns the paths in it.
    ///
    /// # Errors
    ///
    /// It is not the Nix archive of a directory.
    pub fn paths(&self) -> Result<Paths<'_>, ArchiveError> {
        let mut parser = NarParser::new(&self.0);
        match parser.archive().map_err(ArchiveError::Form)? {
            Node::Directory(entries) if parser.is_at_end() => Ok(Paths(entries)),
            _ => Err(ArchiveError::Root),
        }
    }
}

/// The contents of an archive, by name.
pub struct Paths<'a>(BTreeMap<&'a [u8], Node<'a>>);

impl<'a> Paths<'a> {
    /// Returns the number of derivations.
    pub fn derivations(&self) -> usize {
        self.0.keys().filter(|name| name.ends_with(b".drv")).count()
    }

    /// Returns the content of a path.
    ///
    /// # Errors
    ///
    /// The archive does not hold the path.
    pub fn get(&self, path: &StorePath) -> Result<&Node<'a>, ArchiveError> {
        let name = &path.as_str()[STORE.len() + 1..];
        self.0.get(name.as_bytes()).ok_or_else(|| ArchiveError::Missing { path: path.clone() })
    }

    /// Returns a derivation as its `.drv` file has it.
    ///
    /// # Errors
    ///
    /// The archive does not hold the path, or it is not a derivation.
    pub fn derivation(&self, path: &StorePath) -> Result<Derivation, ArchiveError> {
        let text = match self.get(path)? {
            Node::File { content, .. } => str::from_utf8(content).ok(),
            _ => None,
        };
        let text = text.ok_or_else(|| ArchiveError::Text { path: path.clone() })?;
        Derivation::parse(text).map_err(|cause| ArchiveError::Derivation { path: path.clone(), cause })
    }
}
