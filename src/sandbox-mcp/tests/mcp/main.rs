//! The server over MCP: what it does with bad input, with hostile programs, and when somebody leaves.
//!
//! `SANDBOX_MCP_BIN` names the server, if not the one that cargo built. The server takes its executor from
//! `SANDBOX_MCP_EXECUTOR`, as ever.

mod arguments;
mod calls;
mod command_line;
mod endings;
mod few_tools;
mod floods;
mod ids;
mod inputs;
mod leaks;
mod lines;
mod log;
mod network;
mod operator;
mod packages;
mod programs;
mod protocol;
mod sessions;
mod settings;
mod snapshot;
mod surroundings;
mod tools;
mod unread_log;
mod user_sandboxes;

use test_support::client::Server;

/// Which executor the server is told to take, if any.
fn executor() -> Option<String> {
    std::env::var("SANDBOX_MCP_EXECUTOR").ok().filter(|name| name != "auto")
}

/// Whether Nix carries calls out: it captures what programs print, and its build sandbox has no network.
fn is_by_nix() -> bool {
    executor().is_some_and(|name| name.starts_with("derivation"))
}

/// A server with an open session.
fn server() -> Server {
    Server::ready(&[])
}
