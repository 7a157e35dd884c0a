//! The log, which goes to standard error: standard output is the protocol's or the program's.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::{env, io, panic};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::cli::log_queue::LogQueue;

/// The variable that says what is logged.
const VARIABLE: &str = "SANDBOX_MCP_LOG";

/// What is logged while a client is served. rmcp logs whole requests below the level of a warning, and as warnings of its
/// service what clients do wrong, which the log of calls tells.
const SERVING: &str = "info,rmcp=warn,rmcp::service=error";

/// What is logged by a command, whose output is for the person who started it.
const COMMAND: &str = "warn";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    /// A JSON object in each line.
    Json,
}

/// Writes what is left of the log when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct LogGuard(Option<LogQueue>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.flush();
        }
    }
}

/// Begins to log. A wrong value of the variable is told and otherwise ignored: it must not keep a server from starting.
///
/// A server does not wait for the reader of its log.
pub fn begin(is_serving: bool, format: LogFormat) -> LogGuard {
    let usual = if is_serving { SERVING } else { COMMAND };
    let asked = env::var(VARIABLE).ok().filter(|asked| !asked.is_empty());
    let (filter, wrong) = match asked.as_deref().map(filter) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(reason)) => (EnvFilter::new(usual), Some(reason)),
        None => (EnvFilter::new(usual), None),
    };
    // Without a thread for it, each thread writes its own lines.
    let queue = if is_serving { LogQueue::start(io::stderr(), tell_dropped).ok() } else { None };
    let writer = match queue.clone() {
        Some(queue) => BoxMakeWriter::new(move || queue.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    // A line that cannot be written is lost: telling so would need the same stream.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    if let Some(reason) = wrong {
        tracing::warn!(
            "cannot read {VARIABLE}: {reason}; write a level (error, warn, info, debug, trace or off), or TARGET=LEVEL, \
             or several with commas in between"
        );
    }
    if queue.is_some() {
        // The usual hook writes to standard error by itself, and would wait there.
        panic::set_hook(Box::new(|panicked| {
            let trace = Backtrace::capture();
            match trace.status() {
                BacktraceStatus::Captured => tracing::error!("{panicked}\n{trace}"),
                _ => tracing::error!("{panicked}"),
            }
        }));
    }
    LogGuard(queue)
}

fn tell_dropped(lines: u64) {
    tracing::warn!("{lines} lines of this log were dropped, because nobody was reading them");
}

/// Parses the value of the variable. A single word must be a level: tracing would take it for a target, and then log nothing.
fn filter(asked: &str) -> Result<EnvFilter, String> {
    let is_word = |part: &&str| !part.is_empty() && !part.contains(['=', '[', ']', '{', '}']);
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    if let Some(word) = asked.split(',').map(str::trim).filter(is_word).find(|word| !is_level(word)) {
        return Err(format!("`{word}` is not a level"));
    }
    EnvFilter::try_new(asked).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_takes_levels_and_targets_with_levels() {
        for asked in ["debug", "OFF", "info,rmcp=warn", "sandbox_mcp::call=off, warn", "3", "a[b{c}]=trace", SERVING] {
            assert!(filter(asked).is_ok(), "{asked}");
        }
    }

    #[test]
    fn filter_that_would_log_nothing_is_refused() {
        for (asked, reason) in [("bogus", "`bogus`"), ("info,verbose", "`verbose`"), ("rmcp=loud", ""), ("a[b", "")] {
            let error = filter(asked).expect_err(asked);
            assert!(error.contains(reason), "{asked}: {error}");
        }
    }
}
