//! Splits the server's input into lines, and limits their length.
//!
//! Only the length and the ids of a longer line are kept, which is enough to answer it: rmcp would drop it, and its client
//! would wait forever.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::mcp::json_id::IdFinder;

/// The most bytes of one request, including the end of its line.
pub const MAX_LINE_BYTES: usize = 32 << 20;

/// Reads lines from a stream.
pub struct Lines<R> {
    from: BufReader<R>,
    longest: usize,
    begun: Begun,
}

/// A line of the input.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// A line within the limit, without its end.
    Whole(Vec<u8>),
    /// A longer line: its length in bytes, and the id of each request in it.
    TooLong { length: u64, ids: Vec<Value> },
}

/// The part of the next line that was read so far.
enum Begun {
    Kept(Vec<u8>),
    Skipped(u64, IdFinder),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(from: R, longest: usize) -> Self {
        Self { from: BufReader::with_capacity(64 << 10, from), longest, begun: Begun::Kept(Vec::new()) }
    }

    /// Returns the next line, or `None` at the end of the input, where an unfinished line is dropped. Cancel-safe: nothing is
    /// lost if the future is dropped.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let available = self.from.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let (piece, used) = end.map_or((available, available.len()), |end| (&available[..end], end + 1));
            self.begun.take(piece, self.longest);
            self.from.consume(used);
            if end.is_some() {
                return Ok(Some(match std::mem::replace(&mut self.begun, Begun::Kept(Vec::new())) {
                    Begun::Kept(line) => Line::Whole(line),
                    Begun::Skipped(length, finder) => Line::TooLong { length, ids: finder.found() },
                }));
            }
        }
    }
}

impl Begun {
    /// Adds a piece to the line, whose limit is `longest` bytes, including its end.
    fn take(&mut self, piece: &[u8], longest: usize) {
        match self {
            Self::Kept(line) if line.len() + piece.len() >= longest => {
                let mut finder = IdFinder::default();
                finder.feed(line);
                finder.feed(piece);
                *self = Self::Skipped((line.len() + piece.len()) as u64, finder);
            }
            Self::Kept(line) => line.extend_from_slice(piece),
            Self::Skipped(length, finder) => {
                *length += piece.len() as u64;
                finder.feed(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn lines(input: &str, longest: usize) -> Vec<Line> {
        let mut from = Lines::new(input.as_bytes(), longest);
        let mut lines = Vec::new();
        while let Some(line) = from.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_up_to_the_limit_pass_as_they_are() {
        let passed = lines("{\"id\":1}\n\n{\"id\":2}\r\nunfinished", 10).await;
        assert_eq!(passed, [whole("{\"id\":1}"), whole(""), whole("{\"id\":2}\r")]);
    }

    #[tokio::test]
    async fn longer_line_is_told_by_its_id_and_the_next_ones_pass() {
        let long =
            format!("{{\"method\":\"m\",\"params\":{{\"id\":7,\"text\":\"{}\"}},\"id\":\"a\"}}", "x".repeat(200_000));
        let passed = lines(&format!("{{\"id\":1}}\n{long}\n{{\"id\":2}}\n"), 100).await;
        let too_long = Line::TooLong { length: long.len() as u64, ids: vec![json!("a")] };
        assert_eq!(passed, [whole("{\"id\":1}"), too_long, whole("{\"id\":2}")]);
    }

    #[tokio::test]
    async fn longer_notification_has_no_id() {
        let passed = lines(&format!("{{\"method\":\"{}\"}}\n", "x".repeat(100)), 50).await;
        assert_eq!(passed, [Line::TooLong { length: 113, ids: vec![] }]);
    }
}
