//! Splits a client's input into lines. They are the same however the input arrives, and none is longer than the limit.
#![no_main]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use sandbox_server::fuzzing::{Line, Lines};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that a line may have, so small that inputs of libFuzzer's usual size exceed it.
const LIMIT: usize = 64;

/// A stream that hands over a few bytes at a time.
struct Chunks<'a> {
    rest: &'a [u8],
    size: usize,
}

impl AsyncRead for Chunks<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let (chunk, rest) = self.rest.split_at(self.size.min(self.rest.len()).min(into.remaining()));
        into.put_slice(chunk);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

fn lines(input: &[u8], size: usize) -> Vec<Line> {
    let mut from = Lines::new(Chunks { rest: input, size }, LIMIT);
    let mut lines = Vec::new();
    loop {
        let mut next = std::pin::pin!(from.next());
        match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Some(line))) => lines.push(line),
            Poll::Ready(Ok(None)) => return lines,
            other => panic!("reading from memory neither fails nor waits: {other:?}"),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let whole = lines(input, usize::MAX);
    assert_eq!(whole, lines(input, 1));
    assert_eq!(whole, lines(input, 7));
    assert_eq!(whole.len(), input.iter().filter(|byte| **byte == b'\n').count());
    for (line, bytes) in whole.iter().zip(input.split(|byte| *byte == b'\n')) {
        match line {
            Line::Whole(kept) => assert!(kept == bytes && kept.len() < LIMIT),
            Line::TooLong { length, .. } => assert!(*length == bytes.len() as u64 && bytes.len() >= LIMIT),
        }
    }
});
