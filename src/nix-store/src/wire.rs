//! The daemon's wire format: numbers of 64 bits, the lowest byte first, and strings as in archives.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::nar::padding;
use crate::store_path::StorePath;

/// The longest string that is read. Nix's errors and lines of builders are far shorter.
const LONGEST_STRING: u64 = 16 << 20;
/// The longest list that is read.
const LONGEST_LIST: u64 = 1 << 20;
/// How much goes into one frame.
const FRAME: usize = 64 << 10;

/// Something to send, put together before it is sent.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
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

    /// A list, a set or a map: the number of its items, then each of them.
    pub fn list<T>(self, items: impl ExactSizeIterator<Item = T>, write: impl Fn(Self, T) -> Self) -> Self {
        let message = self.number(items.len() as u64);
        items.fold(message, write)
    }

    pub fn paths<'a>(self, paths: impl ExactSizeIterator<Item = &'a StorePath>) -> Self {
        self.list(paths, |message, path| message.string(path.as_str()))
    }

    /// An archive, whose length stands within itself.
    pub fn archive(mut self, archive: &[u8]) -> Self {
        self.0.extend(archive);
        self
    }

    /// Bytes of a length that the receiver does not know beforehand: frames, and an empty one behind.
    pub fn framed(self, bytes: &[u8]) -> Self {
        let mut message = self;
        for frame in bytes.chunks(FRAME) {
            message = message.number(frame.len() as u64);
            message.0.extend(frame);
        }
        message.number(0)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads what a daemon sends. What it sends is trusted to be honest, but not to be well-formed.
pub struct Reader<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(stream: R) -> Self {
        Self(BufReader::new(stream))
    }

    pub async fn number(&mut self) -> io::Result<u64> {
        self.0.read_u64_le().await
    }

    pub async fn boolean(&mut self) -> io::Result<bool> {
        Ok(self.number().await? != 0)
    }

    /// A string. Bytes that are not UTF-8 become U+FFFD: builders may print any.
    pub async fn string(&mut self) -> io::Result<String> {
        let length = self.limited(LONGEST_STRING, "string").await?;
        // It grows with what comes, so that a false length takes no memory.
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

    /// A path that may be missing, for which an empty string stands.
    pub async fn optional_path(&mut self) -> io::Result<Option<StorePath>> {
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

    /// How many items follow.
    pub async fn length(&mut self) -> io::Result<usize> {
        self.limited(LONGEST_LIST, "list").await
    }

    async fn limited(&mut self, limit: u64, what: &str) -> io::Result<usize> {
        match self.number().await? {
            length if length <= limit => Ok(length as usize),
            length => Err(malformed(format!("a {what} of length {length}, {limit} at most"))),
        }
    }
}

pub fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_again() {
        for length in 0..20 {
            let text = "ü".repeat(length);
            let message =
                Message::default().number(7).string(&text).list(["a", ""].iter(), |message, text| message.string(text));
            let mut reader = Reader::new(message.bytes());
            assert_eq!(reader.number().await.unwrap(), 7);
            assert_eq!(reader.string().await.unwrap(), text);
            assert_eq!(reader.strings().await.unwrap(), ["a", ""]);
            assert_eq!(reader.number().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn frames_end_with_an_empty_one() {
        let bytes = vec![1; FRAME + 3];
        let message = Message::default().framed(&bytes);
        let frames = message.bytes();
        assert_eq!(frames.len(), 8 + FRAME + 8 + 3 + 8);
        assert_eq!(frames[8 + FRAME..8 + FRAME + 8], 3_u64.to_le_bytes());
        assert_eq!(Message::default().framed(&[]).bytes(), [0; 8]);
    }

    #[tokio::test]
    async fn a_false_length_is_refused_before_it_takes_memory() {
        for (length, kind) in [
            (u64::MAX, ErrorKind::InvalidData),
            (LONGEST_STRING + 1, ErrorKind::InvalidData),
            (LONGEST_STRING, ErrorKind::UnexpectedEof),
        ] {
            let message = Message::default().number(length);
            assert_eq!(Reader::new(message.bytes()).string().await.unwrap_err().kind(), kind);
            assert_eq!(Reader::new(message.bytes()).strings().await.unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
