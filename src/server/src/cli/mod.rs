//! The command line: which command is carried out by which module, and what they share.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime;
use tracing_subscriber::EnvFilter;

use crate::call::catalog::Catalog;
use crate::call::package_list;
use crate::mcp::stdio;
use crate::runner::{Options, Runner};

mod args;
mod build_all;
mod doctor;
mod generated;
mod list;
mod reproduce;
mod run;
mod surroundings;

use args::{Command, CommandLine, Settings};
use run::CliCall;

/// How long the runtime waits for its threads: a blocked read of standard input must not keep the process alive.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Carries out the command that the process was started with, by the tools of a catalog, and returns its exit status.
pub fn main(catalog: &'static Catalog) -> ExitCode {
    catalog.install();
    surroundings::settle();
    let line = CommandLine::read();
    log_to_stderr(if line.command.is_some() { "warn" } else { "info,rmcp=warn" });
    match line.command {
        Some(Command::List { settings }) => block_on(async { list::run(&Runner::new(settings.options())).await }),
        Some(Command::Packages) => packages(),
        Some(Command::Run { tool, files, packages, out, settings }) => {
            // After the one call nobody needs a sandbox.
            let options = Options { ready: Some(0), ..settings.options() };
            let call = CliCall { tool: &tool, files: &files, packages: &packages };
            block_on(async { run::run(call, out.as_deref(), Runner::new(options)).await })
        }
        Some(Command::ShowDerivation { tool, files, packages, export }) => {
            run::show_derivation(CliCall { tool: &tool, files: &files, packages: &packages }, export.as_deref())
        }
        Some(Command::Reproduce { tool, files, packages }) => {
            let call = CliCall { tool: &tool, files: &files, packages: &packages };
            block_on(async { reproduce::run(call, Runner::new(line.settings.options())).await })
        }
        Some(Command::Doctor { settings }) => block_on(async { doctor::run(&Runner::new(settings.options())).await }),
        Some(Command::Completions { shell }) => generated::completions(shell),
        Some(Command::Man { directory }) => generated::man(directory.as_deref()),
        None if line.build => block_on(async { build_all::run(Runner::new(line.settings.options())).await }),
        None if line.pull || line.force => {
            eprintln!("The sandboxes are compiled into this server, so there is nothing to fetch.");
            ExitCode::SUCCESS
        }
        None => serve(&line.settings, line.structured_results),
    }
}

fn serve(settings: &Settings, structured_results: bool) -> ExitCode {
    if io::stdin().is_terminal() {
        eprintln!(
            "Serving MCP on standard input and output: this is for a client to start. Try `sandbox-mcp --help`, or \
             `sandbox-mcp run shell -`."
        );
    }
    block_on(async {
        match stdio::serve(Runner::new(settings.options()), structured_results).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("sandbox-mcp: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

fn packages() -> ExitCode {
    if package_list::is_empty() {
        eprintln!("This server has no packages: they come with pinned environments, and it was built without Nix.");
        return ExitCode::FAILURE;
    }
    print!("{}", package_list::markdown());
    ExitCode::SUCCESS
}

fn block_on(future: impl Future<Output = ExitCode>) -> ExitCode {
    // Calls wait for other processes, hardly ever for a thread of this one.
    let runtime = match runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sandbox-mcp: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    code
}

/// Standard output is the protocol's or the program's. rmcp logs whole requests below the level of a warning.
fn log_to_stderr(usual: &str) {
    let asked = std::env::var("SANDBOX_MCP_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = asked.and_then(|asked| EnvFilter::try_new(asked).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
}
