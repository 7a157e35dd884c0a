//! Reads the structure of a JPEG.

use super::Rest;

/// Reads a JPEG: segments up to the first scan, among them the frame header and the tables for its pixels; then scans, with
/// more segments between them; then the end of the image.
pub(super) fn sides(content: &[u8]) -> Option<(u32, u32)> {
    const START_OF_SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    const HUFFMAN_TABLES: u8 = 0xc4;
    const QUANTIZATION_TABLES: u8 = 0xdb;
    const PROGRESSIVE: u8 = 0xc2;
    let mut rest = Rest(content.strip_prefix(b"\xff\xd8")?);
    let mut frame = None;
    let (mut has_huffman, mut has_quantization, mut has_scan) = (false, false, false);
    loop {
        match jpeg_marker(&mut rest)? {
            // Cameras append more images to the first.
            END => return frame.filter(|_| has_scan).map(|frame: JpegFrame| frame.sides),
            // Baseline, extended and progressive frames, which every decoder supports.
            marker @ 0xc0..=0xc2 => {
                if frame.is_some() {
                    return None;
                }
                frame = Some(jpeg_frame(jpeg_segment(&mut rest)?, marker == PROGRESSIVE)?);
            }
            // Other kinds of frames, a second image, or a reserved marker.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xd8 | 0x00..=0x01 => return None,
            HUFFMAN_TABLES => has_huffman |= are_huffman_tables(jpeg_segment(&mut rest)?)?,
            QUANTIZATION_TABLES => has_quantization |= are_quantization_tables(jpeg_segment(&mut rest)?)?,
            START_OF_SCAN if !has_huffman || !has_quantization => return None,
            START_OF_SCAN => {
                check_scan(jpeg_segment(&mut rest)?, frame.as_ref()?)?;
                has_scan = true;
                skip_scan(&mut rest);
            }
            _ => drop(jpeg_segment(&mut rest)?),
        }
    }
}

/// The number of tables of a kind that a JPEG can have.
const JPEG_TABLES: u8 = 4;

/// The header of a JPEG's frame.
struct JpegFrame {
    sides: (u32, u32),
    is_progressive: bool,
    /// The id of each component.
    components: Vec<u8>,
}

fn jpeg_frame(header: &[u8], is_progressive: bool) -> Option<JpegFrame> {
    let mut rest = Rest(header);
    let (precision, height, width) = (rest.byte()?, rest.big_u16()?, rest.big_u16()?);
    let count = rest.byte()?;
    if precision != 8 || !matches!(count, 1 | 3 | 4) || rest.0.len() != usize::from(count) * 3 {
        return None;
    }
    let mut components = Vec::new();
    for component in rest.0.chunks_exact(3) {
        let (horizontal, vertical) = (component[1] >> 4, component[1] & 0xf);
        if !matches!(horizontal, 1..=4) || !matches!(vertical, 1..=4) || component[2] >= JPEG_TABLES {
            return None;
        }
        components.push(component[0]);
    }
    Some(JpegFrame { sides: (width.into(), height.into()), is_progressive, components })
}

/// Reads tables of codes, each of which has a kind, an id, the number of codes of each length, and the codes' values. Returns
/// whether there is one.
fn are_huffman_tables(segment: &[u8]) -> Option<bool> {
    let mut rest = Rest(segment);
    while !rest.0.is_empty() {
        let kind = rest.byte()?;
        let counts: [u8; 16] = rest.array()?;
        let values: usize = counts.iter().map(|count| usize::from(*count)).sum();
        // Codes that are longer than they need be leave room; more than there is room for is no code.
        let mut room = 1_i32;
        for count in counts {
            room = room * 2 - i32::from(count);
            if room < 0 {
                return None;
            }
        }
        if kind >> 4 > 1 || kind & 0xf >= JPEG_TABLES || !matches!(values, 1..=256) {
            return None;
        }
        rest.take(values)?;
    }
    Some(!segment.is_empty())
}

/// Reads tables of 64 numbers, each of which has a precision and an id. Returns whether there is one.
fn are_quantization_tables(segment: &[u8]) -> Option<bool> {
    let mut rest = Rest(segment);
    while !rest.0.is_empty() {
        let kind = rest.byte()?;
        if kind >> 4 > 1 || kind & 0xf >= JPEG_TABLES {
            return None;
        }
        rest.take(64 << (kind >> 4))?;
    }
    Some(!segment.is_empty())
}

/// Checks the header of a scan: components of the frame with their tables, and which coefficients it has.
fn check_scan(header: &[u8], frame: &JpegFrame) -> Option<()> {
    let mut rest = Rest(header);
    let count = rest.byte()?;
    if !matches!(count, 1..=4) {
        return None;
    }
    for _ in 0..count {
        let [component, tables] = rest.array()?;
        if !frame.components.contains(&component) || tables >> 4 >= JPEG_TABLES || tables & 0xf >= JPEG_TABLES {
            return None;
        }
    }
    let [first, last, _approximation] = rest.array()?;
    // Only a progressive frame has its coefficients in parts: the first one is in scans of its own.
    let are_coefficients = match frame.is_progressive {
        true => first == 0 && last == 0 || first > 0 && first <= last && last < 64 && count == 1,
        false => first == 0 && last == 63,
    };
    (are_coefficients && rest.0.is_empty()).then_some(())
}

fn jpeg_marker(rest: &mut Rest) -> Option<u8> {
    if rest.byte()? != 0xff {
        return None;
    }
    loop {
        // Any number of 0xff may come before a marker.
        match rest.byte()? {
            0xff => {}
            marker => return Some(marker),
        }
    }
}

fn jpeg_segment<'a>(rest: &mut Rest<'a>) -> Option<&'a [u8]> {
    let length = usize::from(rest.big_u16()?);
    rest.take(length.checked_sub(2)?)
}

/// Skips to the next marker that does not belong to a scan's data: restart markers and escaped 0xff bytes do.
fn skip_scan(rest: &mut Rest) {
    let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
    let length = rest.0.windows(2).position(is_end).unwrap_or(rest.0.len());
    rest.0 = &rest.0[length..];
}
