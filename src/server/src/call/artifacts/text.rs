//! Recognises text: whether a file is text, in which encoding, and what kind of text.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

/// Text that a model can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFormat {
    /// The MIME type, without the encoding.
    pub mime: &'static str,
    /// `None` if it is UTF-8.
    encoding: Option<&'static Encoding>,
}

/// The MIME types of texts, by the extension of a name in small letters. A text with one of these extensions may be in an
/// encoding that nothing but its letters tells. SVG stays a plain text: clients hand images to models.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("bib", PLAIN),
    ("c", PLAIN),
    ("cfg", PLAIN),
    ("conf", PLAIN),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("dat", PLAIN),
    ("dot", "text/vnd.graphviz"),
    ("geojson", "application/geo+json"),
    ("h", PLAIN),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("ini", PLAIN),
    ("ipynb", "application/json"),
    ("java", PLAIN),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", PLAIN),
    ("markdown", "text/markdown"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("ndjson", "application/x-ndjson"),
    ("properties", PLAIN),
    ("py", "text/x-python"),
    ("rst", PLAIN),
    ("rtf", "application/rtf"),
    ("sql", "application/sql"),
    ("srt", PLAIN),
    ("svg", PLAIN),
    ("tex", PLAIN),
    ("text", PLAIN),
    ("toml", "application/toml"),
    ("ts", PLAIN),
    ("tsv", "text/tab-separated-values"),
    ("txt", PLAIN),
    ("vcf", PLAIN),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];
const PLAIN: &str = "text/plain";

/// Marks at the beginning of a text in UTF-16.
const MARKS: [(&[u8], &Encoding); 2] = [(b"\xff\xfe", UTF_16LE), (b"\xfe\xff", UTF_16BE)];

impl TextFormat {
    pub const PLAIN: Self = Self { mime: PLAIN, encoding: None };

    /// Returns the format of a whole file; `None` if it is no text. `name` is its name.
    pub fn of(content: &[u8], name: &[u8]) -> Option<Self> {
        let mime = by_extension(name);
        let encoding = match std::str::from_utf8(content) {
            Ok(text) if !text.contains('\0') => None,
            _ => Some(utf_16(content).or_else(|| mime.and_then(|_| older(content)))?),
        };
        Some(Self { mime: mime.unwrap_or(PLAIN), encoding })
    }

    /// Returns the name of the encoding, unless it is UTF-8.
    pub fn encoding(self) -> Option<&'static str> {
        self.encoding.map(Encoding::name)
    }

    /// Returns the text.
    pub fn decode(self, content: &[u8]) -> Cow<'_, str> {
        match self.encoding {
            // Its format says that nothing of it is replaced.
            None => String::from_utf8_lossy(content),
            Some(encoding) => encoding.decode_with_bom_removal(content).0,
        }
    }
}

fn by_extension(name: &[u8]) -> Option<&'static str> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let extension = name[dot + 1..].to_ascii_lowercase();
    let index = BY_EXTENSION.binary_search_by_key(&extension.as_slice(), |(known, _)| known.as_bytes()).ok()?;
    Some(BY_EXTENSION[index].1)
}

/// Returns the encoding of a text in UTF-16. Without a mark half of its bytes must be zeros, as those of most scripts'
/// punctuation and digits are.
fn utf_16(content: &[u8]) -> Option<&'static Encoding> {
    if let Some((_, encoding)) = MARKS.iter().find(|(mark, _)| content.starts_with(mark)) {
        return is_text_in(encoding, content).then_some(*encoding);
    }
    let (pairs, rest) = content.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let encoding = match [zeros(0), zeros(1)] {
        [0, low] if low * 2 >= pairs.len() => UTF_16LE,
        [high, 0] if high * 2 >= pairs.len() => UTF_16BE,
        _ => return None,
    };
    (rest.is_empty() && pairs.len() > 1 && is_text_in(encoding, content)).then_some(encoding)
}

/// Returns the encoding of a text in one of those before Unicode, as its letters suggest.
fn older(content: &[u8]) -> Option<&'static Encoding> {
    if MARKS.iter().any(|(mark, _)| content.starts_with(mark)) {
        return None;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(content, true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    is_text_in(encoding, content).then_some(encoding)
}

fn is_text_in(encoding: &'static Encoding, content: &[u8]) -> bool {
    let (text, is_wrong) = encoding.decode_with_bom_removal(content);
    let is_control = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    !is_wrong && !text.contains(is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], name: &str) -> Option<(&'static str, Option<&'static str>, String)> {
        let format = TextFormat::of(content, name.as_bytes())?;
        Some((format.mime, format.encoding(), format.decode(content).into_owned()))
    }

    fn utf_16(text: &str, bytes: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn extensions_are_sorted_for_the_search() {
        assert!(BY_EXTENSION.is_sorted_by_key(|(extension, _)| extension));
    }

    #[test]
    fn text_in_utf8_has_the_type_of_its_name() {
        for (name, mime) in [
            ("a.md", "text/markdown"),
            ("a.b.JSON", "application/json"),
            ("t.csv", "text/csv"),
            ("i.html", "text/html"),
            ("md", "text/plain"),
            ("x.unknown", "text/plain"),
            ("drawing.svg", "text/plain"),
        ] {
            assert_eq!(read("é\n".as_bytes(), name), Some((mime, None, "é\n".to_owned())), "{name}");
        }
    }

    #[test]
    fn text_in_utf16_is_decoded_whatever_its_name() {
        let text = "größe,数量\r\n1,2\r\n";
        for (encoding, content) in [
            ("UTF-16LE", utf_16(&format!("\u{feff}{text}"), u16::to_le_bytes)),
            ("UTF-16BE", utf_16(&format!("\u{feff}{text}"), u16::to_be_bytes)),
            ("UTF-16LE", utf_16(text, u16::to_le_bytes)),
            ("UTF-16BE", utf_16(text, u16::to_be_bytes)),
        ] {
            for (name, mime) in [("t.csv", "text/csv"), ("t", "text/plain")] {
                assert_eq!(read(&content, name), Some((mime, Some(encoding), text.to_owned())), "{encoding}");
            }
        }
    }

    #[test]
    fn text_in_an_older_encoding_is_decoded_if_named_like_a_text() {
        for (text, encoding) in [
            ("name,stadt\nJosé,München\nÅsa,Örebro\n", encoding_rs::WINDOWS_1252),
            ("имя,город\nИван,Москва\n", encoding_rs::WINDOWS_1251),
            ("名前,都市\n太郎は東京に住んでいます,東京\n", encoding_rs::SHIFT_JIS),
        ] {
            let content = encoding.encode(text).0;
            assert_eq!(read(&content, "t.csv"), Some(("text/csv", Some(encoding.name()), text.to_owned())));
            assert_eq!(read(&content, "t.bin"), None);
        }
    }

    #[test]
    fn bytes_that_no_text_has_are_no_text() {
        for content in
            [&b"a\0b"[..], b"\xff\xfe\0\0", b"\xff\xfea", b"\x80\x81\0\x02", b"\0\0\0\0", b"\xff\xfe\0\xd8a\0"]
        {
            assert_eq!(read(content, "t.csv"), None, "{content:?}");
        }
        for content in [&b"a\xff"[..], b"a\xce", b"\x01\0\x02\0"] {
            assert_eq!(read(content, "data"), None, "{content:?}");
        }
    }
}
