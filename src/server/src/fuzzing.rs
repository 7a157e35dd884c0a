//! Opens the parsers of untrusted bytes to the fuzz targets in `checks/fuzz`. Compiled only with the feature `fuzzing`.

use std::net::Ipv4Addr;
use std::path::Path;

use nix_store::derivation::Derivation;
use nix_store::export::{self, Export};
use nix_store::hash::{fill_outputs, source_path};
use nix_store::nar::Node;

pub use crate::call::artifacts::shown as shown_name;
use crate::call::artifacts::{image, name};
use crate::call::stored_inputs;
pub use crate::mcp::framing::{Line, Lines};
pub use crate::mcp::json_id::{IdFinder, MAX_IDS};
pub use crate::mcp::surrogates::replace_halves;
use crate::network::dns::{DnsAnswer, InvalidQuestion, Question, refusal};
use crate::nix::exported;

/// Returns the URI of a path in a sandbox.
pub fn uri(path: &Path) -> String {
    name::uri(path)
}

/// Reads the headers of an image.
///
/// # Panics
///
/// An image is accepted that does not begin like one, or that has no size.
pub fn read_image(bytes: &[u8]) {
    if let Some(image) = image::read(bytes) {
        assert!(image.width > 0 && image.height > 0);
        assert_eq!(image::may_be(bytes), Some(image.mime));
    }
}

/// Reads a DNS message and answers it.
///
/// # Panics
///
/// The answer is much longer than the question, has another number, or is a question itself.
pub fn answer_question(message: &[u8]) {
    match Question::parse(message) {
        Ok(question) => {
            let answer = question.answer(DnsAnswer::Address(Ipv4Addr::LOCALHOST));
            assert!(answer.len() <= message.len() + 16);
            assert_eq!(answer[..2], message[..2]);
            assert_eq!(Question::parse(&answer), Err(InvalidQuestion::Ignore));
            assert!(question.labels.iter().all(|label| (1..=63).contains(&label.len())));
        }
        Err(InvalidQuestion::Refuse(code)) => assert_eq!(refusal(message, code)[..2], message[..2]),
        Err(InvalidQuestion::Ignore) => {}
    }
}

/// Reads a receipt: as it is, and with the hashes that its paths must have, which no mutation hits.
///
/// # Panics
///
/// A receipt is accepted whose derivation cannot be computed, or that is another one after it was written and read again.
pub fn read_receipt(bytes: &[u8]) {
    check_receipt(bytes);
    if let Some(bytes) = with_right_paths(bytes) {
        check_receipt(&bytes);
    }
}

fn check_receipt(bytes: &[u8]) {
    let Ok((receipt, inputs)) = exported::read(bytes) else { return };
    let run = receipt.run().expect("a receipt names its derivation");
    let [one, other] = ["1", "2"].map(|nonce| receipt.apart(nonce).and_then(|receipt| receipt.run()));
    assert_ne!(one.expect("a receipt may have a nonce").path, other.expect("a receipt may have a nonce").path);
    // Without what it has in the store it is written as if it had nothing.
    if !inputs.as_stored().is_empty() || run.stored.is_none() {
        assert_eq!(
            exported::read(&exported::write(&run, inputs.as_stored())).expect("what was written can be read"),
            (receipt, inputs)
        );
    }
}

fn with_right_paths(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut paths = if export::is_export(bytes) { export::read(bytes).ok()? } else { Vec::new() };
    let text = match paths.pop().map(|exported| exported.content) {
        Some(Node::File { content, .. }) => content,
        Some(_) => return None,
        None => bytes,
    };
    let mut derivation = Derivation::parse(str::from_utf8(text).ok()?).ok()?;
    if !derivation.input_derivations.is_empty() {
        return None;
    }
    let files = paths
        .pop()
        .and_then(|exported| Some((source_path(stored_inputs::NAME, &exported.content).ok()?, exported.content)));
    if let Some((path, _)) = &files {
        derivation.environment.insert("files".into(), path.to_string());
    }
    let name = derivation.environment.get("name").cloned().unwrap_or_default();
    fill_outputs(&name, &mut derivation).ok()?;
    let text = derivation.text();
    let Some((path, content)) = files else { return Some(text.into_bytes()) };
    let mut stream = Export::default();
    stream.add(&path, &content, []);
    // A reader does not look at the path of the derivation.
    stream.add(&path, &Node::File { content: text.as_bytes(), executable: false }, []);
    Some(stream.finish())
}
