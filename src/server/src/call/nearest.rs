//! The names that somebody may have meant by one that does not exist.

/// How many names are suggested in place of an unknown one.
const MAX_SUGGESTIONS: usize = 3;
/// How many characters of an unknown name are compared.
const MAX_COMPARED_CHARACTERS: usize = 64;

/// Returns the remedy for an unknown name: the nearest of these names, or all of them.
pub fn remedy(name: &str, known: &[&str]) -> String {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match nearest(name, known).as_slice() {
        [] => format!("there are {}", quoted(known)),
        [only] => format!("the nearest is `{only}`"),
        names => format!("the nearest are {}", quoted(names)),
    }
}

/// Returns the names that may be meant by an unknown one, the likeliest first: those that few typing errors lead to, then those
/// that hold it or that it holds, then those that abbreviate it or that it abbreviates.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
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
    let mut ranked: Vec<(usize, &'a str)> = known.iter().filter_map(|known| Some((rank(known)?, *known))).collect();
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
