//! Reads the structure of a GIF.

use super::Rest;

/// Reads a GIF: the logical screen, extensions and at least one frame within the screen, and the end.
pub(super) fn sides(content: &[u8]) -> Option<(u32, u32)> {
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
