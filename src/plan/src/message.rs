//! The encoding of messages on a socket: the length as a little-endian `u32`, then postcard.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Order, Plan};

/// The largest order or call, in bytes. A call contains its files.
pub const MAX_CALL_BYTES: usize = 256 << 20;
/// The largest report, in bytes.
pub const MAX_REPORT_BYTES: usize = 1 << 20;

/// The size of a call's header, in bytes. It goes with the call's descriptors and holds the deadline, which applies
/// even if the call itself never comes.
pub const CALL_HEADER_BYTES: usize = 12;

/// Encodes the header of a call.
pub fn call_header(deadline: Duration) -> [u8; CALL_HEADER_BYTES] {
    let mut header = [0; CALL_HEADER_BYTES];
    header[..8].copy_from_slice(&deadline.as_secs().to_le_bytes());
    header[8..].copy_from_slice(&deadline.subsec_nanos().to_le_bytes());
    header
}

/// Returns the deadline that a call's header holds.
pub fn parse_call_header(header: [u8; CALL_HEADER_BYTES]) -> Duration {
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = header;
    let seconds = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    // Duration::new panics if the nanoseconds make the seconds overflow.
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u32::from_le_bytes([n0, n1, n2, n3]).into()))
}

/// Sends a message.
pub fn write_message<M: Serialize>(to: &mut impl Write, message: &M) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// Waits for a message of at most `largest` bytes. Returns `None` if the other end was closed before one began.
pub fn read_message<M: DeserializeOwned>(from: &mut impl Read, largest: usize) -> io::Result<Option<M>> {
    let mut header = [0; 4];
    let mut filled = 0;
    while filled < header.len() {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut body = vec![0; body_length(header, largest)?];
    from.read_exact(&mut body)?;
    parse(&body).map(Some)
}

/// Encodes a message.
pub fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| io::Error::other("the message is longer than 4 GB"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Encodes all that a launcher of one sandbox reads: the order, the call's header and the call.
///
/// # Errors
///
/// If the plan is longer than 4 GB.
pub fn encode_once(plan: &Plan) -> io::Result<Vec<u8>> {
    let Plan { environment, call } = plan;
    let order = encode(&Order::Once(environment.clone()))?;
    Ok([order, call_header(call.deadline).to_vec(), encode(call)?].concat())
}

/// Takes the first message off the front of the bytes received so far. Returns `None` if it is not complete yet.
pub fn decode<M: DeserializeOwned>(received: &mut Vec<u8>, largest: usize) -> io::Result<Option<M>> {
    let Some(header) = received.first_chunk::<4>() else { return Ok(None) };
    let end = 4 + body_length(*header, largest)?;
    let Some(body) = received.get(4..end) else { return Ok(None) };
    let message = parse(body)?;
    received.drain(..end);
    Ok(Some(message))
}

fn body_length(header: [u8; 4], largest: usize) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    if length > largest {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes, {largest} at most")));
    }
    Ok(length)
}

fn parse<M: DeserializeOwned>(body: &[u8]) -> io::Result<M> {
    let (message, rest) =
        postcard::take_from_bytes(body).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    if !rest.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("{} bytes after the message's end", rest.len())));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ending, Failure, Report, Usage};

    fn failed() -> Report {
        Report::Failed(Failure { operation: "mount a tmpfs at /tmp".to_owned(), errno: 1 })
    }

    #[test]
    fn messages_written_are_read_the_same() {
        let ended = Report::Ended { ending: Ending::Exited { code: 3 }, usage: Usage::default() };
        let mut wire = Vec::new();
        for report in [&Report::Started, &failed(), &ended] {
            write_message(&mut wire, report).unwrap();
        }
        let mut from = &wire[..];
        for report in [Report::Started, failed(), ended] {
            assert_eq!(read_message::<Report>(&mut from, MAX_REPORT_BYTES).unwrap(), Some(report));
        }
        assert_eq!(read_message::<Report>(&mut from, MAX_REPORT_BYTES).unwrap(), None);
    }

    #[test]
    fn deadlines_encoded_are_parsed_the_same() {
        for deadline in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(60), Duration::MAX] {
            assert_eq!(parse_call_header(call_header(deadline)), deadline);
        }
    }

    #[test]
    fn message_in_single_bytes_is_decoded_when_complete() {
        let frame = encode(&failed()).unwrap();
        let mut received = Vec::new();
        for byte in &frame[..frame.len() - 1] {
            received.push(*byte);
            assert_eq!(decode::<Report>(&mut received, MAX_REPORT_BYTES).unwrap(), None);
        }
        received.push(frame[frame.len() - 1]);
        received.push(0xff);
        assert_eq!(decode::<Report>(&mut received, MAX_REPORT_BYTES).unwrap(), Some(failed()));
        assert_eq!(received, [0xff]);
    }

    #[test]
    fn message_too_large_or_of_wrong_length_is_refused() {
        let frame = encode(&failed()).unwrap();
        assert_eq!(read_message::<Report>(&mut &frame[..], 5).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(decode::<Report>(&mut frame.clone(), 5).unwrap_err().kind(), ErrorKind::InvalidData);
        for length in [2, frame.len() - 1] {
            let error = read_message::<Report>(&mut &frame[..length], MAX_REPORT_BYTES).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
        let mut longer = frame.clone();
        longer.push(0);
        longer[0] += 1;
        assert_eq!(
            read_message::<Report>(&mut &longer[..], MAX_REPORT_BYTES).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }
}
