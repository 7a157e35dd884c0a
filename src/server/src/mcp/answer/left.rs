//! Files left in the working directory → the sentence that names them, so that the next call writes them to `$OUT`.

use std::ffi::OsStr;
use std::path::Path;

use sandbox_plan::left::Left;

use crate::call::artifacts::{Artifacts, shown};
use crate::call::outcome::{Ending, Outcome};
use sandbox_plan::plan::OUT;

/// The most files that are named.
const MAX_NAMED: usize = 10;

/// Returns the sentence for an outcome, unless nothing was left that is not an artifact too. A program that was stopped
/// leaves unfinished files, which are not named.
pub fn sentence(outcome: &Outcome) -> Option<String> {
    let result = &outcome.result;
    let ended = matches!(result.ending, Ending::Exited { .. } | Ending::Signalled { .. });
    let sentence = if ended { of(&result.left, &result.artifacts) } else { None }?;
    Some(match outcome.result.in_namespaces() {
        true => format!("{sentence} left in {}: only files in $OUT ({OUT}) are returned", outcome.workdir),
        false => format!("{sentence} left in the working directory: only files in $OUT are returned"),
    })
}

/// The beginning of the sentence: what was left.
fn of(left: &Left, artifacts: &Artifacts) -> Option<String> {
    let returned = artifacts.files.iter().map(|file| &file.path);
    let known: Vec<&Path> =
        returned.chain(artifacts.left_out.iter().map(|file| &file.path)).map(|path| &**path).collect();
    let is_known = |name: &OsStr| {
        let name = Path::new(name).file_name();
        known.iter().any(|path| path.file_name() == name || path.iter().next() == name)
    };
    let names: Vec<String> =
        left.names.iter().filter(|name| !is_known(name)).map(|name| shown(Path::new(name))).collect();
    let more = names.len().saturating_sub(MAX_NAMED) as u64 + left.more;
    let mut named: Vec<String> = names.into_iter().take(MAX_NAMED).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let last = named.pop()?;
    let were = if named.is_empty() && more <= 1 { "was" } else { "were" };
    let listed = if named.is_empty() { last } else { format!("{} and {last}", named.join(", ")) };
    Some(format!("{listed} {were}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::artifacts::text::TextFormat;
    use crate::call::artifacts::{Artifact, Kind, LeftOut, Reason};

    fn left(names: &[&str], more: u64) -> Left {
        Left { names: names.iter().map(Into::into).collect(), more }
    }

    #[test]
    fn left_files_are_named_up_to_a_limit() {
        let none = Artifacts::default();
        let many: Vec<String> = (10..22).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(|name| &**name).collect();
        for (left, sentence) in [
            (left(&["plot.png"], 0), "plot.png was"),
            (left(&["a\n", "b/"], 0), "a\\n and b/ were"),
            (left(&["a", "b", "c"], 0), "a, b and c were"),
            (left(&many, 3), "10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 5 more were"),
        ] {
            assert_eq!(of(&left, &none).as_deref(), Some(sentence));
        }
        assert_eq!(of(&left(&[], 0), &none), None);
    }

    #[test]
    fn left_file_that_is_an_artifact_is_not_named() {
        let file = |path: &str| Artifact { path: path.into(), kind: Kind::Text(TextFormat::PLAIN), content: vec![] };
        let large = LeftOut { path: "large".into(), size: None, reason: Reason::TooLarge { most: 1 } };
        let artifacts =
            Artifacts { files: vec![file("plot.png"), file("tables/a.csv")], left_out: vec![large], not_named: 0 };
        assert_eq!(of(&left(&["a.csv", "large", "plot.png", "tables/"], 0), &artifacts), None);
        assert_eq!(of(&left(&["plot.png", "plot2.png"], 0), &artifacts).as_deref(), Some("plot2.png was"));
    }
}
