//! Suggestions for unknown names.

/// How many names are suggested.
const MAX_SUGGESTIONS: usize = 3;
/// The most characters of a name that are compared.
const MAX_COMPARED_CHARACTERS: usize = 60;

/// Returns the names that may be meant by an unknown one, the likeliest first: those that few typing errors lead to, then those
/// that hold it or that it holds, then those that abbreviate it or that it abbreviates.
pub fn nearest(name: &str, known: &[&'static str]) -> Vec<&'static str> {
    let plain = |name: &str| {
        name.chars().take(MAX_COMPARED_CHARACTERS).collect::<String>().to_lowercase().replace(['_', '.', ' '], "-")
    };
    let wanted = plain(name);
    let length = wanted.chars().count();
    let rank = |known: &str| {
        let (known, errors) = (plain(known), strsim::osa_distance(&wanted, &plain(known)));
        if errors <= length.div_ceil(4) {
            Some(errors)
        } else if length > 2 && (known.contains(&wanted) || known.len() > 2 && wanted.contains(&known)) {
            Some(MAX_COMPARED_CHARACTERS + known.len().abs_diff(wanted.len()))
        } else if abbreviates(&wanted, &known) || abbreviates(&known, &wanted) {
            Some(2 * MAX_COMPARED_CHARACTERS + known.len().abs_diff(wanted.len()))
        } else {
            None
        }
    };
    let mut ranked: Vec<(usize, &str)> = known.iter().filter_map(|known| Some((rank(known)?, *known))).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, name)| name).take(MAX_SUGGESTIONS).collect()
}

/// Returns whether both begin alike and the letters of `short` come in the same order in `long`, as those of sklearn do in
/// scikit-learn.
fn abbreviates(short: &str, long: &str) -> bool {
    let mut letters = long.chars();
    let alike = short.chars().next() == long.chars().next();
    short.len() > 3 && alike && short.chars().all(|letter| letters.any(|other| other == letter))
}
