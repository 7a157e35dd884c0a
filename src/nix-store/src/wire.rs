//! The daemon's wire format: numbers of 64 bits, the lowest byte first, and strings as in archives.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::nar::padding;
use crate::store_path::StorePath;

/// The longest string that is read. Nix's errors and lines of builders are far shorter.
const MAX_STRING_BYTES: u64 = 16 << 20;
/// The longest list that is read, in items.
const MAX_LIST_ITEMS: u64 = 1 << 20;
/// The size of a frame in bytes.
const FRAME_BYTES: usize = 64 << 10;

/// A request that is put together before it is sent.
#[derive(Debug, Default)]
pub struct Request(Vec<u8>);

impl Request {
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn boolean(self, value: bool) -> Self {
        self.number(value.into())
    }

    pub fn string(self, text: &str) -> Self {
        let mut message = self.number(text.len() as u64);
        message.0.extend(text.as_bytes());
        message.0.resize(message.0.len() + padding(text.len()), 0);
        message
    }

    /// Appends a list, a set or a map: the number of its items, then each of them.
    pub fn list<T>(self, items: impl ExactSizeIterator<Item = T>, write: impl Fn(Self, T) -> Self) -> Self {
        let message = self.number(items.len() as u64);
        items.fold(message, write)
    }

    pub fn paths<'a>(self, paths: impl ExactSizeIterator<Item = &'a StorePath>) -> Self {
        self.list(paths, |message, path| message.string(path.as_str()))
    }

    /// Appends an archive, which tells its own length.
    pub fn archive(mut self, archive: &[u8]) -> Self {
        self.0.extend(archive);
        self
    }

    /// Appends bytes whose length the receiver does not know: frames, of which the last is empty.
    pub(crate) fn framed(self, bytes: &[u8]) -> Self {
        let mut message = self;
        for frame in bytes.chunks(FRAME_BYTES) {
            message = message.number(frame.len() as u64);
            message.0.extend(frame);
        }
        message.number(0)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads what a daemon sends. A daemon is trusted, but what it sends may be malformed.
pub struct WireReader<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> WireReader<R> {
    pub fn new(stream: R) -> Self {
        Self(BufReader::new(stream))
    }

    pub async fn number(&mut self) -> io::Result<u64> {
        self.0.read_u64_le().await
    }

    pub async fn boolean(&mut self) -> io::Result<bool> {
        Ok(self.number().await? != 0)
    }

    /// Reads a string. Bytes that are not UTF-8 become U+FFFD, since builders may print any bytes.
    pub async fn string(&mut self) -> io::Result<String> {
        let length = self.limited(MAX_STRING_BYTES, "string").await?;
        // The buffer grows with what arrives, so a false length takes no memory.
        let mut bytes = Vec::new();
        (&mut self.0).take(length as u64).read_to_end(&mut bytes).await?;
        if bytes.len() < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.0.read_exact(&mut [0; 7][..padding(length)]).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub async fn strings(&mut self) -> io::Result<Vec<String>> {
        let mut strings = Vec::new();
        for _ in 0..self.length().await? {
            strings.push(self.string().await?);
        }
        Ok(strings)
    }

    pub async fn path(&mut self) -> io::Result<StorePath> {
        StorePath::parse(&self.string().await?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    /// Reads a path or, if there is none, the empty string that stands for it.
    pub(crate) async fn optional_path(&mut self) -> io::Result<Option<StorePath>> {
        match self.string().await? {
            path if path.is_empty() => Ok(None),
            path => StorePath::parse(&path).map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error)),
        }
    }

    pub async fn paths(&mut self) -> io::Result<Vec<StorePath>> {
        let mut paths = Vec::new();
        for _ in 0..self.length().await? {
            paths.push(self.path().await?);
        }
        Ok(paths)
    }

    /// Reads the number of items that follow.
    pub async fn length(&mut self) -> io::Result<usize> {
        self.limited(MAX_LIST_ITEMS, "list").await
    }

    async fn limited(&mut self, limit: u64, what: &str) -> io::Result<usize> {
        match self.number().await? {
            length if length <= limit => Ok(length as usize),
            length => Err(malformed(format!("a {what} of length {length}, {limit} at most"))),
        }
    }
}

pub(crate) fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_is_read_as_it_was_written() {
        for length in 0..20 {
            let text = "ü".repeat(length);
            let message =
                Request::default().number(7).string(&text).list(["a", ""].iter(), |message, text| message.string(text));
            let mut reader = WireReader::new(message.bytes());
            assert_eq!(reader.number().await.unwrap(), 7);
            assert_eq!(reader.string().await.unwrap(), text);
            assert_eq!(reader.strings().await.unwrap(), ["a", ""]);
            assert_eq!(reader.number().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn framed_bytes_end_with_an_empty_frame() {
        let bytes = vec![1; FRAME_BYTES + 3];
        let message = Request::default().framed(&bytes);
        let frames = message.bytes();
        assert_eq!(frames.len(), 8 + FRAME_BYTES + 8 + 3 + 8);
        assert_eq!(frames[8 + FRAME_BYTES..8 + FRAME_BYTES + 8], 3_u64.to_le_bytes());
        assert_eq!(Request::default().framed(&[]).bytes(), [0; 8]);
    }

    #[tokio::test]
    async fn false_length_is_refused_before_it_takes_memory() {
        for (length, kind) in [
            (u64::MAX, ErrorKind::InvalidData),
            (MAX_STRING_BYTES + 1, ErrorKind::InvalidData),
            (MAX_STRING_BYTES, ErrorKind::UnexpectedEof),
        ] {
            let message = Request::default().number(length);
            assert_eq!(WireReader::new(message.bytes()).string().await.unwrap_err().kind(), kind);
            assert_eq!(WireReader::new(message.bytes()).strings().await.unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
