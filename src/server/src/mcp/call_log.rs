//! One line in the log for each call: what an operator wants to know of it, and nothing of what the program read or printed.

use std::time::Instant;

use crate::call::outcome::{Ending, Outcome};
use crate::mcp::answer::signal_name;
use crate::runner::error::RunError;

/// The target of these lines, by which `SANDBOX_MCP_LOG` names them.
pub const TARGET: &str = "sandbox_mcp::call";

/// The most characters of an error, or of a name that no tool has.
const MAX_CHARACTERS: usize = 300;

/// A call that is being carried out. If it is dropped before its end was told, it was cancelled.
pub struct CallLog<'a> {
    tool: &'a str,
    begun: Instant,
    is_told: bool,
}

/// How a call ended, in the fields of its line. Those that are `None` are left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct CallEnd {
    /// One of `exited`, `signalled`, `timed-out`, `over-limit`, `not-run`, `refused`, `failed` and `cancelled`.
    end: &'static str,
    exit_code: Option<i32>,
    signal: Option<String>,
    /// The limit that was met.
    limit: Option<String>,
    executor: Option<&'static str>,
    /// Whether this is the result of an earlier call.
    cached: Option<bool>,
}

impl<'a> CallLog<'a> {
    pub fn begin(tool: &'a str) -> Self {
        Self { tool, begun: Instant::now(), is_told: false }
    }

    /// Tells of a program that ran to its end, or until it was ended. `seconds` is its time limit.
    pub fn ended(mut self, outcome: &Outcome, seconds: u64) {
        self.info(&CallEnd::of(outcome, seconds));
    }

    /// Tells of a call that makes no sense, which is the client's mistake. The reason quotes the client, so it is not logged.
    pub fn refused(mut self) {
        self.info(&CallEnd { end: "refused", ..CallEnd::default() });
    }

    /// Tells of a call that could not be carried out.
    pub fn failed(mut self, error: &RunError) {
        if error.is_cancelled() {
            // It is told when this is dropped.
            return;
        }
        self.is_told = true;
        let (tool, ms, error) = (self.tool, self.milliseconds(), in_one_line(&error.to_string()));
        tracing::warn!(target: TARGET, tool, ms, end = "failed", error, "call");
    }

    fn info(&mut self, CallEnd { end, exit_code, signal, limit, executor, cached }: &CallEnd) {
        self.is_told = true;
        let (tool, ms) = (in_one_line(self.tool), self.milliseconds());
        let (signal, limit) = (signal.as_deref(), limit.as_deref());
        tracing::info!(target: TARGET, tool, ms, end, exit_code, signal, limit, executor, cached, "call");
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for CallLog<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.info(&CallEnd { end: "cancelled", ..CallEnd::default() });
        }
    }
}

impl CallEnd {
    fn of(outcome: &Outcome, seconds: u64) -> Self {
        let executor = Some(outcome.executor.name());
        let known = Self { executor, cached: outcome.result.cached.then_some(true), ..Self::default() };
        match outcome.result.ending {
            Ending::Exited { code } => Self { end: "exited", exit_code: Some(code), ..known },
            Ending::Signalled { signal } => Self { end: "signalled", signal: Some(signal_name(signal)), ..known },
            Ending::TimedOut => Self { end: "timed-out", limit: Some(format!("{seconds} seconds")), ..known },
            Ending::OverLimit { limit } => Self { end: "over-limit", limit: Some(limit.to_string()), ..known },
            Ending::Unready => Self { end: "not-run", ..known },
        }
    }
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_several_lines_become_one_that_is_short() {
        assert_eq!(in_one_line("error:\n  no group\tnixbld\n"), "error: no group nixbld");
        assert_eq!(in_one_line(&"é ".repeat(1000)).chars().count(), MAX_CHARACTERS);
    }
}
