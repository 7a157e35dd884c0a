//! Opens the parsers of untrusted bytes to the fuzz targets in `checks/fuzz`. Compiled only with the feature `fuzzing`.

use std::net::Ipv4Addr;
use std::path::Path;

pub use crate::call::artifacts::shown as shown_name;
use crate::call::artifacts::{image, name};
pub use crate::mcp::framing::{Line, Lines};
pub use crate::mcp::json_id::IdFinder;
use crate::network::dns::{Answer, NoQuestion, Question, refusal};
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
            let answer = question.answer(Answer::Address(Ipv4Addr::LOCALHOST));
            assert!(answer.len() <= message.len() + 16);
            assert_eq!(answer[..2], message[..2]);
            assert_eq!(Question::parse(&answer), Err(NoQuestion::Ignore));
            assert!(question.labels.iter().all(|label| (1..=63).contains(&label.len())));
        }
        Err(NoQuestion::Refuse(code)) => assert_eq!(refusal(message, code)[..2], message[..2]),
        Err(NoQuestion::Ignore) => {}
    }
}

/// Reads a receipt.
///
/// # Panics
///
/// A receipt is accepted whose derivation cannot be computed.
pub fn read_receipt(bytes: &[u8]) {
    if let Ok((receipt, _)) = exported::read(bytes) {
        let run = receipt.run().expect("a receipt names its derivation");
        assert_eq!(receipt.apart("nonce").and_then(|other| other.run()).map(|other| other.path == run.path), Ok(false));
    }
}
