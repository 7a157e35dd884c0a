//! Messages as they go over a socket: their length as a little-endian `u32`, then their postcard form.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest order or call that is read. A call holds its files.
pub const LARGEST_CALL: usize = 256 << 20;
/// The largest report that is read.
pub const LARGEST_REPORT: usize = 1 << 20;

/// The bytes that hand a call over. They go with its descriptors, and are its deadline, which is needed even if the
/// call itself never comes.
pub const CALL_SIZE: usize = 12;

pub fn call_header(deadline: Duration) -> [u8; CALL_SIZE] {
    let mut header = [0; CALL_SIZE];
    header[..8].copy_from_slice(&deadline.as_secs().to_le_bytes());
    header[8..].copy_from_slice(&deadline.subsec_nanos().to_le_bytes());
    header
}

pub fn parse_call_header(header: [u8; CALL_SIZE]) -> Duration {
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = header;
    let seconds = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    // Not Duration::new, which panics where a nanosecond too many makes the seconds overflow.
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u32::from_le_bytes([n0, n1, n2, n3]).into()))
}

/// Sends a message.
pub fn write_message<M: Serialize>(to: &mut impl Write, message: &M) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// Waits for a message. `None`: the other end was closed before one began.
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

/// A message as it is sent.
pub fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| io::Error::other("the message is longer than 4 GB"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Takes the first whole message off the front of what was received so far, for those who can't wait in a read.
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
    fn messages_are_read_as_they_were_written() {
        let ended = Report::Ended { ending: Ending::Exited { code: 3 }, usage: Usage::default() };
        let mut wire = Vec::new();
        for report in [&Report::Started, &failed(), &ended] {
            write_message(&mut wire, report).unwrap();
        }
        let mut from = &wire[..];
        for report in [Report::Started, failed(), ended] {
            assert_eq!(read_message::<Report>(&mut from, LARGEST_REPORT).unwrap(), Some(report));
        }
        assert_eq!(read_message::<Report>(&mut from, LARGEST_REPORT).unwrap(), None);
    }

    #[test]
    fn deadlines_are_read_as_they_were_written() {
        for deadline in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(60), Duration::MAX] {
            assert_eq!(parse_call_header(call_header(deadline)), deadline);
        }
    }

    #[test]
    fn a_message_that_arrives_byte_by_byte_is_taken_once_it_is_whole() {
        let frame = encode(&failed()).unwrap();
        let mut received = Vec::new();
        for byte in &frame[..frame.len() - 1] {
            received.push(*byte);
            assert_eq!(decode::<Report>(&mut received, LARGEST_REPORT).unwrap(), None);
        }
        received.push(frame[frame.len() - 1]);
        received.push(0xff);
        assert_eq!(decode::<Report>(&mut received, LARGEST_REPORT).unwrap(), Some(failed()));
        assert_eq!(received, [0xff]);
    }

    #[test]
    fn a_message_beyond_the_cap_or_cut_short_or_too_long_is_refused() {
        let frame = encode(&failed()).unwrap();
        assert_eq!(read_message::<Report>(&mut &frame[..], 5).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(decode::<Report>(&mut frame.clone(), 5).unwrap_err().kind(), ErrorKind::InvalidData);
        for length in [2, frame.len() - 1] {
            let error = read_message::<Report>(&mut &frame[..length], LARGEST_REPORT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
        let mut longer = frame.clone();
        longer.push(0);
        longer[0] += 1;
        assert_eq!(
            read_message::<Report>(&mut &longer[..], LARGEST_REPORT).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }
}
