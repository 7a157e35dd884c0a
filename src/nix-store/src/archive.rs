//! The derivations that come with a server, in one file: `.drv` files and what those refer to, as a directory like a store in a
//! Nix archive, compressed by zstd. `nix/lib/derivations.nix` makes it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

use crate::derivation::{Derivation, ParseError};
use crate::nar::{Malformed, Node, Parser};
use crate::store_path::{STORE, StorePath};

/// Why a derivation can't be had from an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveError {
    /// It can't be decompressed.
    Compression(String),
    /// It holds something else than was packed.
    Checksum,
    Form(Malformed),
    /// It is no directory.
    Root,
    /// The archive lacks a path that is needed.
    Missing {
        path: StorePath,
    },
    Derivation {
        path: StorePath,
        source: ParseError,
    },
    /// It is named like a derivation, and is no text.
    Text {
        path: StorePath,
    },
    /// The name of a path does not follow from its content.
    Content {
        path: StorePath,
    },
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression(reason) => write!(f, "the archive does not unpack: {reason}"),
            Self::Checksum => f.write_str("the archive has another checksum than when it was made"),
            Self::Form(error) => write!(f, "the archive is malformed: {error}"),
            Self::Root => f.write_str("the archive is malformed: it is no directory"),
            Self::Missing { path } => write!(f, "the archive does not hold {path}"),
            Self::Derivation { path, source } => write!(f, "{path} in the archive: {source}"),
            Self::Text { path } => write!(f, "{path} in the archive is no text"),
            Self::Content { path } => write!(f, "{path} in the archive has another content than its name says"),
        }
    }
}

impl std::error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Form(error) => Some(error),
            Self::Derivation { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// An archive that was decompressed.
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn unpack(compressed: &[u8]) -> Result<Self, ArchiveError> {
        let failed = |error: &dyn fmt::Display| ArchiveError::Compression(error.to_string());
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

    pub fn paths(&self) -> Result<Paths<'_>, ArchiveError> {
        let mut parser = Parser::new(&self.0);
        match parser.archive().map_err(ArchiveError::Form)? {
            Node::Directory(entries) if parser.is_at_end() => Ok(Paths(entries)),
            _ => Err(ArchiveError::Root),
        }
    }
}

/// What an archive holds, by name.
pub struct Paths<'a>(BTreeMap<&'a [u8], Node<'a>>);

impl<'a> Paths<'a> {
    /// How many derivations there are.
    pub fn derivations(&self) -> usize {
        self.0.keys().filter(|name| name.ends_with(b".drv")).count()
    }

    pub fn get(&self, path: &StorePath) -> Result<&Node<'a>, ArchiveError> {
        let name = &path.as_str()[STORE.len() + 1..];
        self.0.get(name.as_bytes()).ok_or_else(|| ArchiveError::Missing { path: path.clone() })
    }

    /// A derivation, as its `.drv` file has it.
    pub fn derivation(&self, path: &StorePath) -> Result<Derivation, ArchiveError> {
        let text = match self.get(path)? {
            Node::File { content, .. } => str::from_utf8(content).ok(),
            _ => None,
        };
        let text = text.ok_or_else(|| ArchiveError::Text { path: path.clone() })?;
        Derivation::parse(text).map_err(|source| ArchiveError::Derivation { path: path.clone(), source })
    }
}
