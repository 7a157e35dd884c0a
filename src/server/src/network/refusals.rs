//! What was refused to a sandbox, to be told with its result so that nobody tries again.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use sandbox_manifest::address::Block;

/// How many different refusals are kept; the rest is counted.
const MOST_KEPT: usize = 20;
/// As many characters as a proper name may have; another may be of any length.
const LONGEST_SHOWN: usize = 253;

/// A connection that was not made.
#[derive(Debug)]
pub struct Refusal {
    /// As the program gave it.
    pub host: String,
    /// None: it came no further than asking for the host's address.
    pub port: Option<u16>,
    pub reason: Reason,
}

#[derive(Debug)]
pub enum Reason {
    NotListed,
    /// All addresses that the name resolves to are such; this is the first one's block.
    Address(&'static Block),
    /// The name resolves to this machine.
    OwnMachine,
    /// The sandbox has asked for too many names.
    Exhausted,
    /// Outside, the name could not be resolved.
    Unresolved(io::Error),
    /// Outside, there was no connection.
    Unreachable(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection to {}", shown(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.reason {
            Reason::NotListed => f.write_str(" was refused: not on the allow-list"),
            // The address itself is nothing that a sandbox should learn.
            Reason::Address(block) => write!(f, " was refused: the name leads to {block}"),
            Reason::OwnMachine => f.write_str(" was refused: the name leads to the machine of the sandbox"),
            Reason::Exhausted => f.write_str(" was refused: the sandbox has asked for too many names"),
            Reason::Unresolved(error) => write!(f, " failed: the name could not be resolved: {error}"),
            Reason::Unreachable(error) => write!(f, " failed: {error}"),
        }
    }
}

/// A name as it can be shown to people and models: printable, on one line, and not too long.
fn shown(host: &str) -> String {
    let printable: String = host.chars().flat_map(char::escape_default).take(LONGEST_SHOWN + 1).collect();
    match printable.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &printable[..end]),
        None => printable,
    }
}

/// Collects refusals while a sandbox lives.
#[derive(Debug, Default)]
pub struct Record(Mutex<Refusals>);

/// The different refusals, in the order in which they came first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// A sentence for each.
    pub kept: Vec<String>,
    /// How many more there were, repetitions of these included.
    pub left_out: u64,
}

impl Refusals {
    /// What is kept, and a last line that counts the rest.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.left_out > 0).then(|| format!("and {} more", self.left_out));
        self.kept.iter().cloned().chain(more)
    }
}

impl Record {
    pub fn add(&self, refusal: &Refusal) {
        let text = refusal.to_string();
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.kept.contains(&text) {
            return;
        }
        if refusals.kept.len() < MOST_KEPT {
            refusals.kept.push(text);
        } else {
            refusals.left_out += 1;
        }
    }

    /// What was collected up to now.
    pub fn take(&self) -> Refusals {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox_manifest::address;

    fn refusal(host: &str, port: Option<u16>, reason: Reason) -> Refusal {
        Refusal { host: host.into(), port, reason }
    }

    #[test]
    fn a_refusal_names_the_host_the_port_and_the_reason() {
        let private = address::refused([10, 0, 0, 1].into()).unwrap();
        for (refusal, text) in [
            (
                refusal("a.org", Some(443), Reason::NotListed),
                "connection to a.org:443 was refused: not on the allow-list",
            ),
            (refusal("a.org", None, Reason::NotListed), "connection to a.org was refused: not on the allow-list"),
            (
                refusal("a.org", Some(1), Reason::Address(private)),
                "connection to a.org:1 was refused: the name leads to a private address (RFC 1918)",
            ),
            (
                refusal("a.org", Some(1), Reason::Unreachable(io::ErrorKind::ConnectionRefused.into())),
                "connection to a.org:1 failed: connection refused",
            ),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }

    #[test]
    fn a_name_that_is_none_is_shown_on_one_short_line() {
        let host = format!("a\n\u{1b}[2J\u{202e}{}", "x".repeat(900));
        let text = refusal(&host, None, Reason::NotListed).to_string();
        assert!(
            text.starts_with("connection to a\\n\\u{1b}[2J\\u{202e}xxx") && text.contains("x… was refused"),
            "{text}"
        );
        assert!(text.chars().all(|character| character == '…' || (' '..='~').contains(&character)) && text.len() < 320);
    }

    #[test]
    fn equal_refusals_are_told_once_and_only_so_many_are_kept() {
        let record = Record::default();
        for _ in 0..3 {
            for index in 0..30 {
                record.add(&refusal(&format!("h{index}.org"), Some(443), Reason::NotListed));
            }
        }
        let refusals = record.take();
        assert_eq!(refusals.kept.len(), MOST_KEPT);
        assert_eq!(refusals.kept[0], "connection to h0.org:443 was refused: not on the allow-list");
        assert_eq!(refusals.left_out, 30);
        assert_eq!(record.take(), Refusals::default());
    }
}
