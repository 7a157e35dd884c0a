//! What `nix-store --realise` prints, in few words: what there is to do is counted instead of listed, and an error begins with
//! its cause.

use std::collections::VecDeque;

/// How many lines an error shows.
const MAX_LAST_LINES: usize = 20;

/// Begins a line that is no error: what Nix tries again, for one.
const WARNING: &str = "warning: ";

/// Returns whether a line says that Nix tries something again: after an error, no more than the last of these would matter, and that
/// one says something else.
pub fn is_retry(line: &str) -> bool {
    line.contains("; retrying in ")
}

/// Counts what Nix has announced and begun.
#[derive(Debug, Default)]
pub struct RealiseLog {
    build: Count,
    fetch: Count,
    last: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Count {
    begun: usize,
    all: usize,
}

impl Count {
    /// `3 of 71: NAME`. Nix may begin what it has not announced.
    fn begin(&mut self, path: &str) -> String {
        self.begun += 1;
        self.all = self.all.max(self.begun);
        let name = path.split_once('-').map_or(path, |(_, name)| name);
        format!("{} of {}: {}", self.begun, self.all, name.strip_suffix(".drv").unwrap_or(name))
    }
}

impl RealiseLog {
    /// Reads a line that is not empty, and returns what to tell of it.
    pub fn hear(&mut self, line: &str) -> Option<String> {
        // What is announced, a path in each line.
        if line.starts_with("  /nix/store/") {
            return None;
        }
        if let Some(count) = announced(line, " will be built:") {
            self.build.all += count;
            return Some(format!("{count} to build"));
        }
        if let Some(count) = announced(line, " will be fetched (") {
            self.fetch.all += count;
            let size = line.split_once('(').map_or("", |(_, size)| size.trim_end_matches([':', ')']));
            return Some(format!("{count} to fetch ({size})"));
        }
        if let Some(path) = quoted(line, "building '") {
            return Some(format!("building {}", self.build.begin(path)));
        }
        if let Some(path) = quoted(line, "copying path '") {
            return Some(format!("fetching {}", self.fetch.begin(path)));
        }
        if self.last.len() == MAX_LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
        Some(line.to_owned())
    }

    /// The last lines, from the first one that is an error, and after them those that came before. Where there is an error,
    /// warnings are left out.
    pub fn cause(self) -> String {
        let mut lines = Vec::from(self.last);
        if let Some(error) = lines.iter().position(|line| line.starts_with("error:")) {
            lines.rotate_left(error);
            lines.retain(|line| !line.starts_with(WARNING));
        }
        lines.join("\n")
    }
}

/// The number in `these 71 derivations will be built:`, or one in `this derivation will be built:`.
fn announced(line: &str, end: &str) -> Option<usize> {
    let (start, _) = line.split_once(end)?;
    match start.split(' ').collect::<Vec<_>>()[..] {
        ["this", _] => Some(1),
        ["these", count, _] => count.parse().ok(),
        _ => None,
    }
}

fn quoted<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    Some(line.strip_prefix(start)?.split_once('\'')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> (Vec<String>, String) {
        let mut log = RealiseLog::default();
        let told = lines.iter().filter_map(|line| log.hear(line)).collect();
        (told, log.cause())
    }

    #[test]
    fn what_there_is_to_do_is_counted_and_not_listed() {
        let (told, cause) = told(&[
            "these 2 derivations will be built:",
            "  /nix/store/aaa-one.drv",
            "  /nix/store/bbb-two-1.0.drv",
            "this path will be fetched (1.50 MiB download, 4.00 MiB unpacked):",
            "  /nix/store/ccc-lib",
            "copying path '/nix/store/ccc-lib' from 'https://cache.example'...",
            "building '/nix/store/aaa-one.drv'...",
            "configuring",
            "building '/nix/store/bbb-two-1.0.drv' on 'ssh://builder'...",
            "building '/nix/store/ddd-three.drv'...",
        ]);
        assert_eq!(
            told,
            [
                "2 to build",
                "1 to fetch (1.50 MiB download, 4.00 MiB unpacked)",
                "fetching 1 of 1: lib",
                "building 1 of 2: one",
                "configuring",
                "building 2 of 2: two-1.0",
                "building 3 of 3: three",
            ]
        );
        assert_eq!(cause, "configuring");
    }

    #[test]
    fn cause_has_no_warnings_unless_there_is_nothing_else() {
        let retry = "warning: error: unable to download 'https://cache.example/nix-cache-info': Couldn't resolve host name \
                     (6); retrying in 261 ms";
        let error = "error: the group 'nixbld' specified in 'build-users-group' does not exist";
        assert_eq!(told(&[retry, retry, error]).1, error);
        assert_eq!(told(&[retry]).1, retry);
    }

    #[test]
    fn cause_begins_with_the_error() {
        let mut lines = vec!["this derivation will be built:", "  /nix/store/aaa-one.drv", "this is why"];
        lines.extend([
            "error: builder for '/nix/store/aaa-one.drv' failed with exit code 7;",
            "       last 1 log lines:",
        ]);
        lines.push("error: 1 dependencies of derivation '/nix/store/bbb-two.drv' failed to build");
        let (_, cause) = told(&lines);
        let expected = [lines[3], lines[4], lines[5], lines[2]];
        assert_eq!(cause, expected.join("\n"));
    }
}
