//! How bytes are written in a string.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Takes base64 with and without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The way in which a string holds bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As they are.
    #[default]
    Utf8,
    Base64,
}

impl Encoding {
    /// Returns the encoding of this name, in any case.
    pub fn by_name(name: &str) -> Option<Self> {
        match &*name.to_lowercase() {
            "utf-8" | "utf8" => Some(Self::Utf8),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }

    /// Returns the bytes that a string holds.
    ///
    /// # Errors
    ///
    /// The string is not base64, with the reason.
    pub fn decode(self, text: String) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Utf8 => Ok(text.into_bytes()),
            // Encoders break lines.
            Self::Base64 if text.contains(|letter: char| letter.is_ascii_whitespace()) => {
                LENIENT.decode(text.replace(|letter: char| letter.is_ascii_whitespace(), ""))
            }
            Self::Base64 => LENIENT.decode(text),
        }
    }

    /// Returns bytes as a string, and how it holds them.
    pub fn encode(bytes: Vec<u8>) -> (Self, String) {
        match String::from_utf8(bytes) {
            Ok(text) => (Self::Utf8, text),
            Err(error) => (Self::Base64, STANDARD.encode(error.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_bytes_decode_to_the_same() {
        for bytes in [&b""[..], "é\0".as_bytes(), b"\xff", b"\x00\xfe\x01"] {
            let (encoding, text) = Encoding::encode(bytes.to_vec());
            assert_eq!(encoding.decode(text).unwrap(), bytes);
        }
    }

    #[test]
    fn base64_may_have_line_breaks_and_lack_padding() {
        for text in ["AAEC/w==", "AAEC/w", "AAEC\r\n/w==\n", " AAEC /w== "] {
            assert_eq!(Encoding::Base64.decode(text.to_owned()).unwrap(), [0, 1, 2, 255], "{text:?}");
        }
        for text in ["AAEC/", "AA-_", "{}"] {
            assert!(Encoding::Base64.decode(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
