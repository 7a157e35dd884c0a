//! Tells the kind of a file by its content.

use super::image::{self, Image};

/// The kinds of files that are returned in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image of this MIME type, which models can be shown. SVG counts as text, which models can read.
    Image(&'static str),
    /// UTF-8 text without NULs.
    Text,
    /// Anything else, of this MIME type.
    Other(&'static str),
}

const UNKNOWN: &str = "application/octet-stream";

/// The first bytes of formats that could pass for text, or that clients support.
const OTHERS: [(&[u8], &str); 3] =
    [(b"%PDF-", "application/pdf"), (b"PK\x03\x04", "application/zip"), (b"\x1f\x8b", "application/gzip")];

impl Kind {
    /// Returns the kind of a whole file. `image` is the result of reading it as an image.
    pub(super) fn of(content: &[u8], image: Option<Image>) -> Self {
        if let Some(image) = image {
            return Self::Image(image.mime);
        }
        let is_text = std::str::from_utf8(content).is_ok_and(|text| !text.contains('\0'));
        Self::known(content).unwrap_or(if is_text { Self::Text } else { Self::Other(UNKNOWN) })
    }

    /// Returns the kind that a file may have, judged by its first few kilobytes.
    pub(crate) fn of_beginning(beginning: &[u8]) -> Self {
        match image::may_be(beginning) {
            Some(mime) => Self::Image(mime),
            None if is_beginning_of_text(beginning) => Self::known(beginning).unwrap_or(Self::Text),
            None => Self::known(beginning).unwrap_or(Self::Other(UNKNOWN)),
        }
    }

    fn known(beginning: &[u8]) -> Option<Self> {
        OTHERS.iter().find(|(start, _)| beginning.starts_with(start)).map(|(_, mime)| Self::Other(mime))
    }

    pub fn mime(self) -> &'static str {
        match self {
            Self::Image(mime) | Self::Other(mime) => mime,
            Self::Text => "text/plain",
        }
    }
}

/// Returns whether a text may begin with these bytes, which may end in the middle of a character.
fn is_beginning_of_text(beginning: &[u8]) -> bool {
    let is_cut = |error: std::str::Utf8Error| error.error_len().is_none();
    !beginning.contains(&0) && std::str::from_utf8(beginning).map_or_else(is_cut, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content: &[u8]) -> Kind {
        Kind::of(content, image::read(content))
    }

    #[test]
    fn broken_image_is_returned_as_text_or_resource() {
        assert_eq!(kind(b"GIF89a is the name of a format;"), Kind::Text);
        for broken in [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff\xe0garbage\xff\xd9", b"GIF89a\0\0\0\0\0\0\0;"] {
            assert!(matches!(Kind::of_beginning(broken), Kind::Image(_)));
            assert_eq!(kind(broken), Kind::Other(UNKNOWN), "{broken:?}");
        }
    }

    #[test]
    fn svg_is_text() {
        for svg in ["<svg/>", "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>\n"] {
            assert_eq!((kind(svg.as_bytes()), Kind::of_beginning(svg.as_bytes())), (Kind::Text, Kind::Text));
        }
    }

    #[test]
    fn text_is_utf8_without_nuls_to_its_end() {
        assert_eq!(kind("α\x1b[1m\t\r\n".as_bytes()), Kind::Text);
        for content in [&b"a\0b"[..], b"a\xff", b"a\xce"] {
            assert_eq!(kind(content), Kind::Other(UNKNOWN), "{content:?}");
        }
    }

    #[test]
    fn beginning_that_ends_within_a_character_may_be_text() {
        for length in 1..="αβ𝄞".len() {
            assert_eq!(Kind::of_beginning(&"αβ𝄞".as_bytes()[..length]), Kind::Text, "{length}");
        }
    }

    #[test]
    fn pdf_without_binary_parts_is_not_shown_as_text() {
        assert_eq!(kind(b"%PDF-1.4\n1 0 obj\n"), Kind::Other("application/pdf"));
    }
}
