//! Store paths with their content in one stream, as `nix-store --export` writes and `nix-store --import` reads it.

use crate::nar::{MalformedNar, NarParser, Node, padding};
use crate::store_path::StorePath;

/// Follows each archive: `NIXE`.
const MAGIC: u64 = 0x4558_494e;

/// A path of a stream, and its content. Whether the path follows from the content is for the caller to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported<'a> {
    pub path: &'a [u8],
    pub content: Node<'a>,
}

/// Returns whether the bytes begin like a stream.
pub fn is_export(bytes: &[u8]) -> bool {
    bytes.starts_with(&1u64.to_le_bytes())
}

/// Reads a whole stream.
///
/// # Errors
///
/// It is malformed, or something follows it.
pub fn read(bytes: &[u8]) -> Result<Vec<Exported<'_>>, MalformedNar> {
    let mut parser = NarParser::new(bytes);
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
            parser.string()?; // an obsolete signature
        }
        paths.push(Exported { path, content });
    }
    if parser.is_at_end() { Ok(paths) } else { parser.refuse("the end") }
}

/// Writes a stream of paths. Each comes after those that it refers to.
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const PATH: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a";

    fn stream(contents: &[Vec<u8>], references: usize) -> Vec<u8> {
        let path = StorePath::parse(PATH).unwrap();
        let mut export = Export::default();
        for content in contents {
            let node = Node::File { content, executable: false };
            export.add(&path, &node, std::iter::repeat_n(&path, references));
        }
        export.finish()
    }

    proptest! {
        #[test]
        fn any_export_is_read_as_it_was_written(contents in vec(vec(any::<u8>(), 0..20), 0..4), references in 0..3_usize) {
            let stream = stream(&contents, references);
            let read = read(&stream).unwrap();
            prop_assert!(read.iter().all(|exported| exported.path == PATH.as_bytes()));
            let nodes: Vec<Node> = read.into_iter().map(|exported| exported.content).collect();
            let written: Vec<Node> =
                contents.iter().map(|content| Node::File { content, executable: false }).collect();
            prop_assert_eq!(nodes, written);
        }

        #[test]
        fn export_cut_short_is_refused(contents in vec(vec(any::<u8>(), 0..20), 0..4), place in any::<Index>()) {
            let stream = stream(&contents, 1);
            prop_assert!(read(&stream[..place.index(stream.len())]).is_err());
        }
    }
}
