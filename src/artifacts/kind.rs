//! What a file is, by its content.

/// The kinds of files that are returned in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of this MIME type.
    Image(&'static str),
    /// UTF-8 without NULs.
    Text,
    /// Of this MIME type.
    Other(&'static str),
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
const JPEG: &[u8] = b"\xff\xd8\xff";
const JPEG_END: &[u8] = b"\xff\xd9";
const GIF_END: &[u8] = b";";

const UNKNOWN: &str = "application/octet-stream";

/// Beginnings of files that might pass for text, or that clients do something with.
const OTHERS: [(&[u8], &str); 3] =
    [(b"%PDF-", "application/pdf"), (b"PK\x03\x04", "application/zip"), (b"\x1f\x8b", "application/gzip")];

impl Kind {
    /// An image that is cut short is none: clients hand images on to models, which refuse the whole conversation for
    /// one that is broken.
    pub fn of(content: &[u8]) -> Self {
        match Self::of_beginning(content) {
            Self::Image(mime) if !is_whole(mime, content) => Self::Other(UNKNOWN),
            Self::Text if std::str::from_utf8(content).is_err() || content.contains(&0) => Self::Other(UNKNOWN),
            kind => kind,
        }
    }

    /// What the file can be at most, by its first few kilobytes.
    pub(crate) fn of_beginning(beginning: &[u8]) -> Self {
        if beginning.starts_with(PNG) {
            return Self::Image("image/png");
        }
        if beginning.starts_with(JPEG) {
            return Self::Image("image/jpeg");
        }
        if beginning.starts_with(b"GIF87a") || beginning.starts_with(b"GIF89a") {
            return Self::Image("image/gif");
        }
        if let Some((_, mime)) = OTHERS.iter().find(|(start, _)| beginning.starts_with(start)) {
            return Self::Other(mime);
        }
        match text(beginning) {
            Some(text) if is_svg(text) => Self::Image("image/svg+xml"),
            Some(_) => Self::Text,
            None => Self::Other(UNKNOWN),
        }
    }

    pub fn mime(self) -> &'static str {
        match self {
            Self::Image(mime) | Self::Other(mime) => mime,
            Self::Text => "text/plain",
        }
    }
}

fn is_whole(mime: &str, content: &[u8]) -> bool {
    // Some programs pad to whole blocks.
    let unpadded = |end: &[u8]| {
        let padding = content.iter().rev().take_while(|byte| **byte == 0).count();
        content[..content.len() - padding].ends_with(end)
    };
    match mime {
        "image/png" => content.ends_with(PNG_END),
        "image/jpeg" => unpadded(JPEG_END),
        "image/gif" => unpadded(GIF_END),
        _ => std::str::from_utf8(content).is_ok_and(|text| text.trim_end().ends_with('>') && !text.contains('\0')),
    }
}

/// The beginning of a text, which may be cut in the middle of a character.
fn text(beginning: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

/// Whether the first element of an XML document is `svg`.
fn is_svg(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<?") => "?>",
            // Up to the end of the declaration; one with parts of its own in brackets is not looked through.
            _ if rest.starts_with("<!DOCTYPE") => ">",
            _ => break,
        };
        let Some((_, after)) = rest.split_once(end) else { return false };
        rest = after.trim_start();
    }
    let Some(element) = rest.strip_prefix('<') else { return false };
    let name = element.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    name == "svg" || name == "svg:svg"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(start: &[u8], end: &[u8]) -> Vec<u8> {
        [start, &[0xff, 0, 7], end].concat()
    }

    #[test]
    fn images_are_told_by_their_signatures() {
        assert_eq!(Kind::of(&whole(PNG, PNG_END)), Kind::Image("image/png"));
        assert_eq!(Kind::of(&whole(b"\xff\xd8\xff\xe0", JPEG_END)), Kind::Image("image/jpeg"));
        assert_eq!(Kind::of(&whole(b"GIF87a", GIF_END)), Kind::Image("image/gif"));
        assert_eq!(Kind::of(&whole(b"GIF89a", b";\0\0\0")), Kind::Image("image/gif"));
        for svg in [
            "<svg/>",
            "\u{feff}<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>\n",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE svg PUBLIC \"a\"\n \"b\">\n<!-- <html> -->\n<svg\nwidth=\"1\"></svg>",
            "<svg:svg></svg:svg>",
        ] {
            assert_eq!(Kind::of(svg.as_bytes()), Kind::Image("image/svg+xml"), "{svg}");
        }
    }

    #[test]
    fn an_image_that_is_cut_short_is_none() {
        for image in [whole(PNG, PNG_END), whole(JPEG, JPEG_END), whole(b"GIF89a", GIF_END)] {
            assert_eq!(Kind::of(&image[..image.len() - 1]), Kind::Other(UNKNOWN));
        }
        assert_eq!(Kind::of(b"<svg><path d=\"M 0"), Kind::Other(UNKNOWN));
        assert_eq!(Kind::of(b"GIF89a"), Kind::Other(UNKNOWN));
    }

    #[test]
    fn what_only_mentions_svg_is_text() {
        for text in ["", "svg", "<html><svg/></html>", "<svgz/>", "<!-- <svg/>", "see <svg/>", "<?xml ?>"] {
            assert_eq!(Kind::of(text.as_bytes()), Kind::Text, "{text}");
        }
    }

    #[test]
    fn text_is_utf8_without_nuls_to_its_end() {
        assert_eq!(Kind::of("α\x1b[1m\t\r\n".as_bytes()), Kind::Text);
        for content in [&b"a\0b"[..], b"a\xff", b"a\xce"] {
            assert_eq!(Kind::of(content), Kind::Other(UNKNOWN), "{content:?}");
        }
    }

    #[test]
    fn a_beginning_that_ends_within_a_character_is_one_of_a_text() {
        for length in 1..="αβ𝄞".len() {
            assert_eq!(Kind::of_beginning(&"αβ𝄞".as_bytes()[..length]), Kind::Text, "{length}");
        }
    }

    #[test]
    fn a_pdf_without_binary_parts_is_not_shown_as_text() {
        assert_eq!(Kind::of(b"%PDF-1.4\n1 0 obj\n"), Kind::Other("application/pdf"));
    }
}
