//! Recognises images that a client can pass on to a model, by reading them instead of only their first bytes.
//!
//! A single image that a model's API cannot read makes it refuse the whole conversation from then on. So the headers must be
//! valid and the file complete: each part of a file gives the position of the next one, and all are read up to the end. Pixels
//! are not decoded.

mod gif;
mod jpeg;
mod png;
mod webp;

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
    ("image/png", |content| content.starts_with(png::SIGNATURE), png::sides),
    ("image/jpeg", |content| content.starts_with(b"\xff\xd8\xff"), jpeg::sides),
    ("image/gif", |content| content.starts_with(b"GIF87a") || content.starts_with(b"GIF89a"), gif::sides),
    ("image/webp", |content| content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP"), webp::sides),
];

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

#[cfg(test)]
pub(super) mod tests;
