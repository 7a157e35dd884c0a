//! The subset of DNS (RFC 1035) that a resolver of fake addresses needs: one question in, one answer out.

use std::net::Ipv4Addr;

/// The largest message that is read. Questions are far smaller, and bytes after a question are ignored.
pub const MAX_MESSAGE_BYTES: usize = 1232;

/// How long a program may cache an answer. The answer stays valid until the sandbox ends.
const TTL_SECONDS: u32 = 300;

const HEADER_BYTES: usize = 12;
/// The longest name in wire format, including length bytes and the root label (RFC 1035, 3.1).
const MAX_NAME_BYTES: usize = 255;
const MAX_LABEL_BYTES: u8 = 63;

// Bits of a header's third and fourth byte.
const RESPONSE: u8 = 0b1000_0000;
const OPCODE: u8 = 0b0111_1000;
const AUTHORITATIVE: u8 = 0b0000_0100;
const RECURSION_DESIRED: u8 = 0b0000_0001;
const RECURSION_AVAILABLE: u8 = 0b1000_0000;

const CLASS_INTERNET: u16 = 1;
const TYPE_A: u16 = 1;

/// A message with one question.
#[derive(Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The header and the question as received.
    message: &'a [u8],
    /// The labels of the name. They may contain any bytes, even dots.
    pub labels: Vec<&'a [u8]>,
    pub kind: QuestionKind,
}

/// The type of record that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// IPv4 addresses (A).
    Address,
    /// Any other type, including IPv6 addresses (AAAA).
    Other,
}

/// The resolver's answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsAnswer {
    Address(Ipv4Addr),
    /// The name exists, but has no record of the type that was asked for.
    Nothing,
    NoSuchName,
    /// The resolver cannot answer now (SERVFAIL).
    Failed,
}

/// How to react to a message that is not a valid question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidQuestion {
    /// Send nothing: it is too short, or is an answer itself. Answering answers could loop forever.
    Ignore,
    /// Send an error with this response code.
    Refuse(ResponseCode),
}

/// The response code (RCODE) of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    Success = 0,
    Malformed = 1,
    Failed = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

impl<'a> Question<'a> {
    /// Parses a message as received.
    pub fn parse(message: &'a [u8]) -> Result<Self, InvalidQuestion> {
        use InvalidQuestion::{Ignore, Refuse};
        let (header, rest) = message.split_first_chunk::<HEADER_BYTES>().ok_or(Ignore)?;
        let [_, _, flags, _, counts @ ..] = *header;
        if flags & RESPONSE != 0 {
            return Err(Ignore);
        }
        if flags & OPCODE != 0 {
            return Err(Refuse(ResponseCode::NotImplemented));
        }
        // One question and no answer. Additional records may state the client's capabilities (EDNS): they are ignored.
        let malformed = Refuse(ResponseCode::Malformed);
        let [0, 1, 0, 0, 0, 0, _, _] = counts else { return Err(malformed) };
        let (labels, rest) = name(rest).ok_or(malformed)?;
        let (fixed, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        let [kind, class] = [[fixed[0], fixed[1]], [fixed[2], fixed[3]]].map(u16::from_be_bytes);
        if class != CLASS_INTERNET {
            return Err(Refuse(ResponseCode::Refused));
        }
        let kind = if kind == TYPE_A { QuestionKind::Address } else { QuestionKind::Other };
        Ok(Self { message: &message[..message.len() - rest.len()], labels, kind })
    }

    /// Encodes the message that answers this question.
    pub fn answer(&self, answer: DnsAnswer) -> Vec<u8> {
        let (code, address) = match answer {
            DnsAnswer::Address(address) => (ResponseCode::Success, Some(address)),
            DnsAnswer::Nothing => (ResponseCode::Success, None),
            DnsAnswer::NoSuchName => (ResponseCode::NoSuchName, None),
            DnsAnswer::Failed => (ResponseCode::Failed, None),
        };
        let mut response = header(self.message, code, 1, u16::from(address.is_some()));
        response.extend_from_slice(&self.message[HEADER_BYTES..]);
        if let Some(address) = address {
            // A compression pointer to the name in the question.
            response.extend_from_slice(&(0xc000 | HEADER_BYTES as u16).to_be_bytes());
            response.extend_from_slice(&TYPE_A.to_be_bytes());
            response.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
            response.extend_from_slice(&TTL_SECONDS.to_be_bytes());
            response.extend_from_slice(&4_u16.to_be_bytes());
            response.extend_from_slice(&address.octets());
        }
        response
    }
}

/// Encodes an error as the response to a message that is not a valid question.
pub fn refusal(message: &[u8], code: ResponseCode) -> Vec<u8> {
    header(message, code, 0, 0)
}

fn header(request: &[u8], code: ResponseCode, questions: u16, answers: u16) -> Vec<u8> {
    let mut header = request[..4].to_vec();
    header[2] = header[2] & (OPCODE | RECURSION_DESIRED) | RESPONSE | AUTHORITATIVE;
    header[3] = RECURSION_AVAILABLE | code as u8;
    for count in [questions, answers, 0, 0] {
        header.extend_from_slice(&count.to_be_bytes());
    }
    header
}

/// Splits off a name, and returns its labels and the remaining bytes. Compression pointers are refused, since nothing
/// precedes the first name of a message that one could point to.
fn name(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut labels = Vec::new();
    let mut rest = bytes;
    loop {
        let (&length, after) = rest.split_first()?;
        if length > MAX_LABEL_BYTES {
            return None;
        }
        if length == 0 {
            return (bytes.len() - after.len() <= MAX_NAME_BYTES).then_some((labels, after));
        }
        let (label, after) = after.split_at_checked(length.into())?;
        labels.push(label);
        rest = after;
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// Encodes a question as a program would send it.
    pub fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.extend_from_slice(&[0, (kind >> 8) as u8, kind as u8, 0, 1]);
        message
    }

    #[test]
    fn question_with_address_answer_is_echoed_with_record() {
        let message = question("Api.Example.org", 1);
        let parsed = Question::parse(&message).unwrap();
        assert_eq!(parsed.labels, [&b"Api"[..], b"Example", b"org"]);
        assert_eq!(parsed.kind, QuestionKind::Address);
        let answer = parsed.answer(DnsAnswer::Address(Ipv4Addr::new(198, 18, 1, 1)));
        let mut expected = vec![0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        expected.extend_from_slice(&message[12..]);
        expected.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 18, 1, 1]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn answer_without_address_has_code_and_no_record() {
        let message = question("example.org", 28);
        let parsed = Question::parse(&message).unwrap();
        assert_eq!(parsed.kind, QuestionKind::Other);
        for (answer, code) in [(DnsAnswer::Nothing, 0), (DnsAnswer::Failed, 2), (DnsAnswer::NoSuchName, 3)] {
            let bytes = parsed.answer(answer);
            assert_eq!(bytes[..12], [0xab, 0xcd, 0x85, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
            assert_eq!(bytes[12..], message[12..]);
        }
    }

    #[test]
    fn additional_records_are_left_out_of_the_answer() {
        let plain = question("example.org", 1);
        let mut extended = plain.clone();
        extended[11] = 1;
        extended.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        let answer = |message: &[u8]| Question::parse(message).unwrap().answer(DnsAnswer::NoSuchName);
        assert_eq!(answer(&extended), answer(&plain));
    }

    #[test]
    fn invalid_question_is_ignored_or_refused() {
        use InvalidQuestion::{Ignore, Refuse};
        let change = |index: usize, byte: u8| {
            let mut message = question("example.org", 1);
            message[index] = byte;
            message
        };
        let malformed = Refuse(ResponseCode::Malformed);
        for (message, verdict) in [
            (vec![0; 11], Ignore),
            (change(2, 0x80), Ignore),
            (change(2, 0x28), Refuse(ResponseCode::NotImplemented)),
            (change(5, 0), malformed),
            (change(5, 2), malformed),
            (change(7, 1), malformed),
            (change(9, 1), malformed),
            (change(12, 0xc0), malformed),
            (change(12, 64), malformed),
            (change(12, 63), malformed),
            (change(28, 3), Refuse(ResponseCode::Refused)),
            (question("example.org", 1)[..28].to_vec(), malformed),
            (question("example.org", 1)[..24].to_vec(), malformed),
        ] {
            assert_eq!(Question::parse(&message), Err(verdict), "{message:?}");
        }
        // A name has at most 255 bytes in wire format.
        assert_eq!(Question::parse(&question(&"x.".repeat(127), 1)).unwrap().labels.len(), 127);
        assert_eq!(Question::parse(&question(&"x.".repeat(128), 1)), Err(malformed));
    }

    #[test]
    fn refusal_is_a_header_with_the_same_id() {
        let message = [0xab, 0xcd, 0x29, 0x10, 0, 9, 0, 9, 0, 9, 0, 9, 1, 2, 3];
        let refused = refusal(&message, ResponseCode::NotImplemented);
        assert_eq!(refused, [0xab, 0xcd, 0xad, 0x84, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Bytes at random, or a question of which a few bytes were changed, cut off anywhere.
    fn any_message() -> impl Strategy<Value = Vec<u8>> {
        let changes = vec((any::<Index>(), any::<u8>()), 0..4);
        let changed = changes.prop_map(|changes| {
            let mut message = question("some.name.example.org", 1);
            for (place, byte) in changes {
                let place = place.index(message.len());
                message[place] = byte;
            }
            message
        });
        let message = prop_oneof![vec(any::<u8>(), 0..64), changed];
        (message, 0..80_usize).prop_map(|(mut message, length)| {
            message.truncate(length);
            message
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_message_gets_a_short_answer_or_none(message in any_message()) {
            match Question::parse(&message) {
                Ok(question) => {
                    let answer = question.answer(DnsAnswer::Address(Ipv4Addr::LOCALHOST));
                    prop_assert!(answer.len() <= message.len() + 16);
                    prop_assert_eq!(&answer[..2], &message[..2]);
                    prop_assert_eq!(Question::parse(&answer), Err(InvalidQuestion::Ignore));
                }
                Err(InvalidQuestion::Refuse(code)) => prop_assert_eq!(refusal(&message, code).len(), HEADER_BYTES),
                Err(InvalidQuestion::Ignore) => {}
            }
        }

        #[test]
        fn labels_of_any_bytes_are_read_as_they_were_sent(labels in vec(vec(any::<u8>(), 1..=63), 0..4)) {
            let mut message = question("", 1);
            let end = message.split_off(HEADER_BYTES);
            for label in &labels {
                message.push(label.len() as u8);
                message.extend_from_slice(label);
            }
            message.extend_from_slice(&end);
            prop_assert_eq!(Question::parse(&message).map(|question| question.labels), Ok(labels.iter().map(Vec::as_slice).collect()));
        }
    }
}
