//! Tests with images of five by three pixels that Pillow has written, and with damaged copies of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::png::{SIGNATURE as PNG, crc};
use super::*;

/// The MIME type, a description, and the bytes in hexadecimal.
const SAMPLES: [(&str, &str, &str); 10] = [
    (
        "image/png",
        "png",
        "89504e470d0a1a0a0000000d4948445200000005000000030802000000d45452af0000001a4944415478\
         9c633c21a7c18004981818182c1ede80f319d1e40175030412eff133c90000000049454e44ae426082",
    ),
    (
        "image/png",
        "palette",
        "89504e470d0a1a0a0000000d494844520000000500000003010300000061f857bb00000006504c544500\
         ff00c81e28114b2e9e0000000e49444154789c63f8c1b083e1070007fe02a9b1cb09d80000000049454e\
         44ae426082",
    ),
    (
        "image/jpeg",
        "jpeg",
        "ffd8ffe000104a46494600010100000100010000ffdb004300a06e788c7864a08c828cb4aaa0bef0ffff\
         f0dcdcf0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffffffffffffc0000b080003000501011100ffc40014000100000000000000000000000000000002ffc4\
         0014100100000000000000000000000000000000ffda0008010100003f002fffd9",
    ),
    (
        "image/jpeg",
        "progressive",
        "ffd8ffe000104a46494600010100000100010000ffdb004300a06e788c7864a08c828cb4aaa0bef0ffff\
         f0dcdcf0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffffffffffffdb004301aab4b4f0d2f0ffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc20011080003000503\
         012200021101031101ffc4001500010100000000000000000000000000000001ffc40015010101000000\
         00000000000000000000000102ffda000c0301000210031000000180afffc40014100100000000000000\
         000000000000000000ffda00080101000105027fffc40014110100000000000000000000000000000000\
         ffda0008010301013f017fffc40014110100000000000000000000000000000000ffda0008010201013f\
         017fffc40014100100000000000000000000000000000000ffda0008010100063f027fffc40014100100\
         000000000000000000000000000000ffda0008010100013f217fffda000c030100020003000000100bff\
         c40014110100000000000000000000000000000000ffda0008010301013f107fffc40014110100000000\
         000000000000000000000000ffda0008010201013f107fffc40014100100000000000000000000000000\
         000000ffda0008010100013f107fffd9",
    ),
    (
        "image/gif",
        "gif",
        "4749463837610500030081000000ff00c81e280000000000002c000000000500030000080b0003081c08\
         60a0c1000101003b",
    ),
    (
        "image/gif",
        "animated gif",
        "4749463837610500030081000000ff00c81e280000000000002c000000000500030000080b0003081c08\
         60a0c10001010021f90401000000002c00000000050003000008080001081c48b06040003b",
    ),
    (
        "image/webp",
        "webp",
        "52494646300000005745425056503820240000007001009d012a050003000900ac25b0027401400000fe\
         e0b908c346bf8a1eeffd48f00000",
    ),
    ("image/webp", "lossless", "5249464622000000574542505650384c150000002f048000000ff08fff411e94f98f34bce323a2ff5100"),
    (
        "image/webp",
        "alpha",
        "524946465800000057454250565038580a00000010000000040000020000414c50480d000000010f30ff\
         1111e21e1f11fd0f030056503820240000007001009d012a050003000900ac25b0027401400000fee0b9\
         08c346bf8a1eeffd48f00000",
    ),
    (
        "image/webp",
        "animated webp",
        "52494646ba00000057454250565038580a00000002000000040000020000414e494d0600000000000000\
         0000414e4d465600000000000000000004000002000064000002565038203e0000005001009d012a0500\
         030001402625b00004740000fef10b0df799fee8bd488e2d9c39bffe2dfb47f7b6507fffddaf47c39180\
         4cfffb8cffffb8cffe440000414e4d463000000000000000000004000002000064000000565038201800\
         00003401009d012a0500030000002625a400037000fefd366800",
    ),
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
    hexadecimal.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn samples() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
    SAMPLES.into_iter().map(|(mime, name, text)| (mime, name, bytes(text)))
}

fn sample(name: &str) -> Vec<u8> {
    samples().find(|(_, other, _)| *other == name).expect("there is such a sample").2
}

/// How the compressed pixels of a PNG begin.
const ZLIB: &[u8] = b"\x78\x9c";

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [kind, data].concat();
    [&(data.len() as u32).to_be_bytes(), &checked[..], &crc(&checked).to_be_bytes()].concat()
}

/// A PNG of 57 bytes and its pixels, two bytes at least, of which nobody has compressed more than the beginning.
pub(in crate::call::artifacts) fn png_of(width: u32, height: u32, pixels: usize) -> Vec<u8> {
    let pixels = with(vec![1; pixels], 0, ZLIB);
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [PNG, &chunk(b"IHDR", &header), &chunk(b"IDAT", &pixels), &chunk(b"IEND", b"")].concat()
}

/// The bytes with some of them changed.
fn with(mut content: Vec<u8>, at: usize, changed: &[u8]) -> Vec<u8> {
    content[at..at + changed.len()].copy_from_slice(changed);
    content
}

fn position(content: &[u8], part: &[u8]) -> usize {
    content.windows(part.len()).position(|window| window == part).expect("it has this part")
}

#[test]
fn images_of_every_format_are_read_with_their_sides() {
    for (mime, name, content) in samples() {
        assert_eq!(read(&content), Some(Image { mime, width: 5, height: 3 }), "{name}");
        assert_eq!(may_be(&content[..64.min(content.len())]), Some(mime), "{name}");
    }
    assert_eq!(read(&png_of(70_000, 2, 2)).map(Image::longest_side), Some(70_000));
}

#[test]
fn image_that_is_cut_short_is_none() {
    for (_, name, content) in samples() {
        for length in 0..content.len() {
            assert_eq!(read(&content[..length]), None, "{length} bytes of {name}");
        }
    }
}

#[test]
fn trailing_zeros_of_an_image_are_ignored() {
    for (mime, name, content) in samples() {
        let padded = [&content[..], &[0; 16]].concat();
        assert_eq!(read(&padded).is_some(), mime != "image/png", "{name}");
    }
}

#[test]
fn png_needs_a_header_that_is_right() {
    let good = png_of(5, 3, 2);
    assert!(read(&good).is_some());
    // The length of the header, its name, a side without its checksum.
    for (at, changed) in [(8, &[0, 0, 0, 12][..]), (12, b"IHDX"), (16, &[0, 0, 0, 6])] {
        assert_eq!(read(&with(good.clone(), at, changed)), None, "{at}");
    }
    let with_header = |header: [u8; 13]| {
        read(&[PNG, &chunk(b"IHDR", &header), &chunk(b"IDAT", ZLIB), &chunk(b"IEND", b"")].concat()).is_some()
    };
    let header = |end: [u8; 5]| [0, 0, 0, 5, 0, 0, 0, 3, end[0], end[1], end[2], end[3], end[4]];
    assert!(with_header(header([16, 6, 0, 0, 1])) && with_header(header([1, 0, 0, 0, 0])));
    for end in [[3, 0, 0, 0, 0], [4, 2, 0, 0, 0], [8, 1, 0, 0, 0], [8, 2, 1, 0, 0], [8, 2, 0, 1, 0], [8, 2, 0, 0, 2]] {
        assert!(!with_header(header(end)), "{end:?}");
    }
    assert!(!with_header(header([8, 3, 0, 0, 0])), "a palette is missing");
}

#[test]
fn png_needs_pixels_and_nothing_behind_its_end() {
    let header = chunk(b"IHDR", &[0, 0, 0, 5, 0, 0, 0, 3, 8, 2, 0, 0, 0]);
    assert_eq!(read(&[PNG, &header, &chunk(b"IEND", b"")].concat()), None);
    assert_eq!(read(&[&png_of(5, 3, 2)[..], b"x"].concat()), None);
    // A chunk that goes beyond the file.
    assert_eq!(read(&[PNG, &header, &[0xff; 4], b"IDAT", &chunk(b"IEND", b"")].concat()), None);
}

#[test]
fn png_pixels_begin_as_a_zlib_stream() {
    let header = chunk(b"IHDR", &[0, 0, 0, 5, 0, 0, 0, 3, 8, 2, 0, 0, 0]);
    let is_read = |parts: &[&[u8]]| {
        let parts: Vec<u8> = parts.iter().flat_map(|part| chunk(b"IDAT", part)).collect();
        read(&[PNG, &header, &parts, &chunk(b"IEND", b"")].concat()).is_some()
    };
    // Compressed less or more, with a smaller window, and cut anywhere.
    for parts in [&[&b"\x78\x01"[..]][..], &[b"\x78\xda"], &[b"\x08\x1d"], &[b"", b"\x78", b"", b"\x9c\x01"]] {
        assert!(is_read(parts), "{parts:?}");
    }
    for parts in [&[&b"Not zlib at all"[..]][..], &[b"\x78\x9d"], &[b"\x88\x1c"], &[b"\x78\xbb"], &[b"\x78"], &[b""]] {
        assert!(!is_read(parts), "{parts:?}");
    }
}

#[test]
fn jpeg_tables_come_before_its_scan() {
    let jpeg = sample("jpeg");
    for marker in [b"\xff\xdb", b"\xff\xc4"] {
        let mut without = jpeg.clone();
        while let Some(at) = without.windows(2).position(|pair| pair == marker) {
            without = with(without, at, b"\xff\xfe");
        }
        assert_eq!(read(&without), None, "{marker:?}");
    }
    assert_eq!(
        read(b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\x01\0\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\xff\xd9"),
        None
    );
}

#[test]
fn jpeg_tables_and_headers_are_in_their_bounds() {
    let jpeg = sample("jpeg");
    let [frame, quantization, huffman, scan] =
        [b"\xff\xc0", b"\xff\xdb", b"\xff\xc4", b"\xff\xda"].map(|marker| position(&jpeg, marker));
    for (what, at, changed) in [
        ("no sampling", frame + 11, &[0][..]),
        ("sampling of fifteen", frame + 11, &[0xff]),
        ("quantization table 9 of a component", frame + 12, &[9]),
        ("a frame that is progressive, unlike its scan", frame + 1, &[0xc2]),
        ("quantization table 9", quantization + 4, &[9]),
        ("a Huffman table of the eighth kind", huffman + 4, &[0x77]),
        ("more codes than there are", huffman + 5, &[0xff; 16]),
        ("no codes", huffman + 5, &[0; 16]),
        ("a scan of a component that is not there", scan + 5, &[9]),
        ("a scan with Huffman table 9", scan + 6, &[0x90]),
        ("a scan of no component", scan + 4, &[0]),
        ("a scan without its parameters", scan + 2, &[0, 2]),
        ("a part of the coefficients", scan + 8, &[1]),
    ] {
        assert_eq!(read(&with(jpeg.clone(), at, changed)), None, "{what}");
    }
}

#[test]
fn png_palette_and_pixels_are_in_one_piece() {
    let palette = chunk(b"IHDR", &[0, 0, 0, 5, 0, 0, 0, 3, 8, 3, 0, 0, 0]);
    let is_read = |parts: &[Vec<u8>]| read(&[PNG, &palette, &parts.concat(), &chunk(b"IEND", b"")].concat()).is_some();
    let [pixels, more, text] =
        [(b"IDAT", ZLIB), (b"IDAT", b"\0"), (b"tEXt", b"a\0b")].map(|(kind, data)| chunk(kind, data));
    let colours = |count| chunk(b"PLTE", &vec![7; count]);
    assert!(is_read(&[colours(768), text.clone(), pixels.clone(), more.clone()]));
    for count in [0, 4, 771, 3000] {
        assert!(!is_read(&[colours(count), pixels.clone()]), "{count} bytes of colours");
    }
    assert!(!is_read(&[colours(3), pixels.clone(), text, more]), "an interruption");
    assert!(!is_read(&[colours(3), pixels, colours(3)]), "colours behind the pixels");
}

#[test]
fn gif_codes_begin_with_two_to_eight_bits() {
    let gif = sample("gif");
    let code_size = position(&gif, b"\x08\x0b");
    for bits in 0..=255 {
        assert_eq!(read(&with(gif.clone(), code_size, &[bits])).is_some(), (2..=8).contains(&bits), "{bits}");
    }
}

#[test]
fn side_of_no_pixels_makes_no_image() {
    assert_eq!((read(&png_of(0, 3, 2)), read(&png_of(5, 0, 2))), (None, None));
    let jpeg = sample("jpeg");
    assert_eq!(read(&with(jpeg.clone(), position(&jpeg, b"\xff\xc0") + 5, &[0, 0])), None);
    assert_eq!(read(&with(sample("gif"), 6, &[0, 0])), None);
    assert_eq!(read(&with(sample("webp"), 26, &[0, 0])), None);
}

#[test]
fn jpeg_is_read_up_to_its_frame_whatever_comes_before() {
    let jpeg = sample("jpeg");
    // A comment that holds what looks like a frame, and fill bytes before the next marker.
    let comment = b"\xff\xfe\x00\x0d\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\xff\xff";
    let with_comment = [&jpeg[..2], comment, &jpeg[2..]].concat();
    assert_eq!(read(&with_comment), read(&jpeg));
    let frame = position(&jpeg, b"\xff\xc0");
    // Twelve bits, no component, a kind of frame that no reader has, no frame.
    for (at, changed) in [(frame + 4, &[12][..]), (frame + 9, &[0]), (frame + 1, &[0xc3]), (frame + 1, &[0xfe])] {
        assert_eq!(read(&with(jpeg.clone(), at, changed)), None, "{changed:?}");
    }
    for none in [&b"\xff\xd8\xff\xe0garbage\xff\xd9"[..], b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xda\x00\x02\xff\xd9"] {
        assert_eq!(read(none), None, "{none:?}");
    }
}

#[test]
fn gif_needs_a_frame_and_none_beyond_its_screen() {
    assert_eq!(read(b"GIF89a\x01\0\x01\0\0\0\0;"), None);
    assert_eq!(read(b"GIF89a is the name of a format;"), None);
    let gif = sample("gif");
    let frame = position(&gif, b",\0\0\0\0") + 1;
    for (at, side) in [(frame, 1), (frame + 2, 1), (frame + 4, 6), (frame + 6, 0), (frame + 5, 0x4e)] {
        assert_eq!(read(&with(gif.clone(), at, &[side])), None, "{at}");
    }
}

#[test]
fn webp_needs_pixels_of_the_size_that_it_claims() {
    let extended = sample("alpha");
    assert_eq!(read(&with(extended.clone(), 24, &[9])), None);
    let name = position(&extended, b"VP8 ");
    assert_eq!(read(&with(extended, name, b"VP8X")), None);
    let animated = sample("animated webp");
    let frame = position(&animated, b"ANMF") + 8;
    assert_eq!(read(&with(animated.clone(), frame, &[1])), None);
    assert_eq!(read(&with(animated.clone(), 27, &[0x1f])).map(|image| image.height), Some(32), "frames may be smaller");
    let image = position(&animated, b"VP8 ");
    assert_eq!(read(&with(animated.clone(), image, b"JUNK")), None, "a frame without an image");
    assert_eq!(read(&with(animated.clone(), 20, &[0])), None, "frames without a flag that says so");
    // A key frame is one that needs no other.
    assert_eq!(read(&with(sample("webp"), 20, &[0x71])), None);
    assert_eq!(read(&with(sample("lossless"), 20, &[0x2e])), None);
    assert_eq!(read(&with(sample("webp"), 21, &[0xff, 0xff])), None, "a first part beyond the file");
    assert_eq!(read(b"RIFF\x24\0\0\0WAVEfmt "), None);
    let chunk = |kind: &[u8; 4], data: &[u8]| [kind, &(data.len() as u32).to_le_bytes()[..], data].concat();
    let is_read = |chunks: &[Vec<u8>]| {
        let chunks = [b"WEBP", &chunks.concat()[..]].concat();
        read(&chunk(b"RIFF", &chunks)).is_some()
    };
    let header = chunk(b"VP8X", &[0, 0, 0, 0, 4, 0, 0, 2, 0, 0]);
    let image = sample("webp")[12..].to_vec();
    assert!(is_read(&[header.clone(), image.clone()]));
    assert!(!is_read(&[header, image.clone(), image.clone()]), "two images");
    assert!(!is_read(&[chunk(b"VP8X", &[0, 0, 0, 0, 4, 0, 0, 2, 0, 0, 0, 0]), image]), "a header that is too long");
}

/// The beginning of a sample and any bytes, or a sample of which a few bytes were changed and the end is missing.
fn any_content() -> impl Strategy<Value = Vec<u8>> {
    let sample = || select(samples().map(|(_, _, content)| content).collect::<Vec<_>>());
    let begun = (sample(), 0..=12_usize, vec(any::<u8>(), 0..200))
        .prop_map(|(content, length, rest)| [&content[..length], &rest].concat());
    let byte = prop_oneof![Just(0), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    let changed = (sample(), vec((any::<Index>(), byte), 1..=4), option::weighted(0.25, any::<Index>())).prop_map(
        |(mut content, changes, end)| {
            for (place, byte) in changes {
                let place = place.index(content.len());
                content[place] = byte;
            }
            content.truncate(end.map_or(content.len(), |end| end.index(content.len())));
            content
        },
    );
    prop_oneof![1 => begun, 3 => changed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_bytes_are_an_image_that_has_sides_or_none(content in any_content()) {
        if let Some(image) = read(&content) {
            prop_assert!(image.width > 0 && image.height > 0);
            prop_assert_eq!(may_be(&content), Some(image.mime));
        }
    }

    #[test]
    fn png_with_one_byte_changed_is_refused(
        width in 1..=u32::MAX,
        height in 1..=u32::MAX,
        pixels in 2..100_usize,
        place in any::<Index>(),
        change in 1..=u8::MAX,
    ) {
        let png = png_of(width, height, pixels);
        prop_assert_eq!(read(&png), Some(Image { mime: "image/png", width, height }));
        let place = place.index(png.len());
        prop_assert_eq!(read(&with(png.clone(), place, &[png[place] ^ change])), None);
    }
}
