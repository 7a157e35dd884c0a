use std::collections::BTreeMap;

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;
use nix_store::archive::Archive;
use nix_store::derivation::{Derivation, DerivationOutput};
use nix_store::hash::{derivation_path, flat_path, source_path, text_path};

/// What an archive holds, by the names of the store.
#[derive(Default)]
struct Sample(BTreeMap<String, Vec<u8>>);

impl Sample {
    fn file(&mut self, path: StorePath, content: &[u8]) -> StorePath {
        self.0.insert(path.as_str()[STORE.len() + 1..].to_owned(), content.to_vec());
        path
    }

    fn derivation(&mut self, name: &str, derivations: &[&StorePath], sources: &[&StorePath]) -> StorePath {
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".into(), DerivationOutput::input_addressed(format!("{STORE}/of-{name}")))]),
            input_derivations: derivations.iter().map(|path| ((*path).clone(), ["out".into()].into())).collect(),
            input_sources: sources.iter().map(|path| (*path).clone()).collect(),
            system: "x86_64-linux".into(),
            builder: "/bin/sh".into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
        };
        let text = derivation.text();
        self.file(derivation_path(name, &derivation, &text).unwrap(), text.as_bytes())
    }

    fn compressed(&self) -> Vec<u8> {
        let file = |content| Node::File { content, executable: false };
        let root = Node::Directory(self.0.iter().map(|(name, content)| (name.as_bytes(), file(content))).collect());
        let mut archive = Vec::new();
        root.write(&mut archive).unwrap();
        compress_to_vec(&*archive, CompressionLevel::Fastest)
    }

    fn closure(&self, root: &StorePath) -> Result<Vec<Addressed>, ArchiveError> {
        closure(&Archive::unpack(&self.compressed())?.paths()?, root)
    }
}

fn paths(closure: &[Addressed]) -> Vec<&StorePath> {
    closure.iter().map(|added| &added.path).collect()
}

fn plain(name: &str, content: &[u8]) -> StorePath {
    source_path(name, &Node::File { content, executable: false }).unwrap()
}

#[test]
fn closure_of_a_derivation_has_each_path_behind_its_references() {
    let mut sample = Sample::default();
    let source = sample.file(plain("patch", b"a patch"), b"a patch");
    let low = sample.derivation("low", &[], &[&source]);
    let middle = sample.derivation("middle", &[&low], &[]);
    let top = sample.derivation("top", &[&low, &middle], &[&source]);
    let other = sample.derivation("other", &[&low], &[]);
    let closure = sample.closure(&top).unwrap();
    assert_eq!(paths(&closure), [&source, &low, &middle, &top]);
    assert_eq!(closure[3].references, BTreeSet::from([source.clone(), low.clone(), middle]));
    assert_eq!(paths(&sample.closure(&other).unwrap()), [&source, &low, &other]);
}

#[test]
fn closure_has_the_addresses_of_sources_and_texts() {
    let mut sample = Sample::default();
    let content = b"see /nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-elsewhere";
    let source = sample.file(plain("source", content), content);
    let flat = sample.file(flat_path("flat", b"flat").unwrap(), b"flat");
    // A text that evaluation has written refers to what it names.
    let text = format!("#! {source}/bin/sh\n\"{flat}\" /nix/store/none\n");
    let references = BTreeSet::from([source.clone(), flat.clone()]);
    let named = sample.file(text_path("text", &text, &references).unwrap(), text.as_bytes());
    let top = sample.derivation("top", &[], &[&named]);
    let closure = sample.closure(&top).unwrap();
    let addresses: BTreeMap<_, _> = closure.iter().map(|added| (&added.path, &*added.address)).collect();
    for (path, method) in
        [(&source, "fixed:r:sha256:"), (&flat, "fixed:sha256:"), (&named, "text:sha256:"), (&top, "text:")]
    {
        assert!(addresses[path].starts_with(method), "{path}: {addresses:?}");
    }
    assert_eq!(closure.iter().find(|added| added.path == named).unwrap().references, references);
}

#[test]
fn closure_that_lacks_a_path_is_refused_with_its_name() {
    let mut sample = Sample::default();
    let low = sample.derivation("low", &[], &[]);
    let top = sample.derivation("top", &[&low], &[]);
    assert_eq!(sample.closure(&plain("x", b"")).unwrap_err(), ArchiveError::Missing { path: plain("x", b"") });
    sample.0.retain(|name, _| !name.ends_with("-low.drv"));
    assert_eq!(sample.closure(&top).unwrap_err(), ArchiveError::Missing { path: low });
}

#[test]
fn content_of_another_name_is_refused_with_its_path() {
    let mut sample = Sample::default();
    let top = sample.derivation("top", &[], &[]);
    for content in sample.0.values_mut() {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("/bin/sh", "/bin/ls").into_bytes();
    }
    assert_eq!(sample.closure(&top).unwrap_err(), ArchiveError::Content { path: top.clone() });
    sample.0.values_mut().for_each(|content| content.truncate(20));
    assert!(matches!(sample.closure(&top), Err(ArchiveError::Derivation { .. })));
    sample.0.values_mut().for_each(|content| *content = vec![0xff]);
    assert_eq!(sample.closure(&top).unwrap_err(), ArchiveError::Text { path: top.clone() });
}

#[test]
fn archive_that_is_truncated_or_changed_is_refused() {
    let mut sample = Sample::default();
    let top = sample.derivation("top", &[], &[]);
    let good = sample.compressed();
    for end in 0..good.len() {
        assert!(Archive::unpack(&good[..end]).is_err(), "cut at {end}");
    }
    // Some bits mean nothing; what unpacks is what was packed.
    let unchanged = sample.closure(&top).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        if let Ok(archive) = Archive::unpack(&bad) {
            assert_eq!(closure(&archive.paths().unwrap(), &top).unwrap(), unchanged, "changed at {place}");
        }
    }
    assert_eq!(Archive::unpack(&[&good[..], b"more"].concat()).err(), Some(ArchiveError::Checksum));
    let no_directory = compress_to_vec(&b"no archive"[..], CompressionLevel::Fastest);
    assert!(matches!(Archive::unpack(&no_directory).unwrap().paths(), Err(ArchiveError::Form(_))));
}
