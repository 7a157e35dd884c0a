//! The command line, parsed at the edge.

use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};

use crate::call::choice::{Choice, Remote};
use crate::call::options::OfferedOptions;
use crate::runner::Options;

/// Runs code for AI agents in pinned Nix environments, isolated by Linux namespaces.
///
/// Without a command it serves MCP on standard input and output.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// Serve MCP on standard input and output, which is also what happens without any argument.
    #[arg(long)]
    pub stdio: bool,
    /// Realise every environment ahead of its first use, then exit.
    #[arg(long, conflicts_with = "stdio")]
    pub build: bool,
    /// Kept for older configurations: sandboxes are compiled in, so there is nothing to fetch.
    #[arg(long, conflicts_with_all = ["stdio", "build"])]
    pub pull: bool,
    /// Kept for older configurations, where it went with --pull.
    #[arg(long)]
    pub force: bool,
    /// Give each result's data as structured content and each tool an output schema, for programs that read them. Many
    /// agents show their model nothing else of such a result: neither images nor files. Without this, the data is in the
    /// result's `_meta`, as `sandbox-mcp/result`.
    #[arg(long, env = "SANDBOX_MCP_STRUCTURED_RESULTS", value_parser = FalseyValueParser::new())]
    pub structured_results: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a tool; its output and exit status become those of this process.
    Run {
        /// Name of the tool, as `list` shows it.
        tool: String,
        /// Files for the sandbox, the code to run first, whatever that is called; `-` reads it from standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A package that the program needs besides the tool's environment, as `packages` shows it; any number of them.
        #[arg(short, long = "package", value_name = "PACKAGE")]
        packages: Vec<String>,
        /// Directory for the files that the program leaves in $OUT; it is made if it is missing.
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print the derivation that a call of a tool is: the text of its .drv file, whose path is told on standard error.
    ShowDerivation {
        /// Name of the tool, as `list` shows it.
        tool: String,
        /// Files for the sandbox, as for `run`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A package, as for `run`.
        #[arg(short, long = "package", value_name = "PACKAGE")]
        packages: Vec<String>,
        /// Write the receipt into a file, with those files of the call that the derivation does not hold itself, for
        /// `reproduce` on another machine. `nix-store --import` reads it, too.
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
    },
    /// Realise a call's derivation, run the same once more, and tell whether it did the same.
    Reproduce {
        /// Name of the tool; or, without files, a receipt: a .drv file, in the store or as `show-derivation` prints it, or
        /// what that has exported.
        #[arg(value_name = "TOOL|RECEIPT")]
        tool: String,
        /// Files for the sandbox, as for `run`.
        files: Vec<PathBuf>,
        /// A package, as for `run`.
        #[arg(short, long = "package", value_name = "PACKAGE")]
        packages: Vec<String>,
    },
    /// List the tools that can be called on this machine, and why others cannot.
    List {
        #[command(flatten)]
        settings: Settings,
    },
    /// List the packages that a call may ask for, in Markdown.
    Packages,
    /// Tell what this machine offers, what is missing, and how to get it.
    Doctor {
        #[command(flatten)]
        settings: Settings,
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

#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// How programs are carried out: auto (pinned environments where this server has them, by the executor that a tool's
    /// definition names, if it names one; or else this host's toolchains), or for every tool namespace (pinned
    /// environments only), derivation (the same, by Nix in its build sandbox), derivation-cli (by Nix's commands) or
    /// direct (this host's toolchains). What a call by Nix holds, prints and leaves is in the store until shortly after
    /// its answer, where every user of this machine can read it.
    #[arg(long, value_name = "EXECUTOR", env = "SANDBOX_MCP_EXECUTOR", default_value = "auto")]
    pub executor: Choice,
    /// The longest time that any program may run; each tool has a limit of its own besides.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// How many programs run at once; further calls wait. [default: twice the number of cores]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub calls_at_once: Option<u16>,
    /// Run programs on a host that can wall off neither their files nor their network.
    #[arg(long)]
    pub allow_unconfined_execution: bool,
    /// Whether calls that Nix carries out go to the remote builders that it is configured with (`builders` in nix.conf):
    /// off, prefer (those that such a builder takes), or only (all of them). Where the Nix store of a builder can be read,
    /// so can what those calls hold, print and leave. A call with `cache` stays here under prefer.
    #[arg(
        long,
        value_name = "WHICH",
        env = "SANDBOX_MCP_REMOTE_BUILDERS",
        default_value = "off",
        hide_possible_values = true
    )]
    pub remote_builders: Remote,
    /// Take no `executor`, `cache` and `packages` arguments, by which a client has one call carried out by Nix, answered
    /// with what an earlier call has left in the store, or given packages that Nix may have to fetch first.
    #[arg(long, env = "SANDBOX_MCP_NO_CALL_OPTIONS", value_parser = FalseyValueParser::new())]
    pub no_call_options: bool,
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
            offered: OfferedOptions { executor: !self.no_call_options, packages: !self.no_call_options },
        }
    }
}
