//! The connections that were refused to a sandbox. The result lists them, so that agents do not try again.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use sandbox_manifest::address::Block;

/// How many different refusals are kept; further ones are counted.
const MAX_KEPT_REFUSALS: usize = 20;
/// How many characters of a host name are shown: the length limit of valid names. Invalid ones may be longer.
const MAX_SHOWN_CHARACTERS: usize = 253;

/// A connection that was not made.
#[derive(Debug)]
pub struct RefusedConnection {
    /// The host as the program named it.
    pub host: String,
    /// `None` if the program only resolved the name.
    pub port: Option<u16>,
    pub reason: RefusalReason,
}

/// Why a connection was not made.
#[derive(Debug)]
pub enum RefusalReason {
    NotListed,
    /// The name resolves only to addresses that are not public. This is the block of the first one.
    Address(&'static Block),
    /// The name resolves to this machine.
    OwnMachine,
    /// The sandbox has resolved too many names.
    Exhausted,
    /// The server could not resolve the name.
    Unresolved(io::Error),
    /// The server could not connect to the host.
    Unreachable(io::Error),
}

impl fmt::Display for RefusedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection to {}", shown(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.reason {
            RefusalReason::NotListed => f.write_str(" was refused: not on the allow-list"),
            // The address is not shown: a sandbox should not learn about this machine's network.
            RefusalReason::Address(block) => write!(f, " was refused: the name leads to {block}"),
            RefusalReason::OwnMachine => f.write_str(" was refused: the name leads to the machine of the sandbox"),
            RefusalReason::Exhausted => f.write_str(" was refused: the sandbox has asked for too many names"),
            RefusalReason::Unresolved(error) => write!(f, " failed: the name could not be resolved: {error}"),
            RefusalReason::Unreachable(error) => write!(f, " failed: {error}"),
        }
    }
}

/// Formats a name for people and models: printable, on one line, and not too long.
fn shown(host: &str) -> String {
    let printable: String = host.chars().flat_map(char::escape_default).take(MAX_SHOWN_CHARACTERS + 1).collect();
    match printable.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &printable[..end]),
        None => printable,
    }
}

/// Collects the refused connections of one sandbox.
#[derive(Debug, Default)]
pub struct RefusalLog(Mutex<Refusals>);

/// The different refusals, in the order of their first occurrence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// One sentence for each refusal.
    pub kept: Vec<String>,
    /// The number of refusals that were not kept. Repetitions of these count again.
    pub left_out: u64,
}

impl Refusals {
    /// Returns the sentences, and a last line with the number of refusals that were not kept.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.left_out > 0).then(|| format!("and {} more", self.left_out));
        self.kept.iter().cloned().chain(more)
    }
}

impl RefusalLog {
    /// Adds a refusal, unless an equal one is kept already.
    pub fn add(&self, refusal: &RefusedConnection) {
        let text = refusal.to_string();
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.kept.contains(&text) {
            return;
        }
        if refusals.kept.len() < MAX_KEPT_REFUSALS {
            refusals.kept.push(text);
        } else {
            refusals.left_out += 1;
        }
    }

    /// Removes and returns the refusals collected so far.
    pub fn take(&self) -> Refusals {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox_manifest::address;

    fn refusal(host: &str, port: Option<u16>, reason: RefusalReason) -> RefusedConnection {
        RefusedConnection { host: host.into(), port, reason }
    }

    #[test]
    fn refusal_names_the_host_the_port_and_the_reason() {
        let private = address::refused([10, 0, 0, 1].into()).unwrap();
        for (refusal, text) in [
            (
                refusal("a.org", Some(443), RefusalReason::NotListed),
                "connection to a.org:443 was refused: not on the allow-list",
            ),
            (
                refusal("a.org", None, RefusalReason::NotListed),
                "connection to a.org was refused: not on the allow-list",
            ),
            (
                refusal("a.org", Some(1), RefusalReason::Address(private)),
                "connection to a.org:1 was refused: the name leads to a private address (RFC 1918)",
            ),
            (
                refusal("a.org", Some(1), RefusalReason::Unreachable(io::ErrorKind::ConnectionRefused.into())),
                "connection to a.org:1 failed: connection refused",
            ),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }

    #[test]
    fn invalid_name_is_shown_on_one_short_line() {
        let host = format!("a\n\u{1b}[2J\u{202e}{}", "x".repeat(900));
        let text = refusal(&host, None, RefusalReason::NotListed).to_string();
        assert!(
            text.starts_with("connection to a\\n\\u{1b}[2J\\u{202e}xxx") && text.contains("x… was refused"),
            "{text}"
        );
        assert!(text.chars().all(|character| character == '…' || (' '..='~').contains(&character)) && text.len() < 320);
    }

    #[test]
    fn equal_refusals_are_kept_once_and_their_number_is_bounded() {
        let record = RefusalLog::default();
        for _ in 0..3 {
            for index in 0..30 {
                record.add(&refusal(&format!("h{index}.org"), Some(443), RefusalReason::NotListed));
            }
        }
        let refusals = record.take();
        assert_eq!(refusals.kept.len(), MAX_KEPT_REFUSALS);
        assert_eq!(refusals.kept[0], "connection to h0.org:443 was refused: not on the allow-list");
        assert_eq!(refusals.left_out, 30);
        assert_eq!(record.take(), Refusals::default());
    }
}
