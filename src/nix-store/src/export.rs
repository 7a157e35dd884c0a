//! Store paths with their content in one stream, as `nix-store --export` writes and `nix-store --import` reads it.

use crate::nar::{Malformed, Node, Parser, padding};
use crate::store_path::StorePath;

const MAGIC: u64 = 0x4558_494e;

/// A path of a stream, and what it holds. To believe that the one has the content of the other is up to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported<'a> {
    pub path: &'a [u8],
    pub content: Node<'a>,
}

/// Whether the bytes begin as a stream does.
pub fn is_export(bytes: &[u8]) -> bool {
    bytes.starts_with(&1u64.to_le_bytes())
}

/// Reads a whole stream.
pub fn read(bytes: &[u8]) -> Result<Vec<Exported<'_>>, Malformed> {
    let mut parser = Parser::new(bytes);
    let mut paths = Vec::new();
    while parser.number()? == 1 {
        let content = parser.archive()?;
        if parser.number()? != MAGIC {
            return parser.refuse("the end of an archive");
        }
        let path = parser.string()?;
        for _ in 0..parser.number()? {
            parser.string()?; // a reference
        }
        parser.string()?; // the deriver
        if parser.number()? != 0 {
            parser.string()?; // of old
        }
        paths.push(Exported { path, content });
    }
    if parser.is_at_end() { Ok(paths) } else { parser.refuse("the end") }
}

/// A stream of paths, each behind those that it refers to.
#[derive(Default)]
pub struct Export(Vec<u8>);

impl Export {
    pub fn add<'a>(&mut self, path: &StorePath, content: &Node, references: impl IntoIterator<Item = &'a StorePath>) {
        let mut archive = Vec::new();
        content.write(&mut archive).expect("writing to memory does not fail");
        self.add_archive(path, &archive, references);
    }

    pub fn add_archive<'a>(
        &mut self,
        path: &StorePath,
        archive: &[u8],
        references: impl IntoIterator<Item = &'a StorePath>,
    ) {
        self.number(1);
        self.0.extend(archive);
        self.number(MAGIC);
        self.string(path.as_str());
        let references: Vec<_> = references.into_iter().collect();
        self.number(references.len() as u64);
        for reference in references {
            self.string(reference.as_str());
        }
        // No deriver, no signature.
        self.string("");
        self.number(0);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.number(0);
        self.0
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
        self.0.resize(self.0.len() + padding(text.len()), 0);
    }
}
