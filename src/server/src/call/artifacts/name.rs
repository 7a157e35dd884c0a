//! Escapes file names that a program chose, so that no name can pass for another one, or for a separate line.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the path with everything escaped that is neither a visible character nor a space.
pub fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        return ".".to_owned();
    }
    let mut name = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => name.push(character),
                _ => name.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string can't fail.
            let _ = write!(name, "\\x{byte:02x}");
        }
    }
    name
}

/// Returns the URI of an absolute path in the sandbox. Its scheme keeps clients from taking it for a file on their machine.
pub(crate) fn uri(path: &Path) -> String {
    let mut uri = "sandbox://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(*byte)),
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn shown_of(bytes: &[u8]) -> String {
        shown(Path::new(OsStr::from_bytes(bytes)))
    }

    #[test]
    fn plain_name_is_shown_as_it_is() {
        for name in ["plots/figure-1.png", "Übersicht 表.txt", "it's \"quoted\".md"] {
            assert_eq!(shown_of(name.as_bytes()), name);
        }
    }

    #[test]
    fn name_cannot_break_a_line_hide_a_part_or_pass_for_another() {
        assert_eq!(shown_of(b"a\nb\x1b[2K\r.png"), r"a\nb\u{1b}[2K\r.png");
        // A right-to-left override, which reverses `gnp.exe`.
        assert_eq!(shown_of("a\u{202e}gnp.exe".as_bytes()), r"a\u{202e}gnp.exe");
        assert_eq!(shown_of(b"\xff\xfe.bin"), r"\xff\xfe.bin");
        assert_ne!(shown_of(b"a\nb"), shown_of(br"a\nb"));
        assert_ne!(shown_of(b"a\xff"), shown_of(br"a\xff"));
    }

    #[test]
    fn uri_is_percent_encoded() {
        assert_eq!(uri(Path::new("/sandbox/out/a b/ü?#%.png")), "sandbox:///sandbox/out/a%20b/%C3%BC%3F%23%25.png");
    }
}
