//! Measuring for benches.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Server;

/// Returns whether a server runs calls in pinned environments. If it does not, prints that the bench is skipped, and why.
pub fn has_pinned_environments(server: &Server) -> bool {
    let tried = server.call("shell", json!({"main_sh": "true"}));
    if tried.is_error() {
        println!("skipped: a server with pinned environments is needed; set SANDBOX_MCP_BIN to one: {}", tried.text());
    }
    !tried.is_error()
}

pub fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
