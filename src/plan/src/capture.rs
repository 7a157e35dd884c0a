//! Keeps the head and the tail of a stream, and counts the bytes between them.

use std::collections::VecDeque;

/// Bytes that are kept of the beginning of a stream, and of its end. With JSON's escapes, a result stays below what
/// clients show (about 40,000 characters).
const HALF_BYTES: usize = 20_000;

/// The head and the tail of a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Captured {
    /// Restores what was kept of a stream of `total` bytes from [`Self::kept`]. Returns `None` if the lengths do not
    /// fit.
    pub fn of(kept: &[u8], total: u64) -> Option<Self> {
        if kept.len() as u64 != total.min(2 * HALF_BYTES as u64) {
            return None;
        }
        let (head, tail) = kept.split_at(kept.len().min(HALF_BYTES));
        Some(Self { head: head.into(), tail: tail.iter().copied().collect(), total })
    }

    /// Returns the bytes that were kept, without a mark where others were left out.
    pub fn kept(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    /// Returns the length of the stream, in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Adds the next bytes of the stream. Never keeps more than twice [`HALF_BYTES`] of it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(HALF_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(HALF_BYTES)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(HALF_BYTES);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// Returns the number of bytes that were not kept.
    pub fn left_out(&self) -> u64 {
        self.total - self.head.len() as u64 - self.tail.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns the text, with a line in the middle that says how much was left out. Bytes that are not UTF-8 become
    /// `U+FFFD`.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.left_out() == 0 {
            return String::from_utf8_lossy(&[&self.head[..], &tail[..]].concat()).into_owned();
        }
        // Leave out both parts of a character that was cut.
        let head = &self.head[..whole_characters(&self.head)];
        let tail = &tail[tail.iter().take(3).take_while(|byte| is_continuation(**byte)).count()..];
        format!(
            "{}\n[… {} bytes left out …]\n{}",
            String::from_utf8_lossy(head),
            self.total - head.len() as u64 - tail.len() as u64,
            String::from_utf8_lossy(tail)
        )
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Returns the length without a last character that is cut.
fn whole_characters(bytes: &[u8]) -> usize {
    let Some(start) = bytes.iter().rposition(|byte| !is_continuation(*byte)) else { return bytes.len() };
    let needed = match bytes[start] {
        0b1100_0000..=0b1101_1111 => 2,
        0b1110_0000..=0b1110_1111 => 3,
        0b1111_0000..=0b1111_0111 => 4,
        _ => 1,
    };
    if bytes.len() - start < needed { start } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(chunks: &[&[u8]]) -> Captured {
        let mut captured = Captured::default();
        chunks.iter().for_each(|chunk| captured.push(chunk));
        captured
    }

    #[test]
    fn short_output_is_kept_whole_in_chunks_of_any_size() {
        let text = "αβγ".repeat(1000);
        for size in [1, 7, 4096, 100_000] {
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            let captured = captured(&chunks);
            assert_eq!((captured.text(), captured.left_out()), (text.clone(), 0));
        }
    }

    #[test]
    fn output_up_to_the_limit_is_kept_whole() {
        let text: String = (0..2 * HALF_BYTES).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
        assert_eq!(captured(&[text.as_bytes()]).text(), text);
    }

    #[test]
    fn output_over_the_limit_is_cut_in_the_middle() {
        let text: String = (0..100_000).map(|number| format!("{number}\n")).collect();
        for size in [1000, HALF_BYTES, 1_000_000] {
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            let captured = captured(&chunks);
            assert_eq!(captured.left_out(), text.len() as u64 - 2 * HALF_BYTES as u64);
            let kept = captured.text();
            assert!(kept.starts_with("0\n1\n2\n") && kept.ends_with("\n99998\n99999\n"));
            assert!(kept.contains("bytes left out") && kept.len() < 2 * HALF_BYTES + 100);
        }
    }

    #[test]
    fn character_at_the_cut_is_left_out() {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"𝄞".repeat(20_000);
            let kept = captured(&[text.as_bytes()]).text();
            assert!(!kept.contains('\u{FFFD}'), "shift {shift}");
        }
    }

    #[test]
    fn capture_is_restored_from_its_bytes_and_right_length() {
        for length in [0, 1, HALF_BYTES, 2 * HALF_BYTES, 2 * HALF_BYTES + 1, 200_000] {
            let text: String = (0..length).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
            let captured = captured(&[text.as_bytes()]);
            assert_eq!(Captured::of(&captured.kept(), captured.total()), Some(captured.clone()));
            assert_eq!(
                Captured::of(&captured.kept(), length.min(2 * HALF_BYTES) as u64 + 1).is_some(),
                length >= 2 * HALF_BYTES
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_become_replacement_characters() {
        assert_eq!(captured(&[b"a\xffb"]).text(), "a\u{FFFD}b");
    }
}
