//! Nix archives: files and directories as one stream, without owners, times or other differences between machines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use thiserror::Error;

/// A file, a symbolic link or a directory. Names are sorted by their bytes, as in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    File { content: &'a [u8], executable: bool },
    Link { target: &'a [u8] },
    Directory(BTreeMap<&'a [u8], Node<'a>>),
}

impl Node<'_> {
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        write_string(to, b"nix-archive-1")?;
        self.write_node(to)
    }

    fn write_node(&self, to: &mut impl Write) -> io::Result<()> {
        write_string(to, b"(")?;
        write_string(to, b"type")?;
        match self {
            Self::File { content, executable } => {
                write_string(to, b"regular")?;
                if *executable {
                    write_string(to, b"executable")?;
                    write_string(to, b"")?;
                }
                write_string(to, b"contents")?;
                write_string(to, content)?;
            }
            Self::Link { target } => {
                for part in [b"symlink", &b"target"[..], target] {
                    write_string(to, part)?;
                }
            }
            Self::Directory(entries) => {
                write_string(to, b"directory")?;
                for (name, node) in entries {
                    for part in [b"entry", &b"("[..], b"name", name, b"node"] {
                        write_string(to, part)?;
                    }
                    node.write_node(to)?;
                    write_string(to, b")")?;
                }
            }
        }
        write_string(to, b")")
    }
}

/// The place where bytes stop being an archive.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected} at byte {offset}")]
pub struct MalformedNar {
    offset: usize,
    expected: &'static str,
}

/// Reads archives, and numbers and strings of the same form, without copying.
pub struct NarParser<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// The greatest depth of directories within each other, which bounds the recursion of the parser.
const MAX_DEPTH: usize = 1000;

impl<'a> NarParser<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub fn is_at_end(&self) -> bool {
        self.offset == self.bytes.len()
    }

    pub fn refuse<T>(&self, expected: &'static str) -> Result<T, MalformedNar> {
        Err(MalformedNar { offset: self.offset, expected })
    }

    pub fn number(&mut self) -> Result<u64, MalformedNar> {
        match self.bytes[self.offset..].first_chunk() {
            Some(number) => {
                self.offset += number.len();
                Ok(u64::from_le_bytes(*number))
            }
            None => self.refuse("a number"),
        }
    }

    pub fn string(&mut self) -> Result<&'a [u8], MalformedNar> {
        let begin = self.offset;
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let rest = &self.bytes[self.offset..];
        let whole =
            rest.split_at_checked(length).and_then(|(string, rest)| Some((string, rest.get(..padding(length))?)));
        match whole {
            Some((string, filling)) if filling.iter().all(|byte| *byte == 0) => {
                self.offset += length + filling.len();
                Ok(string)
            }
            _ => {
                self.offset = begin;
                self.refuse("a string")
            }
        }
    }

    fn take(&mut self, expected: &'static str) -> Result<(), MalformedNar> {
        let begin = self.offset;
        if self.string()? == expected.as_bytes() {
            return Ok(());
        }
        self.offset = begin;
        self.refuse(expected)
    }

    pub fn archive(&mut self) -> Result<Node<'a>, MalformedNar> {
        self.take("nix-archive-1")?;
        self.node(MAX_DEPTH)
    }

    fn node(&mut self, depth: usize) -> Result<Node<'a>, MalformedNar> {
        if depth == 0 {
            return self.refuse("the end of directories within each other");
        }
        self.take("(")?;
        self.take("type")?;
        let node = match self.string()? {
            b"regular" => self.file()?,
            b"symlink" => self.link()?,
            b"directory" => return self.directory(depth),
            _ => return self.refuse("a file, a link or a directory"),
        };
        self.take(")")?;
        Ok(node)
    }

    fn file(&mut self) -> Result<Node<'a>, MalformedNar> {
        let executable = match self.string()? {
            b"executable" => {
                self.take("")?;
                self.take("contents")?;
                true
            }
            b"contents" => false,
            _ => return self.refuse("contents"),
        };
        Ok(Node::File { content: self.string()?, executable })
    }

    fn link(&mut self) -> Result<Node<'a>, MalformedNar> {
        self.take("target")?;
        Ok(Node::Link { target: self.string()? })
    }

    fn directory(&mut self, depth: usize) -> Result<Node<'a>, MalformedNar> {
        let mut entries = BTreeMap::new();
        loop {
            match self.string()? {
                b")" => return Ok(Node::Directory(entries)),
                b"entry" => {}
                _ => return self.refuse("an entry"),
            }
            self.take("(")?;
            self.take("name")?;
            let begin = self.offset;
            let name = self.string()?;
            if !is_file_name(name) {
                self.offset = begin;
                return self.refuse("a file name");
            }
            if entries.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return self.refuse("names in order");
            }
            self.take("node")?;
            let node = self.node(depth - 1)?;
            self.take(")")?;
            entries.insert(name, node);
        }
    }
}

/// Returns whether a directory can have an entry of this name.
fn is_file_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | b'\0'))
}

/// Writes a length, the bytes, and zeros up to a multiple of eight. The daemon's protocol has strings of the same form.
fn write_string(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.write_all(&[0; 7][..padding(bytes.len())])
}

/// Returns the number of zeros after a string of `length` bytes.
pub(crate) fn padding(length: usize) -> usize {
    (8 - length % 8) % 8
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn sample() -> Vec<u8> {
        let file = |content, executable| Node::File { content, executable };
        let inner = Node::Directory(BTreeMap::from([(&b"b"[..], file(b"12345678", true))]));
        let empty = Node::Directory(BTreeMap::new());
        let link = Node::Link { target: b"../a" };
        let root = Node::Directory(BTreeMap::from([
            (&b"a"[..], file(b"", false)),
            (b"d", inner),
            (b"e", empty),
            (b"l", link),
        ]));
        let mut archive = Vec::new();
        root.write(&mut archive).unwrap();
        archive
    }

    #[test]
    fn archive_is_read_as_it_was_written() {
        let archive = sample();
        let mut parser = NarParser::new(&archive);
        let mut again = Vec::new();
        parser.archive().unwrap().write(&mut again).unwrap();
        assert!(parser.is_at_end());
        assert_eq!(again, archive);
    }

    #[test]
    fn directory_too_deep_for_the_stack_is_refused() {
        let mut archive = Vec::new();
        write_string(&mut archive, b"nix-archive-1").unwrap();
        for _ in 0..100_000 {
            for part in ["(", "type", "directory", "entry", "(", "name", "d", "node"] {
                write_string(&mut archive, part.as_bytes()).unwrap();
            }
        }
        let error = NarParser::new(&archive).archive().unwrap_err();
        assert!(error.to_string().contains("directories within each other"), "{error}");
    }

    #[test]
    fn entry_that_no_directory_can_have_is_refused() {
        for name in ["", ".", "..", "/", "a/b", "../a", "/etc/passwd", "a\0"] {
            let entry = Node::File { content: b"", executable: false };
            let mut archive = Vec::new();
            Node::Directory(BTreeMap::from([(name.as_bytes(), entry)])).write(&mut archive).unwrap();
            let error = NarParser::new(&archive).archive().unwrap_err();
            assert!(error.to_string().contains("expected a file name at byte"), "{name:?}: {error}");
        }
    }

    #[test]
    fn string_is_padded_to_a_multiple_of_eight() {
        for (length, padded) in [(0, 8), (1, 16), (7, 16), (8, 16), (9, 24)] {
            let mut written = Vec::new();
            write_string(&mut written, &vec![1; length]).unwrap();
            assert_eq!(written.len(), padded);
            assert!(written[8 + length..].iter().all(|byte| *byte == 0));
        }
    }

    /// A [`Node`] that owns its names and contents.
    #[derive(Debug, Clone)]
    enum OwnedNode {
        File(Vec<u8>, bool),
        Link(Vec<u8>),
        Directory(BTreeMap<Vec<u8>, OwnedNode>),
    }

    impl OwnedNode {
        fn node(&self) -> Node<'_> {
            match self {
                Self::File(content, executable) => Node::File { content, executable: *executable },
                Self::Link(target) => Node::Link { target },
                Self::Directory(entries) => {
                    Node::Directory(entries.iter().map(|(name, owned)| (&name[..], owned.node())).collect())
                }
            }
        }

        fn archive(&self) -> Vec<u8> {
            let mut archive = Vec::new();
            self.node().write(&mut archive).unwrap();
            archive
        }
    }

    fn any_node() -> impl Strategy<Value = OwnedNode> {
        let bytes = || vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            (bytes(), any::<bool>()).prop_map(|(content, executable)| OwnedNode::File(content, executable)),
            bytes().prop_map(OwnedNode::Link)
        ];
        let name = move || bytes().prop_filter("names no file", |name| is_file_name(name));
        leaf.prop_recursive(4, 32, 5, move |inner| btree_map(name(), inner, 0..5).prop_map(OwnedNode::Directory))
    }

    proptest! {
        #[test]
        fn any_archive_is_read_as_it_was_written(owned in any_node()) {
            let archive = owned.archive();
            let mut parser = NarParser::new(&archive);
            prop_assert_eq!(parser.archive(), Ok(owned.node()));
            prop_assert!(parser.is_at_end());
        }

        #[test]
        fn archive_cut_short_is_refused(owned in any_node(), place in any::<Index>()) {
            let archive = owned.archive();
            prop_assert!(NarParser::new(&archive[..place.index(archive.len())]).archive().is_err());
        }

        #[test]
        fn archive_with_one_byte_changed_is_refused_or_another(
            owned in any_node(),
            place in any::<Index>(),
            change in 1..=u8::MAX,
        ) {
            let mut archive = owned.archive();
            let place = place.index(archive.len());
            archive[place] ^= change;
            let mut parser = NarParser::new(&archive);
            if let Ok(node) = parser.archive() && parser.is_at_end() {
                let mut again = Vec::new();
                node.write(&mut again).unwrap();
                prop_assert_eq!(again, archive);
            }
        }
    }
}
