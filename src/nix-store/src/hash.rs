//! Computes store paths as Nix does: the hash in a path is taken from what the path stands for, before it exists.

use std::collections::BTreeSet;
use std::io;

use sha2::{Digest, Sha256};

use crate::derivation::{Derivation, DerivationOutput};
use crate::nar::Node;
use crate::store_path::{BASE32, STORE, StorePath, StorePathError};

/// The bytes of the hash in a store path; a SHA-256 is folded to this length.
const HASH_BYTES: usize = 20;

/// Computes the path of a text that refers to `references`; a `.drv` file is such a text.
pub fn text_path(
    name: &str,
    text: impl AsRef<[u8]>,
    references: &BTreeSet<StorePath>,
) -> Result<StorePath, StorePathError> {
    let mut kind = "text".to_owned();
    for reference in references {
        kind.push(':');
        kind.push_str(reference.as_str());
    }
    store_path(&kind, Sha256::digest(text).into(), name)
}

/// Computes the path of plain files without references.
pub fn source_path(name: &str, files: &Node) -> Result<StorePath, StorePathError> {
    store_path("source", archive_hash(files), name)
}

/// Computes the path of a file without references that was added by its content only, without its mode.
pub fn flat_path(name: &str, content: &[u8]) -> Result<StorePath, StorePathError> {
    let fixed = format!("fixed:out:sha256:{}:", base16(&Sha256::digest(content)));
    store_path("output:out", Sha256::digest(fixed).into(), name)
}

/// Computes the SHA-256 of the archive of files.
pub(crate) fn archive_hash(files: &Node) -> [u8; 32] {
    let mut hasher = Hasher(Sha256::new());
    files.write(&mut hasher).expect("hashing does not fail");
    hasher.0.finalize().into()
}

/// Computes the path of a derivation's `.drv` file. `name` is the derivation's, without `.drv`.
pub fn derivation_path(name: &str, derivation: &Derivation, text: &str) -> Result<StorePath, StorePathError> {
    let references = derivation.input_derivations.keys().chain(&derivation.input_sources).cloned().collect();
    text_path(&format!("{name}.drv"), text, &references)
}

/// Sets the path of each output, and the variable of the same name.
///
/// Nix takes the hash of the derivation without its output paths, in which input derivations are replaced by hashes of
/// their own. Those would need the inputs' `.drv` files, so this works only for derivations whose inputs are all
/// sources.
///
/// # Panics
///
/// The derivation has input derivations.
pub fn fill_outputs(name: &str, derivation: &mut Derivation) -> Result<(), StorePathError> {
    assert!(derivation.input_derivations.is_empty(), "the hashes of input derivations are not known here");
    for output in derivation.outputs.keys() {
        derivation.environment.insert(output.clone(), String::new());
    }
    let hash: [u8; 32] = Sha256::digest(derivation.text_without_outputs()).into();
    for (output, value) in &mut derivation.outputs {
        let name = if output == "out" { name.to_owned() } else { format!("{name}-{output}") };
        let path = store_path(&format!("output:{output}"), hash, &name)?.to_string();
        derivation.environment.insert(output.clone(), path.clone());
        *value = DerivationOutput::input_addressed(path);
    }
    Ok(())
}

/// The variable value that Nix replaces by the path of `output` while it builds.
pub fn placeholder(output: &str) -> String {
    format!("/{}", base32(&Sha256::digest(format!("nix-output:{output}"))))
}

fn store_path(kind: &str, inner: [u8; 32], name: &str) -> Result<StorePath, StorePathError> {
    let digest = Sha256::digest(format!("{kind}:sha256:{}:{STORE}:{name}", base16(&inner)));
    let mut folded = [0; HASH_BYTES];
    for (index, byte) in digest.iter().enumerate() {
        folded[index % HASH_BYTES] ^= byte;
    }
    StorePath::parse(&format!("{STORE}/{}-{name}", base32(&folded)))
}

pub(super) fn base16(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// Nix's base 32: five bits a digit from the lowest up, written with the highest first.
pub(super) fn base32(bytes: &[u8]) -> String {
    let digits = (bytes.len() * 8).div_ceil(5);
    let digit = |index: usize| {
        let (byte, shift) = (index * 5 / 8, index * 5 % 8);
        let next = bytes.get(byte + 1).copied().unwrap_or(0);
        let bits = u16::from_le_bytes([bytes[byte], next]) >> shift;
        char::from(BASE32[usize::from(bits & 0x1f)])
    };
    (0..digits).rev().map(digit).collect()
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Nix itself prints: `nix-hash --type sha256 --base32`, `builtins.placeholder`, `builtins.toFile`.

    #[test]
    fn digits_are_those_of_nix() {
        assert_eq!(base32(&Sha256::digest("")), "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73");
        assert_eq!(base16(&Sha256::digest(""))[..8], *"e3b0c442");
        assert_eq!(base32(&[]), "");
        assert_eq!(base32(&[0xff]), "7z");
    }

    #[test]
    fn the_placeholder_of_out_is_that_of_nix() {
        assert_eq!(placeholder("out"), "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9");
    }

    #[test]
    fn a_name_that_nix_refuses_has_no_path() {
        assert!(text_path("a b", "", &BTreeSet::new()).unwrap_err().to_string().contains("does not allow"));
        assert!(text_path(&"x".repeat(212), "", &BTreeSet::new()).unwrap_err().to_string().contains("longer than 211"));
    }
}
