//! The files and the standard input of a call, as the derivation holds them or as they are added to the store.

use std::collections::BTreeMap;
use std::path::Component;
use std::sync::LazyLock;

use nix_store::hash::{placeholder, source_path};
use nix_store::nar::Node;
use nix_store::store_path::{StorePath, StorePathError};
use sandbox_plan::variables::{CallInputs, STORED_FILES, STORED_STDIN};

use crate::call::file::File;

/// The bytes that a derivation holds itself. Nix reads the text of a `.drv` several times.
const MAX_INLINE_BYTES: usize = 128 << 10;
/// The number of files that a derivation holds itself. Each is a variable of the builder, and a file that Nix writes.
const MAX_INLINE_FILES: usize = 64;

/// The name in the store.
pub(crate) const NAME: &str = "sandbox-mcp-files";

static OUT_PLACEHOLDER: LazyLock<String> = LazyLock::new(|| placeholder("out"));

/// What a call brings that may be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredInputs<'a> {
    pub files: &'a [File],
    pub stdin: &'a [u8],
}

impl<'a> StoredInputs<'a> {
    /// Returns whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.stdin.is_empty()
    }

    /// Returns how many bytes there are.
    pub fn size(&self) -> usize {
        self.files.iter().map(|file| file.content.len()).sum::<usize>() + self.stdin.len()
    }

    /// Returns them as they are added to the store: the files, or with a standard input both.
    pub fn node(&self) -> Node<'a> {
        let files = files_node(self.files);
        if self.stdin.is_empty() {
            return files;
        }
        let stdin = Node::File { content: self.stdin, executable: false };
        Node::Directory([(STORED_FILES.as_bytes(), files), (STORED_STDIN.as_bytes(), stdin)].into())
    }

    /// Computes the store path of [`Self::node`].
    pub fn path(&self) -> Result<StorePath, StorePathError> {
        source_path(NAME, &self.node())
    }

    /// Returns whether the derivation holds them itself. Contents pass through Nix, which splits names at white space, takes
    /// only text, ends contents at a NUL, and replaces the placeholder of an output.
    pub fn fits_inline(&self) -> bool {
        let named_well =
            |file: &File| file.name.as_path().to_str().is_some_and(|name| !name.contains(['=', ' ', '\t', '\n', '\r']));
        let unchanged = |content: &[u8]| {
            str::from_utf8(content).is_ok_and(|text| !text.contains('\0') && !text.contains(&*OUT_PLACEHOLDER))
        };
        self.files.len() <= MAX_INLINE_FILES
            && self.size() <= MAX_INLINE_BYTES
            && self.files.iter().all(|file| named_well(file) && unchanged(&file.content))
            && unchanged(self.stdin)
    }

    /// Returns them as the derivation holds them, if they fit.
    pub(crate) fn inline(&self) -> CallInputs {
        let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
        let name = |file: &File| file.name.as_path().display().to_string();
        CallInputs::Inline {
            files: self.files.iter().map(|file| (name(file), text(&file.content))).collect(),
            executables: self.files.iter().filter(|file| file.executable).map(name).collect(),
            stdin: (!self.stdin.is_empty()).then(|| text(self.stdin)),
        }
    }
}

fn files_node(files: &[File]) -> Node<'_> {
    let mut root = BTreeMap::new();
    for File { name, content, executable } in files {
        let path = name.as_path();
        let directories = path.parent().into_iter().flat_map(|parent| parent.components());
        let mut directory = &mut root;
        for component in directories {
            let entry = directory.entry(bytes(component)).or_insert_with(|| Node::Directory(BTreeMap::new()));
            let Node::Directory(entries) = entry else { unreachable!("File::join refuses files below files") };
            directory = entries;
        }
        let node = Node::File { content, executable: *executable };
        directory.extend(path.components().next_back().map(|name| (bytes(name), node)));
    }
    Node::Directory(root)
}

fn bytes(component: Component<'_>) -> &[u8] {
    component.as_os_str().as_encoded_bytes()
}
