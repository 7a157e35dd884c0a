//! The command line: which command is carried out by which module, and what they share.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime;

use crate::call::catalog::Catalog;
use crate::mcp::stdio;
use crate::nix::realise::Realiser;
use crate::runner::{Options, Runner};

mod args;
mod build_all;
mod doctor;
mod generated;
mod given;
mod list;
mod log_queue;
mod logging;
mod output;
mod packages;
mod reproduce;
mod roots;
mod run;
mod server_info;
mod settings;
mod surroundings;

use args::{Command, CommandLine};
use roots::Dropped;
use run::{CliCall, OWN_FAILURE};
use settings::{Settings, in_force};

/// How long the runtime waits for its threads: a blocked read of standard input must not keep the process alive.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Carries out the command that the process was started with, by the tools of a catalog, and returns its exit status.
pub fn main(catalog: &'static Catalog) -> ExitCode {
    surroundings::settle();
    let line = CommandLine::read(catalog);
    let is_serving = line.command.is_none();
    match line.command {
        Some(Command::Completions { shell }) => return generated::completions(shell),
        Some(Command::Man { directory }) => return generated::man(directory.as_deref()),
        _ => {}
    }
    let settings = match line.settings.with_file() {
        Ok(settings) => settings,
        Err(error) => return failure(&error),
    };
    let _log = logging::begin(is_serving, settings.log_format());
    if let Err(error) = in_force(&settings, catalog) {
        return failure(&error);
    }
    match line.command {
        Some(Command::List { json }) => block_on(async { list::run(&Runner::new(settings.options()), json).await }),
        Some(Command::Packages { json }) => packages::run(json),
        Some(Command::Run { tool, files, packages, out, given }) => {
            // After the one call nobody needs a sandbox.
            let options = Options { ready: Some(0), ..settings.options() };
            let call = CliCall { tool: &tool, files: &files, packages: &packages, given: &given };
            block_on(async { run::run(call, out.as_deref(), Runner::new(options)).await })
        }
        Some(Command::ShowDerivation { tool, files, packages, export, given }) => {
            let call = CliCall { tool: &tool, files: &files, packages: &packages, given: &given };
            run::show_derivation(call, export.as_deref())
        }
        Some(Command::Reproduce { tool, files, packages, given }) => {
            let call = CliCall { tool: &tool, files: &files, packages: &packages, given: &given };
            block_on(async { reproduce::run(call, Runner::new(settings.options())).await })
        }
        Some(Command::Doctor { json }) => {
            block_on(async { doctor::run(&Runner::new(settings.options()), &settings, json).await })
        }
        Some(Command::Roots { drop, all, names, json }) => {
            let dropped = drop.then_some(if all { Dropped::All } else { Dropped::Named(&names) });
            roots::run(&Realiser::from_environment(), dropped, json)
        }
        Some(Command::Completions { .. } | Command::Man { .. }) => unreachable!("they were carried out before"),
        None if line.build => block_on(async { build_all::run(Runner::new(settings.options())).await }),
        None if line.pull || line.force => {
            eprintln!("The sandboxes are compiled into this server, so there is nothing to fetch.");
            ExitCode::SUCCESS
        }
        None => serve(&settings),
    }
}

/// Says why nothing was begun.
fn failure(error: &dyn fmt::Display) -> ExitCode {
    eprintln!("sandbox-mcp: {error}");
    ExitCode::from(OWN_FAILURE)
}

fn serve(settings: &Settings) -> ExitCode {
    if io::stdin().is_terminal() {
        eprintln!(
            "Serving MCP on standard input and output; normally a client starts this. Try `sandbox-mcp --help`, or \
             `sandbox-mcp run shell -`."
        );
    }
    block_on(async {
        match stdio::serve(Runner::new(settings.options()), settings.has_structured_results()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Not by `eprintln!`, which waits if nobody reads.
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    })
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
