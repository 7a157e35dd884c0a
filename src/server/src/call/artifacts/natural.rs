//! The natural sort order of names, which compares the numbers in them: figure-2 comes before figure-10.

/// Returns a key that sorts names naturally. Different names have different keys.
pub(super) type Key = (Vec<u8>, Vec<u8>);

/// Each run of digits is replaced by its number of digits without leading zeros, followed by these digits. It still begins
/// with a digit, so that it sorts among other characters as before.
pub(super) fn key(name: &[u8]) -> Key {
    let mut key = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.first() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            key.push(*first);
            rest = &rest[1..];
            continue;
        }
        let (run, after) = rest.split_at(digits);
        let number = &run[run.iter().take_while(|digit| **digit == b'0').count()..];
        key.push(b'0');
        // A file name has at most 255 bytes; a longer number would only sort differently.
        key.push(u8::try_from(number.len()).unwrap_or(u8::MAX));
        key.extend_from_slice(number);
        rest = after;
    }
    (key, name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_the_numbers_in_them() {
        let sorted = [
            "",
            "-",
            "01",
            "1",
            "1-2",
            "1-10",
            "2",
            "10",
            "10a",
            "99999999999999999999",
            "100000000000000000000",
            ":",
            "A",
            "a",
            "a0",
            "a00",
            "a1b2",
            "a1b10",
            "a2",
            "figure-1.png",
            "figure-2.png",
            "figure-10.png",
            "figure.png",
            "\u{e9}",
        ];
        let mut names = sorted.to_vec();
        names.reverse();
        names.sort_by_cached_key(|name| key(name.as_bytes()));
        assert_eq!(names, sorted);
    }
}
