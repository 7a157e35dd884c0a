//! The command line, parsed at the edge.

use std::env;
use std::path::PathBuf;

use clap::builder::{OsStr, Resettable};
use clap::error::ErrorKind;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::PROGRAM;
use crate::call::catalog::Catalog;
use crate::cli::given::Given;
use crate::cli::server_info::ServerInfo;
use crate::cli::settings::Settings;

/// Runs code for AI agents in pinned Nix environments, isolated by Linux namespaces.
///
/// Without a command it serves MCP on standard input and output. Settings are accepted before and after a command.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version)]
pub struct CommandLine {
    /// Serve MCP on standard input and output, which is the default.
    #[arg(long, overrides_with = "stdio")]
    pub stdio: bool,
    /// Build or download every environment now instead of at its first use, then exit.
    #[arg(long, conflicts_with = "stdio")]
    pub build: bool,
    /// Do nothing: sandboxes are compiled in. Kept for older configurations.
    #[arg(long, conflicts_with_all = ["stdio", "build"], hide_short_help = true)]
    pub pull: bool,
    /// Do nothing. Kept for older configurations, which use it with --pull.
    #[arg(long, hide_short_help = true)]
    pub force: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a tool, with its output and exit status as those of this process.
    ///
    /// The exit status is the program's own. Otherwise it is 124 if the program ran out of time, 125 if the call could not be
    /// run, 128+N if signal N ended the program, 137 if it reached its limit of memory or processes, and 2 if this command
    /// line is wrong.
    Run {
        /// Name of the tool, as `list` shows it.
        tool: String,
        /// Files for the sandbox. The first one is the code to run, under any name; `-` reads it from standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A package to add to the tool's environment, as `packages` lists it. Repeatable; separate several with commas.
        #[arg(short, long = "package", value_name = "PACKAGE", value_delimiter = ',')]
        packages: Vec<String>,
        /// Directory for the files that the program leaves in $OUT. It is created if it does not exist.
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
        #[command(flatten)]
        given: Given,
    },
    /// Print the derivation of a call: the text of its .drv file. The path of that file goes to standard error.
    ShowDerivation {
        /// Name of the tool, as `list` shows it.
        tool: String,
        /// Files for the sandbox, as for `run`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A package, as for `run`.
        #[arg(short, long = "package", value_name = "PACKAGE", value_delimiter = ',')]
        packages: Vec<String>,
        /// Write the derivation and the call's files into one file instead, for `reproduce` or `nix-store --import` on another
        /// machine.
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
        #[command(flatten)]
        given: Given,
    },
    /// Run a call twice by Nix and compare the results.
    Reproduce {
        /// Name of the tool, or, without files, a receipt: a .drv file, in the store or as `show-derivation` prints it, or
        /// a file that `show-derivation --export` wrote.
        #[arg(value_name = "TOOL|RECEIPT")]
        tool: String,
        /// Files for the sandbox, as for `run`.
        files: Vec<PathBuf>,
        /// A package, as for `run`.
        #[arg(short, long = "package", value_name = "PACKAGE", value_delimiter = ',')]
        packages: Vec<String>,
        #[command(flatten)]
        given: Given,
    },
    /// List the tools that can be called on this machine, and why others cannot.
    List {
        /// Print one JSON object: `server`, and of each tool in `tools` whether it is `available`, and the `reason` if not.
        #[arg(long)]
        json: bool,
    },
    /// List the packages that a call may ask for, in Markdown. The exit status is 1 if there are none.
    Packages {
        /// Print one JSON object instead: `server`, and the `packages` of each set in `sets`.
        #[arg(long)]
        json: bool,
    },
    /// Report what this machine offers, what is missing, and how to get it. The exit status is 1 if anything is
    /// broken, and 0 otherwise.
    Doctor {
        /// Print one JSON object: `server`, `works`, and in `sections` the `findings`, each with its `state`: `ok`, `missing`,
        /// `unneeded` or `broken`.
        #[arg(long)]
        json: bool,
    },
    /// List or drop the roots that protect environments and packages from Nix's garbage collector.
    ///
    /// Each environment and each package that a call has used has a link in sandbox-mcp/gcroots below $XDG_STATE_HOME, so that
    /// it is not fetched again after a garbage collection. A later call makes a dropped one again.
    Roots {
        /// Drop the roots that are named, or all. `nix-collect-garbage` or `nix store gc` frees the space then.
        #[arg(long, requires = "which")]
        drop: bool,
        /// All roots.
        #[arg(long, requires = "drop", group = "which", conflicts_with = "names")]
        all: bool,
        /// Names of roots to drop, as this command lists them.
        #[arg(value_name = "NAME", requires = "drop", group = "which")]
        names: Vec<String>,
        /// Print one JSON object: the `directory`, and in `roots` the ones that there are, or that were dropped.
        #[arg(long)]
        json: bool,
    },
    /// Print a script that completes the command line in a shell.
    Completions {
        /// The shell that will read the script.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write the man pages of this program and of each command into a directory.
    Man {
        /// Directory for the man pages, which must exist.
        directory: Option<PathBuf>,
    },
}

impl CommandLine {
    /// Reads this process's command line, and exits if it is invalid. An empty variable counts
    /// as unset.
    pub fn read(catalog: &Catalog) -> Self {
        let mut command = without_empty_variables(Self::whole());
        // What it says takes a moment to find out.
        if env::args_os().any(|argument| argument == "--version") {
            command = command.long_version(&*ServerInfo::of(catalog).line().leak());
        }
        let matches = command.get_matches_mut();
        let read = Self::from_arg_matches(&matches).and_then(|line| {
            let after = match matches.subcommand() {
                Some((name, matches)) if has_settings(name) => Settings::from_arg_matches(matches)?,
                _ => Settings::default(),
            };
            Ok(Self { settings: after.or(line.settings), ..line })
        });
        let line = read.unwrap_or_else(|error| error.format(&mut command).exit());
        if let Some(flag) = line.command.as_ref().and(line.flag_of_serving()) {
            let message = format!("the argument '{flag}' cannot be used with a command");
            command.error(ErrorKind::ArgumentConflict, message).exit();
        }
        line
    }

    /// Returns the definition of the command line. Every command has the settings, too: clap's global arguments would lose
    /// what is said before a command of an option that can be repeated.
    pub fn whole() -> clap::Command {
        // A variable stands for an option before the command, so that it never overrides one.
        let without_variables = |arg: Arg| arg.env(Resettable::<OsStr>::Reset);
        Self::command().mut_subcommands(|command| match has_settings(command.get_name()) {
            true => Settings::augment_args(command).mut_args(without_variables),
            false => command,
        })
    }

    /// Returns the option, if there is one, that says what to do without a command.
    fn flag_of_serving(&self) -> Option<&'static str> {
        let flags = [(self.stdio, "--stdio"), (self.build, "--build"), (self.pull, "--pull"), (self.force, "--force")];
        flags.into_iter().find(|(is_given, _)| *is_given).map(|(_, flag)| flag)
    }
}

/// Returns whether a command's result depends on the settings.
fn has_settings(command: &str) -> bool {
    !["completions", "man"].contains(&command)
}

/// Removes each variable that is empty, which is as good as unset.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::<OsStr>::Reset) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visible_option_has_help_of_its_own() {
        let mut command = CommandLine::whole();
        command.build();
        let mut commands = vec![&command];
        commands.extend(command.get_subcommands());
        for command in commands {
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                assert!(option.get_help().is_some(), "{}: {} has no help", command.get_name(), option.get_id());
            }
        }
    }
}
