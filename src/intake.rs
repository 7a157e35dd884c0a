//! The server's input, line by line, none longer than what a request may hold.
//!
//! rmcp drops a longer line without an answer, and a client would wait for ever. Here such a line becomes a small
//! request with the same id and a method of its own ([`TOO_LONG`]), which the server answers with an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use crate::json_id::IdFinder;

/// Bytes that one request may hold, its line's end included.
pub const LONGEST_LINE: usize = 32 << 20;

/// The method of the request that stands for one that was too long.
pub const TOO_LONG: &str = "sandbox-mcp/request-too-long";

/// Passes lines on, but for too long ones.
pub struct Lines<R> {
    from: BufReader<R>,
    longest: usize,
    line: Line,
    /// What is to be passed on next, before anything else is read.
    ready: Vec<u8>,
    passed: usize,
}

enum Line {
    /// The line so far, which is passed on when it is whole.
    Kept(Vec<u8>),
    /// A line that is too long: its length so far, and its id if that was found.
    Skipped(u64, IdFinder),
}

impl<R: AsyncRead> Lines<R> {
    pub fn new(from: R, longest: usize) -> Self {
        let from = BufReader::with_capacity(64 << 10, from);
        Self { from, longest, line: Line::Kept(Vec::new()), ready: Vec::new(), passed: 0 }
    }

    /// Takes a piece of the input that holds no line's end but at its own end.
    fn take(&mut self, piece: &[u8]) {
        match &mut self.line {
            Line::Kept(line) if line.len() + piece.len() > self.longest => {
                let mut finder = IdFinder::default();
                finder.feed(line);
                finder.feed(piece);
                self.line = Line::Skipped((line.len() + piece.len()) as u64, finder);
            }
            Line::Kept(line) => line.extend_from_slice(piece),
            Line::Skipped(length, finder) => {
                *length += piece.len() as u64;
                finder.feed(piece);
            }
        }
        if piece.ends_with(b"\n") {
            self.passed = 0;
            self.ready = match std::mem::replace(&mut self.line, Line::Kept(Vec::new())) {
                Line::Kept(line) => line,
                Line::Skipped(length, finder) => substitute(length, finder),
            };
        }
    }
}

/// The request that stands for the skipped one. A notification has no id, and nobody waits for its answer.
fn substitute(length: u64, finder: IdFinder) -> Vec<u8> {
    let Some(id) = finder.found() else { return Vec::new() };
    let request = json!({ "jsonrpc": "2.0", "id": id, "method": TOO_LONG, "params": { "length": length } });
    format!("{request}\n").into_bytes()
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passed < this.ready.len() {
                let rest = &this.ready[this.passed..];
                let count = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..count]);
                this.passed += count;
                if this.passed == this.ready.len() {
                    // A large request's memory is given back.
                    this.ready = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            let piece = match Pin::new(&mut this.from).poll_fill_buf(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // An unfinished line at the end is no message.
                Poll::Ready(Ok([])) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(available)) => match available.iter().position(|byte| *byte == b'\n') {
                    Some(end) => available[..=end].to_vec(),
                    None => available.to_vec(),
                },
            };
            Pin::new(&mut this.from).consume(piece.len());
            this.take(&piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn passed(input: &str, longest: usize) -> String {
        let mut text = String::new();
        Lines::new(input.as_bytes(), longest).read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn lines_up_to_the_limit_pass_as_they_are() {
        let input = "{\"id\":1}\n\n{\"id\":2}\n";
        assert_eq!(passed(input, 9).await, input);
    }

    #[tokio::test]
    async fn a_longer_line_becomes_a_request_with_its_id_and_the_next_lines_pass() {
        let long = format!("{{\"params\":{{\"id\":7,\"text\":\"{}\"}},\"id\":\"a\"}}\n", "x".repeat(200_000));
        let text = passed(&format!("{{\"id\":1}}\n{long}{{\"id\":2}}\n"), 100).await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[2]), ("{\"id\":1}", "{\"id\":2}"));
        let request: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!((&request["id"], &request["method"]), (&json!("a"), &json!(TOO_LONG)));
        assert_eq!(request["params"]["length"], long.len());
    }

    #[tokio::test]
    async fn a_longer_notification_vanishes() {
        assert_eq!(passed(&format!("{{\"method\":\"{}\"}}\n", "x".repeat(100)), 50).await, "");
    }
}
