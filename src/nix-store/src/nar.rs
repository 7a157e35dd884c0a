//! Nix archives: files and directories as one stream, without owners, times or other differences between machines.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

/// A file, a symbolic link or a directory. Names are sorted by their bytes, as in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    File { content: &'a [u8], executable: bool },
    Link { target: &'a [u8] },
    Directory(BTreeMap<&'a [u8], Node<'a>>),
}

impl Node<'_> {
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        string(to, b"nix-archive-1")?;
        self.write_node(to)
    }

    fn write_node(&self, to: &mut impl Write) -> io::Result<()> {
        string(to, b"(")?;
        string(to, b"type")?;
        match self {
            Self::File { content, executable } => {
                string(to, b"regular")?;
                if *executable {
                    string(to, b"executable")?;
                    string(to, b"")?;
                }
                string(to, b"contents")?;
                string(to, content)?;
            }
            Self::Link { target } => {
                for part in [b"symlink", &b"target"[..], target] {
                    string(to, part)?;
                }
            }
            Self::Directory(entries) => {
                string(to, b"directory")?;
                for (name, node) in entries {
                    for part in [b"entry", &b"("[..], b"name", name, b"node"] {
                        string(to, part)?;
                    }
                    node.write_node(to)?;
                    string(to, b")")?;
                }
            }
        }
        string(to, b")")
    }
}

/// Where bytes stop being what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    offset: usize,
    expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for Malformed {}

/// Reads what this module writes, in place.
pub struct Parser<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// How deep directories may lie within each other.
const DEEPEST: usize = 1000;

impl<'a> Parser<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub fn is_at_end(&self) -> bool {
        self.offset == self.bytes.len()
    }

    pub fn refuse<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { offset: self.offset, expected })
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        match self.bytes[self.offset..].first_chunk() {
            Some(number) => {
                self.offset += number.len();
                Ok(u64::from_le_bytes(*number))
            }
            None => self.refuse("a number"),
        }
    }

    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
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

    fn take(&mut self, expected: &'static str) -> Result<(), Malformed> {
        let begin = self.offset;
        if self.string()? == expected.as_bytes() {
            return Ok(());
        }
        self.offset = begin;
        self.refuse(expected)
    }

    pub fn archive(&mut self) -> Result<Node<'a>, Malformed> {
        self.take("nix-archive-1")?;
        self.node(DEEPEST)
    }

    fn node(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
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

    fn file(&mut self) -> Result<Node<'a>, Malformed> {
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

    fn link(&mut self) -> Result<Node<'a>, Malformed> {
        self.take("target")?;
        Ok(Node::Link { target: self.string()? })
    }

    fn directory(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
        let mut entries = BTreeMap::new();
        loop {
            match self.string()? {
                b")" => return Ok(Node::Directory(entries)),
                b"entry" => {}
                _ => return self.refuse("an entry"),
            }
            self.take("(")?;
            self.take("name")?;
            let name = self.string()?;
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

/// A length, the bytes, and zeros up to a multiple of eight. The daemon's protocol has strings of the same form.
fn string(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.write_all(&[0; 7][..padding(bytes.len())])
}

pub(crate) fn padding(length: usize) -> usize {
    (8 - length % 8) % 8
}

#[cfg(test)]
mod tests {
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
    fn what_was_written_is_read_again() {
        let archive = sample();
        let mut parser = Parser::new(&archive);
        let mut again = Vec::new();
        parser.archive().unwrap().write(&mut again).unwrap();
        assert!(parser.is_at_end());
        assert_eq!(again, archive);
    }

    #[test]
    fn an_archive_that_is_cut_short_or_has_another_byte_is_refused_or_is_another() {
        let archive = sample();
        for end in 0..archive.len() {
            assert!(Parser::new(&archive[..end]).archive().is_err(), "cut at {end}");
        }
        for place in 0..archive.len() {
            let mut other = archive.clone();
            other[place] ^= 1;
            if let Ok(node) = Parser::new(&other).archive() {
                let mut again = Vec::new();
                node.write(&mut again).unwrap();
                assert_eq!(again, other, "changed at {place}");
            }
        }
    }

    #[test]
    fn directories_too_deep_for_a_stack_are_refused() {
        let mut archive = Vec::new();
        string(&mut archive, b"nix-archive-1").unwrap();
        for _ in 0..100_000 {
            for part in ["(", "type", "directory", "entry", "(", "name", "d", "node"] {
                string(&mut archive, part.as_bytes()).unwrap();
            }
        }
        let error = Parser::new(&archive).archive().unwrap_err();
        assert!(error.to_string().contains("directories within each other"), "{error}");
    }

    #[test]
    fn strings_are_padded_to_a_multiple_of_eight() {
        for (length, padded) in [(0, 8), (1, 16), (7, 16), (8, 16), (9, 24)] {
            let mut written = Vec::new();
            string(&mut written, &vec![1; length]).unwrap();
            assert_eq!(written.len(), padded);
            assert!(written[8 + length..].iter().all(|byte| *byte == 0));
        }
    }
}
