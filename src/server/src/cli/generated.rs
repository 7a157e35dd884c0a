//! The commands `completions` and `man`: what packages install beside the program, made from the same definition of the
//! command line.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;

use crate::PROGRAM;
use crate::cli::args::CommandLine;
use crate::cli::run::OWN_FAILURE;

/// Prints the completion script of a shell.
pub fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::whole(), PROGRAM, &mut script);
    print(&script)
}

/// Prints the man page, or writes all of them into a directory.
pub fn man(directory: Option<&Path>) -> ExitCode {
    let written = match directory {
        Some(directory) => clap_mangen::generate_to(CommandLine::whole(), directory)
            .map_err(|error| format!("cannot write man pages into {}: {error}", directory.display())),
        None => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(CommandLine::whole()).render(&mut page) {
                Ok(()) => return print(&page),
                Err(error) => Err(format!("cannot make the man page: {error}")),
            }
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox-mcp: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// Prints to standard output. A reader that has closed it needs no more.
fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("sandbox-mcp: cannot write to standard output: {error}");
            ExitCode::from(OWN_FAILURE)
        }
        _ => ExitCode::SUCCESS,
    }
}
