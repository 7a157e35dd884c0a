//! Reads the text of a configuration file, whatever stands in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The most bytes of a configuration file: a hundred times what anybody writes by hand.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file of configuration.
///
/// # Errors
///
/// Fails if the file cannot be read, is not a regular file or has more than a megabyte. A pipe that nobody writes to is not
/// waited for.
pub fn read(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    bounded(file)
}

/// Reads a file of configuration that the operator has named, which may be a pipe: a shell gives the output of a command
/// so. It is waited for.
///
/// # Errors
///
/// Fails as [`read`] does, but for a pipe.
pub fn read_named(path: &Path) -> io::Result<String> {
    use std::os::unix::fs::FileTypeExt;
    if path.metadata()?.file_type().is_fifo() { bounded(File::open(path)?) } else { read(path) }
}

fn bounded(file: File) -> io::Result<String> {
    let mut text = String::new();
    if file.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    // Some editors begin a file with a byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn text_is_read_without_its_byte_order_mark() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        for (written, text) in [("{}", "{}"), ("\u{feff}{}", "{}"), ("", "")] {
            fs::write(&file, written).unwrap();
            assert_eq!((read(&file).unwrap(), read_named(&file).unwrap()), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_text_of_usual_size_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("large"), vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        fs::write(place("binary"), [0xff]).unwrap();
        symlink("/dev/zero", place("zero")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, place("pipe"), rustix::fs::Mode::RUSR).unwrap();
        fs::create_dir(place("directory")).unwrap();
        for (name, reason) in [
            ("large", "more than 1048576 bytes"),
            ("binary", "UTF-8"),
            ("zero", "not a regular file"),
            ("pipe", "not a regular file"),
            ("directory", "not a regular file"),
            ("missing", "No such file"),
        ] {
            let error = read(&place(name)).expect_err(name).to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
        assert!(read_named(&place("zero")).is_err());
    }
}
