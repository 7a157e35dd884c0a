//! The server over MCP: what it does with bad input, with hostile programs, and when somebody leaves.
//!
//! `SANDBOX_MCP_BIN` names the server, if not the one that cargo built. The server takes its executor from
//! `SANDBOX_MCP_EXECUTOR`, as ever.

#[path = "../client.rs"]
#[allow(dead_code)] // Other tests use more of it.
mod client;
#[path = "../schema.rs"]
mod schema;

mod arguments;
mod calls;
mod command_line;
mod endings;
mod floods;
mod leaks;
mod lines;
mod network;
mod programs;
mod protocol;
mod sleeper;

use client::Server;

/// A server with an open session.
fn server() -> Server {
    Server::ready(&[])
}
