//! Reads the structure of a WebP.

use super::Rest;

/// Reads a WebP, which is a sequence of chunks: an image; or an extended header followed by an image of the same size, or by
/// frames within that size.
pub(super) fn sides(content: &[u8]) -> Option<(u32, u32)> {
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
