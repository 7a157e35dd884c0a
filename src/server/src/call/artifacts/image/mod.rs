//! Recognises images that a client can pass on to a model, by reading them instead of only their first bytes.
//!
//! A single image that a model's API cannot read makes it refuse the whole conversation from then on. So the headers must be
//! valid and the file complete: each part of a file gives the position of the next one, and all are read up to the end. Pixels
//! are not decoded.

/// An image whose structure is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Image {
    pub mime: &'static str,
    /// In pixels.
    pub width: u32,
    pub height: u32,
}

impl Image {
    pub fn longest_side(self) -> u32 {
        self.width.max(self.height)
    }
}

/// A format: its MIME type, the first bytes of its files, and the function that reads the size of an image.
type Format = (&'static str, fn(&[u8]) -> bool, fn(&[u8]) -> Option<(u32, u32)>);

const FORMATS: [Format; 4] = [
    ("image/png", |content| content.starts_with(PNG), png),
    ("image/jpeg", |content| content.starts_with(b"\xff\xd8\xff"), jpeg),
    ("image/gif", |content| content.starts_with(b"GIF87a") || content.starts_with(b"GIF89a"), gif),
    ("image/webp", |content| content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP"), webp),
];

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Returns the MIME type of the image format that starts with these bytes, if there is one.
pub(crate) fn may_be(beginning: &[u8]) -> Option<&'static str> {
    FORMATS.iter().find(|(_, begins, _)| begins(beginning)).map(|(mime, ..)| *mime)
}

/// Reads a file as an image. `None` if it is not a valid one.
pub(crate) fn read(content: &[u8]) -> Option<Image> {
    let (mime, _, sides) = FORMATS.iter().find(|(_, begins, _)| begins(content))?;
    let (width, height) = sides(content)?;
    (width > 0 && height > 0).then_some(Image { mime, width, height })
}

/// The rest of a file, which is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn big_u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn big_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn little_u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn little_u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    fn little_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Returns whether the rest is empty or zeros, since some programs pad files to whole blocks.
    fn is_padding(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// Reads a PNG, which is a sequence of chunks: the header, others of which at least one has pixels, and the end.
fn png(content: &[u8]) -> Option<(u32, u32)> {
    let mut rest = Rest(content.strip_prefix(PNG)?);
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
fn crc(bytes: &[u8]) -> u32 {
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

/// Reads a JPEG: segments up to the first scan, among them the frame header and the tables for its pixels; then scans, with
/// more segments between them; then the end of the image.
fn jpeg(content: &[u8]) -> Option<(u32, u32)> {
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

/// Reads a GIF: the logical screen, extensions and at least one frame within the screen, and the end.
fn gif(content: &[u8]) -> Option<(u32, u32)> {
    let mut rest = Rest(content.get(6..)?);
    let (width, height) = (rest.little_u16()?, rest.little_u16()?);
    let [flags, _background, _aspect] = rest.array()?;
    skip_colours(&mut rest, flags)?;
    let mut has_frame = false;
    loop {
        match rest.byte()? {
            0x21 => {
                rest.byte()?;
                skip_blocks(&mut rest)?;
            }
            0x2c => {
                let [left, top] = [rest.little_u16()?, rest.little_u16()?].map(u32::from);
                let [wide, high] = [rest.little_u16()?, rest.little_u16()?].map(u32::from);
                if wide == 0 || high == 0 || left + wide > width.into() || top + high > height.into() {
                    return None;
                }
                let flags = rest.byte()?;
                skip_colours(&mut rest, flags)?;
                // The minimum code size in bits, which limits the number of colours.
                if !matches!(rest.byte()?, 2..=8) {
                    return None;
                }
                has_frame |= skip_blocks(&mut rest)? > 0;
            }
            0x3b => return (has_frame && rest.is_padding()).then_some((width.into(), height.into())),
            _ => return None,
        }
    }
}

fn skip_colours(rest: &mut Rest, flags: u8) -> Option<()> {
    if flags & 0x80 != 0 {
        rest.take(3 << ((flags & 7) + 1))?;
    }
    Some(())
}

/// Returns the number of blocks before the empty one, which is the last.
fn skip_blocks(rest: &mut Rest) -> Option<usize> {
    let mut count = 0;
    loop {
        match rest.byte()? {
            0 => return Some(count),
            length => rest.take(length.into())?,
        };
        count += 1;
    }
}

/// Reads a WebP, which is a sequence of chunks: an image; or an extended header followed by an image of the same size, or by
/// frames within that size.
fn webp(content: &[u8]) -> Option<(u32, u32)> {
    let mut riff = Rest(content);
    riff.take(4)?;
    let length = usize::try_from(riff.little_u32()?).ok()?;
    let mut rest = Rest(riff.take(length)?);
    if !riff.is_padding() {
        return None;
    }
    rest.take(4)?;
    let (kind, data) = webp_chunk(&mut rest)?;
    if kind != *b"VP8X" {
        return webp_image(kind, data).filter(|_| rest.0.is_empty());
    }
    const ANIMATION: u8 = 2;
    let mut header = Rest(data);
    let [flags, ..] = header.array::<4>()?;
    let (width, height) = (header.little_u24()? + 1, header.little_u24()? + 1);
    if !header.0.is_empty() {
        return None;
    }
    let mut has_pixels = false;
    while !rest.0.is_empty() {
        let (kind, data) = webp_chunk(&mut rest)?;
        match &kind {
            b"VP8 " | b"VP8L" => {
                if has_pixels || flags & ANIMATION != 0 || webp_image(kind, data)? != (width, height) {
                    return None;
                }
                has_pixels = true;
            }
            b"ANMF" => {
                let mut frame = Rest(data);
                let (left, top) = (frame.little_u24()? * 2, frame.little_u24()? * 2);
                let (wide, high) = (frame.little_u24()? + 1, frame.little_u24()? + 1);
                frame.take(4)?;
                let is_inside = left + wide <= width && top + high <= height;
                if flags & ANIMATION == 0 || !is_inside || webp_frame(frame)? != (wide, high) {
                    return None;
                }
                has_pixels = true;
            }
            _ => {}
        }
    }
    has_pixels.then_some((width, height))
}

/// Returns the width and height of the image of a frame, which may follow its transparency.
fn webp_frame(mut rest: Rest) -> Option<(u32, u32)> {
    loop {
        let (kind, data) = webp_chunk(&mut rest)?;
        if kind != *b"ALPH" {
            return webp_image(kind, data);
        }
    }
}

fn webp_chunk<'a>(rest: &mut Rest<'a>) -> Option<([u8; 4], &'a [u8])> {
    let kind = rest.array()?;
    let length = usize::try_from(rest.little_u32()?).ok()?;
    let data = rest.take(length)?;
    if length % 2 == 1 {
        rest.take(1)?;
    }
    Some((kind, data))
}

/// Returns the width and height of a lossy key frame or of a lossless image.
fn webp_image(kind: [u8; 4], data: &[u8]) -> Option<(u32, u32)> {
    let mut rest = Rest(data);
    match &kind {
        b"VP8 " => {
            let tag = rest.little_u24()?;
            let starts = rest.array()? == [0x9d, 0x01, 0x2a];
            let [width, height] = [rest.little_u16()?, rest.little_u16()?].map(|side| u32::from(side & 0x3fff));
            // Behind the kind of frame, its version and whether it is shown stands the length of its first part.
            let is_whole = matches!(usize::try_from(tag >> 5), Ok(first) if (1..=rest.0.len()).contains(&first));
            (tag & 1 == 0 && starts && is_whole).then_some((width, height))
        }
        b"VP8L" => {
            let starts = rest.byte()? == 0x2f;
            let bits = rest.little_u32()?;
            let (width, height) = ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1);
            (starts && bits >> 29 == 0 && !rest.0.is_empty()).then_some((width, height))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
