//! Reads the structure of a PNG.

use super::Rest;

/// The first bytes of a PNG.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Reads a PNG, which is a sequence of chunks: the header, others of which at least one has pixels, and the end.
pub(super) fn sides(content: &[u8]) -> Option<(u32, u32)> {
    let mut rest = Rest(content.strip_prefix(SIGNATURE)?);
    let header = png_chunk(&mut rest)?;
    if header.kind != *b"IHDR" || header.data.len() != 13 {
        return None;
    }
    let mut fields = Rest(header.data);
    let (width, height) = (fields.big_u32()?, fields.big_u32()?);
    let [depth, colour, compression, filter, interlace] = fields.array()?;
    let depths: &[u8] = match colour {
        0 => &[1, 2, 4, 8, 16],
        3 => &[1, 2, 4, 8],
        2 | 4 | 6 => &[8, 16],
        _ => return None,
    };
    if !depths.contains(&depth) || compression != 0 || filter != 0 || interlace > 1 {
        return None;
    }
    let mut has_palette = colour != 3;
    // The first bytes of the compressed pixels, which may be split between chunks anywhere, but are not interrupted.
    let mut pixels = Vec::new();
    let mut last = *b"IHDR";
    loop {
        let chunk = png_chunk(&mut rest)?;
        let before = std::mem::replace(&mut last, chunk.kind);
        match &chunk.kind {
            b"PLTE" => {
                if !matches!(chunk.data.len(), 3..=768) || chunk.data.len() % 3 != 0 || !pixels.is_empty() {
                    return None;
                }
                has_palette = true;
            }
            b"IDAT" if !has_palette || before != *b"IDAT" && !pixels.is_empty() => return None,
            b"IDAT" => pixels.extend(chunk.data.iter().take(2 - pixels.len().min(2))),
            b"IEND" => {
                return (is_zlib(&pixels) && chunk.data.is_empty() && rest.0.is_empty()).then_some((width, height));
            }
            _ => {}
        }
    }
}

/// Returns whether these bytes begin a zlib stream: deflate with a window of at most 32 kB, without a dictionary, and with a
/// valid header checksum.
fn is_zlib(beginning: &[u8]) -> bool {
    match *beginning {
        [method, flags, ..] => {
            let is_deflate = method & 0x0f == 8 && method >> 4 <= 7 && flags & 0x20 == 0;
            is_deflate && u16::from_be_bytes([method, flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

struct PngChunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
}

fn png_chunk<'a>(rest: &mut Rest<'a>) -> Option<PngChunk<'a>> {
    let length = usize::try_from(rest.big_u32()?).ok()?;
    let checked = rest.0.get(..length.checked_add(4)?)?;
    let (kind, data) = (rest.array()?, rest.take(length)?);
    (rest.big_u32()? == crc(checked)).then_some(PngChunk { kind, data })
}

/// Computes the checksum of a PNG chunk.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum: u32, byte| TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}
