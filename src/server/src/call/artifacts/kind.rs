//! Tells the kind of a file by its content; of a text also by its name.

use super::image::{self, Image};
use super::text::TextFormat;

/// The kinds of files that are returned in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image of this MIME type, which models can be shown. SVG counts as text, which models can read.
    Image(&'static str),
    /// Text, in UTF-8 or in another encoding that is known.
    Text(TextFormat),
    /// Anything else, of this MIME type.
    Other(&'static str),
}

const UNKNOWN: &str = "application/octet-stream";

const ZIP: &str = "application/zip";

/// The first bytes of formats that could pass for text, or that `infer` does not know or names otherwise than IANA.
const OTHERS: [(&[u8], &str); 10] = [
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", ZIP),
    (b"\x1f\x8b", "application/gzip"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"\xca\xfe\xba\xbe\0\0", "application/java-vm"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    // Documents of Office before 2007.
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
];

/// Names of files that are in archives of one format, and in no others. They stand in the archive as they are.
const IN_ZIP: [(&[u8], &str); 8] = [
    (b"xl/workbook.", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"word/document.xml", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"ppt/presentation.xml", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.presentation"),
    (b"META-INF/MANIFEST.MF", "application/java-archive"),
];
/// The bytes at the beginning and at the end of an archive that are searched for names. Those at the end list all files.
const SEARCHED: usize = 64 << 10;

impl Kind {
    /// Returns the kind of a whole file. `image` is the result of reading it as an image.
    pub(super) fn of(content: &[u8], name: &[u8], image: Option<Image>) -> Self {
        if let Some(image) = image {
            return Self::Image(image.mime);
        }
        match Self::known(content) {
            Some(Self::Other(ZIP)) => Self::Other(kind_of_zip(content)),
            Some(kind) => kind,
            None => TextFormat::of(content, name).map_or_else(|| Self::binary(content), Self::Text),
        }
    }

    /// Returns the kind that a file may have, judged by its first few kilobytes.
    pub(crate) fn of_beginning(beginning: &[u8]) -> Self {
        match image::may_be(beginning) {
            Some(mime) => Self::Image(mime),
            None if is_beginning_of_text(beginning) => Self::known(beginning).unwrap_or(Self::Text(TextFormat::PLAIN)),
            None => Self::known(beginning).unwrap_or(Self::Other(UNKNOWN)),
        }
    }

    pub fn is_text(self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn known(beginning: &[u8]) -> Option<Self> {
        OTHERS.iter().find(|(start, _)| beginning.starts_with(start)).map(|(_, mime)| Self::Other(mime))
    }

    /// Returns the kind of a file that is neither text nor an image that models can be shown.
    fn binary(content: &[u8]) -> Self {
        let mime = infer::get(content).map_or(UNKNOWN, |kind| kind.mime_type());
        Self::Other(match mime {
            // A picture of one of these types is broken, or else it was read.
            "image/png" | "image/jpeg" | "image/gif" | "image/webp" => UNKNOWN,
            "audio/x-wav" => "audio/wav",
            // Two letters at the beginning are no evidence.
            "image/bmp" if !has_its_size(content) => UNKNOWN,
            mime => mime,
        })
    }

    pub fn mime(self) -> &'static str {
        match self {
            Self::Image(mime) | Self::Other(mime) => mime,
            Self::Text(format) => format.mime,
        }
    }
}

/// Returns whether a bitmap has the size that it says it has.
fn has_its_size(bitmap: &[u8]) -> bool {
    let said = bitmap.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
    said.is_some_and(|said| said as usize == bitmap.len())
}

fn kind_of_zip(archive: &[u8]) -> &'static str {
    let (beginning, end) =
        (&archive[..archive.len().min(SEARCHED)], &archive[archive.len().saturating_sub(SEARCHED)..]);
    let has = |name: &[u8]| [beginning, end].iter().any(|part| part.windows(name.len()).any(|found| found == name));
    IN_ZIP.iter().find(|(name, _)| has(name)).map_or(ZIP, |(_, mime)| mime)
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
        Kind::of(content, b"", image::read(content))
    }

    const TEXT: Kind = Kind::Text(TextFormat::PLAIN);

    #[test]
    fn broken_image_is_returned_as_text_or_resource() {
        assert_eq!(kind(b"GIF89a is the name of a format;"), TEXT);
        for broken in [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff\xe0garbage\xff\xd9", b"GIF89a\0\0\0\0\0\0\0;"] {
            assert!(matches!(Kind::of_beginning(broken), Kind::Image(_)));
            assert_eq!(kind(broken), Kind::Other(UNKNOWN), "{broken:?}");
        }
    }

    #[test]
    fn svg_is_text() {
        for svg in ["<svg/>", "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>\n"] {
            assert_eq!((kind(svg.as_bytes()), Kind::of_beginning(svg.as_bytes())), (TEXT, TEXT));
        }
    }

    #[test]
    fn text_is_utf8_without_nuls_to_its_end() {
        assert_eq!(kind("α\x1b[1m\t\r\n".as_bytes()), TEXT);
        for content in [&b"a\0b"[..], b"a\xff", b"a\xce"] {
            assert_eq!(kind(content), Kind::Other(UNKNOWN), "{content:?}");
        }
    }

    #[test]
    fn beginning_that_ends_within_a_character_may_be_text() {
        for length in 1..="αβ𝄞".len() {
            assert_eq!(Kind::of_beginning(&"αβ𝄞".as_bytes()[..length]), TEXT, "{length}");
        }
    }

    #[test]
    fn binary_file_has_the_type_of_its_content() {
        let elf = [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0"[..], &[0; 44]].concat();
        for (content, mime) in [
            (&b"PAR1\x15\x04PAR1"[..], "application/vnd.apache.parquet"),
            (b"BM\x0e\0\0\0\0\0\0\0\x36\0\0\0", "image/bmp"),
            (b"BM\xff is the beginning of something else", UNKNOWN),
            (b"II*\0\x08\0\0\0\0\0", "image/tiff"),
            (b"RIFF\x2e\0\0\0WAVEfmt \x10\0\0\0", "audio/wav"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video/mp4"),
            (b"SQLite format 3\0\x10\0", "application/vnd.sqlite3"),
            (b"\x93NUMPY\x01\0v\0{'descr'", "application/x-npy"),
            (&elf, "application/x-executable"),
            (b"\0\x01\x02", UNKNOWN),
        ] {
            assert_eq!(kind(content), Kind::Other(mime), "{content:?}");
        }
    }

    #[test]
    fn archive_has_the_type_of_what_is_in_it() {
        let zip = |name: &str| [b"PK\x03\x04\x14\0\0\0", name.as_bytes(), b"\0PK\x01\x02"].concat();
        let office = |kind: &str| format!("application/vnd.openxmlformats-officedocument.{kind}");
        for (name, mime) in [
            ("xl/workbook.xml", office("spreadsheetml.sheet")),
            ("word/document.xml", office("wordprocessingml.document")),
            ("ppt/presentation.xml", office("presentationml.presentation")),
            ("mimetypeapplication/epub+zip", "application/epub+zip".to_owned()),
            ("META-INF/MANIFEST.MF", "application/java-archive".to_owned()),
            ("data.csv", ZIP.to_owned()),
        ] {
            assert_eq!(kind(&zip(name)).mime(), mime, "{name}");
        }
        let large = [zip("a"), vec![0; 2 * SEARCHED], b"PK\x01\x02xl/workbook.xml".to_vec()].concat();
        assert_eq!(kind(&large).mime(), office("spreadsheetml.sheet"));
    }

    #[test]
    fn pdf_without_binary_parts_is_not_shown_as_text() {
        assert_eq!(kind(b"%PDF-1.4\n1 0 obj\n"), Kind::Other("application/pdf"));
    }
}
