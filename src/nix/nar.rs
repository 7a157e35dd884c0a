//! Nix archives: files and directories as one stream, without owners, times or other differences between machines.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// A file or a directory. Names are sorted by their bytes, as in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    File { content: &'a [u8], executable: bool },
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
