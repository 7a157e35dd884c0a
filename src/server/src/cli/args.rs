//! The command line, parsed at the edge.

use std::env;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::builder::{FalseyValueParser, OsStr, Resettable};
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::PROGRAM;
use crate::call::catalog::Catalog;
use crate::call::choice::{self, ExecutorChoice, Remote};
use crate::call::options::OfferedOptions;
use crate::call::packages::NoPackages;
use crate::cli::given::Given;
use crate::cli::logging::LogFormat;
use crate::cli::server_info::ServerInfo;
use crate::runner::Options;

/// Runs code for AI agents in pinned Nix environments, isolated by Linux namespaces.
///
/// Without a command it serves MCP on standard input and output.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, about, args_conflicts_with_subcommands = true)]
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
    /// Return each result's data as structured content, and give each tool an output schema, for programs that read
    /// them. Many agents then show their model neither images nor files. Without this option, the data is in the result's
    /// `_meta`, as `sandbox-mcp/result`, without what was printed, which is the result's text.
    #[arg(
        long,
        env = "SANDBOX_MCP_STRUCTURED_RESULTS",
        value_parser = FalseyValueParser::new(),
        overrides_with = "structured_results"
    )]
    pub structured_results: bool,
    /// How the log on standard error is written: as text, or as a JSON object in each line.
    ///
    /// A call is one line. The variable SANDBOX_MCP_LOG says what is logged, as levels (`warn`) and targets with levels (`sandbox_mcp::call=off`).
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SANDBOX_MCP_LOG_FORMAT",
        default_value = "text",
        global = true,
        overrides_with = "log_format"
    )]
    pub log_format: LogFormat,
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a tool, with its output and exit status as those of this process.
    ///
    /// The exit status is the program's own. Otherwise it is 124 if its time was over, 125 if the call was not carried out, 128+N
    /// if signal N ended the program, 137 if it reached its limit of memory or processes, and 2 if this command line is wrong.
    Run {
        /// Name of the tool, as `list` shows it.
        tool: String,
        /// Files for the sandbox. The first one is the code to run, under any name; `-` reads it from standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A package to add to the tool's environment, as `packages` lists it. Can be repeated, or several with commas between.
        #[arg(short, long = "package", value_name = "PACKAGE", value_delimiter = ',')]
        packages: Vec<String>,
        /// Directory for the files that the program leaves in $OUT. It is created if it does not exist.
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        settings: Settings,
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
        /// Write the derivation and the call's files into one file instead, which `reproduce` reads on another machine, and
        /// `nix-store --import`, too.
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
        #[command(flatten)]
        settings: Settings,
    },
    /// List the packages that a call may ask for, in Markdown. The exit status is 1 if there are none.
    Packages {
        /// Print one JSON object instead: `server`, and the `packages` of each set in `sets`.
        #[arg(long)]
        json: bool,
    },
    /// Report what this machine offers, what is missing, and how to get it. The exit status is 0 if everything that this server
    /// offers can be had here, and 1 otherwise.
    Doctor {
        /// Print one JSON object: `server`, `works`, and in `sections` the `findings`, each with its `state`: `ok`, `missing`,
        /// `unneeded` or `broken`.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// List what keeps environments and packages from Nix's garbage collector, or let it go.
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

/// Of an option that is given twice the last one counts, so that a configuration can add to what a module writes.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// How programs are run. `auto` uses pinned environments if this server has them, with the executor that the tool's
    /// definition names, and this host's toolchains otherwise. `namespace` uses pinned environments only. `derivation`
    /// runs the same in Nix's build sandbox, and `derivation-cli` does so with Nix's commands. `direct` uses this host's
    /// toolchains. The files and the output of a call that Nix runs are in the store until shortly after the answer, and
    /// every user of this machine can read them there.
    #[arg(
        long,
        value_name = "EXECUTOR",
        env = "SANDBOX_MCP_EXECUTOR",
        default_value = "auto",
        value_parser = choice::parse,
        overrides_with = "executor"
    )]
    pub executor: ExecutorChoice,
    /// Stop every program after this many seconds. A tool's own limit still applies if it is lower.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), overrides_with = "timeout")]
    pub timeout: Option<u64>,
    /// How many programs run at the same time; further calls wait. [default: twice the number of cores]
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..),
        overrides_with = "calls_at_once"
    )]
    pub calls_at_once: Option<u16>,
    /// Run programs even on a host that can confine neither their files nor their network.
    #[arg(long, overrides_with = "allow_unconfined_execution")]
    pub allow_unconfined_execution: bool,
    /// Whether calls that Nix runs go to Nix's remote builders (`builders` in nix.conf): `off`, `prefer` (calls that a
    /// builder accepts) or `only` (all of them). Whoever can read a builder's store can read the files and the output of
    /// these calls. With `prefer`, a call with `cache` stays on this machine.
    #[arg(
        long,
        value_name = "WHICH",
        env = "SANDBOX_MCP_REMOTE_BUILDERS",
        default_value = "off",
        hide_possible_values = true,
        overrides_with = "remote_builders"
    )]
    pub remote_builders: Remote,
    /// Offer clients two more parameters of a call: `executor`, to have Nix carry it out, and `cache`, to be answered with
    /// what an earlier, identical call left in the store.
    #[arg(
        long,
        env = "SANDBOX_MCP_CALL_OPTIONS",
        value_parser = FalseyValueParser::new(),
        overrides_with = "call_options"
    )]
    pub call_options: bool,
    /// Do not offer clients the parameter `packages`, which adds packages to one call. Nix may have to download them first.
    #[arg(
        long,
        env = "SANDBOX_MCP_NO_PACKAGES",
        value_parser = FalseyValueParser::new(),
        overrides_with = "no_packages"
    )]
    pub no_packages: bool,
    /// Kept for older configurations: clients get neither `executor` and `cache` nor `packages`.
    #[arg(
        long,
        env = "SANDBOX_MCP_NO_CALL_OPTIONS",
        value_parser = FalseyValueParser::new(),
        overrides_with = "no_call_options",
        hide = true
    )]
    pub no_call_options: bool,
}

impl CommandLine {
    /// Reads this process's command line, and ends it if that is none. A variable that is empty is none, as if it were unset.
    pub fn read(catalog: &Catalog) -> Self {
        let mut command = without_empty_variables(Self::command());
        // What it says takes a moment to find out.
        if env::args_os().any(|argument| argument == "--version") {
            command = command.long_version(&*ServerInfo::of(catalog).line().leak());
        }
        let matches = command.get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::<OsStr>::Reset) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

impl Settings {
    pub fn options(&self) -> Options {
        let cores = available_parallelism().map_or(1, usize::from);
        Options {
            executor: self.executor,
            longest: self.timeout.map(Duration::from_secs),
            calls_at_once: self.calls_at_once.map_or(2 * cores, usize::from),
            ready: None,
            allow_unconfined: self.allow_unconfined_execution,
            remote: self.remote_builders,
            offered: OfferedOptions {
                executor: self.call_options && !self.no_call_options,
                packages: match self.no_packages || self.no_call_options {
                    true => Err(NoPackages::SwitchedOff),
                    false => Ok(()),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visible_option_has_help_of_its_own() {
        let mut command = CommandLine::command();
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
