//! Replaces unpaired surrogates in JSON.
//!
//! JSON escapes a character beyond U+FFFF as a surrogate pair, `\ud83d\ude00`. Programs that cut strings between UTF-16 code
//! units, as JavaScript does, may write only one of the two, and serde then rejects the whole text.

/// The escape of U+FFFD, the replacement character. It is as long as the escape that it replaces.
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// Replaces each escaped unpaired surrogate by U+FFFD, and returns how many there were.
pub fn replace_halves(json: &mut [u8]) -> usize {
    let (mut count, mut at, mut in_string) = (0, 0, false);
    while at < json.len() {
        at += match (json[at], in_string) {
            (b'"', _) => {
                in_string = !in_string;
                1
            }
            (b'\\', true) => match (unit(&json[at..]), unit(json.get(at + 6..).unwrap_or_default())) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                (Some(0xd800..=0xdfff), _) => {
                    json[at..at + 6].copy_from_slice(REPLACEMENT);
                    count += 1;
                    6
                }
                // An escaped character neither ends the string nor begins another escape.
                _ => 2,
            },
            _ => 1,
        };
    }
    count
}

/// Returns the UTF-16 code unit of the escape at the beginning of the text.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_is_replaced_wherever_it_stands() {
        for (json, count, replaced) in [
            (r#""\ud83d""#, 1, r#""\ufffd""#),
            (r#""a\uDE00b""#, 1, r#""a\ufffdb""#),
            (r#"{"\udfff":["\ud800\n\ud83d\ude00"]}"#, 2, r#"{"\ufffd":["\ufffd\n\ud83d\ude00"]}"#),
            (r#""\ud83d\ud83d\ude00\ude00""#, 2, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#""\ud83d\u0041""#, 1, r#""\ufffd\u0041""#),
            (r#""\\\ud83d\"\ud83d""#, 2, r#""\\\ufffd\"\ufffd""#),
        ] {
            let mut text = json.as_bytes().to_vec();
            assert_eq!(replace_halves(&mut text), count, "{json}");
            assert_eq!(String::from_utf8(text).unwrap(), replaced);
            assert!(serde_json::from_str::<serde_json::Value>(replaced).is_ok(), "{replaced}");
        }
    }

    #[test]
    fn what_is_no_half_stays_as_it_is() {
        for json in
            [r#""\ud83d\ude00""#, r#""\\ud83d""#, r"\ud83d", r#""\ud83""#, r#""\u""#, r#""\"#, r#""\uzzzz\u+123""#, ""]
        {
            let mut text = json.as_bytes().to_vec();
            assert_eq!(replace_halves(&mut text), 0, "{json}");
            assert_eq!(text, json.as_bytes());
        }
    }
}
