//! The program: the server, with the tools that this package was built with.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox_server::cli::main(&sandbox_mcp::CATALOG)
}
