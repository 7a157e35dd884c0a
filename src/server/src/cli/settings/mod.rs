//! The operator's settings: options of the command line, of which some are environment variables, too, and keys of a
//! configuration file. Options override variables, variables override the file, and the file overrides a tool's definition.

use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Args;
use clap::builder::FalseyValueParser;

use crate::call::choice::{self, ExecutorChoice, Remote};
use crate::call::limits::LimitSetting;
use crate::call::options::OfferedOptions;
use crate::call::overrides::{AllowSetting, Overrides};
use crate::call::packages::NoPackages;
use crate::cli::logging::LogFormat;
use crate::runner::Options;

mod config_file;
mod directory;
mod in_force;

pub use in_force::in_force;

// Of an option that is given twice the last one counts, so that a configuration can add to what a module writes. A
// documentation comment here would take the place of the commands' own.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Read further settings from this file.
    ///
    /// It is TOML, and each setting is a key of it: `timeout = 120`, or `limit.python.timeout = 300`. Options and variables
    /// override it. [default: sandbox-mcp/config.toml in $XDG_CONFIG_HOME or ~/.config, if it exists]
    #[arg(long, value_name = "FILE", env = "SANDBOX_MCP_CONFIG", overrides_with = "config")]
    pub config: Option<PathBuf>,
    /// How programs are run: auto, namespace, derivation, derivation-cli or direct.
    ///
    /// `auto`, the default, uses pinned environments if this server has them, with the executor that the tool's definition
    /// names, and this host's toolchains otherwise. `namespace` uses pinned environments only. `derivation` runs the same in
    /// Nix's build sandbox, and `derivation-cli` does so with Nix's commands. `direct` uses this host's toolchains. The files
    /// and the output of a call that Nix runs are in the store until shortly after the answer, and every user of this
    /// machine can read them there.
    #[arg(
        long,
        value_name = "EXECUTOR",
        env = "SANDBOX_MCP_EXECUTOR",
        value_parser = choice::parse,
        overrides_with = "executor"
    )]
    pub executor: Option<ExecutorChoice>,
    /// Set a limit of one tool, higher or lower than its own: python.timeout=300. Can be repeated.
    ///
    /// The limits are `timeout` (seconds), `memory` and `disk` (MB; files are kept in memory, and take half of it at most
    /// unless `disk` says otherwise), `processes`, `cpu` (cores) and `files` (open files of one process).
    #[arg(long = "limit", value_name = "TOOL.KEY=VALUE")]
    pub limits: Vec<LimitSetting>,
    /// Let one tool connect to a host and port: python=api.example.org:443. Can be repeated.
    ///
    /// It has network access to these and to those that its definition lists. `*.example.org:443` stands for all names below
    /// a domain.
    #[arg(long = "allow", value_name = "TOOL=HOST:PORT")]
    pub allowed: Vec<AllowSetting>,
    /// Stop every program after this many seconds, if its tool's own limit is not lower.
    ///
    /// It never raises a limit: `--limit TOOL.timeout=SECONDS` does.
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
    #[arg(
        long,
        value_name = "BOOL",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = FalseyValueParser::new(),
        overrides_with = "allow_unconfined_execution"
    )]
    pub allow_unconfined_execution: Option<bool>,
    /// Whether calls that Nix runs go to Nix's remote builders: off, prefer or only.
    ///
    /// These are the `builders` in nix.conf. `off` is the default; with `prefer`, calls that a builder accepts go there, and
    /// with `only`, all of them. Anyone who can read a builder's store can read the files and the output of these calls. With
    /// `prefer`, a call with `cache` stays on this machine.
    #[arg(
        long,
        value_name = "MODE",
        env = "SANDBOX_MCP_REMOTE_BUILDERS",
        hide_possible_values = true,
        overrides_with = "remote_builders"
    )]
    pub remote_builders: Option<Remote>,
    /// Offer clients the parameters `executor` and `cache` of a call.
    ///
    /// `executor` has Nix carry the call out, and `cache` has it answered with what an earlier, identical call left in the
    /// store.
    #[arg(
        long,
        env = "SANDBOX_MCP_CALL_OPTIONS",
        value_name = "BOOL",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = FalseyValueParser::new(),
        overrides_with = "call_options"
    )]
    pub call_options: Option<bool>,
    /// Do not offer clients the parameter `packages` of a call.
    ///
    /// It adds packages to one call. Nix may have to download them first.
    #[arg(
        long,
        env = "SANDBOX_MCP_NO_PACKAGES",
        value_name = "BOOL",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = FalseyValueParser::new(),
        overrides_with = "no_packages"
    )]
    pub no_packages: Option<bool>,
    /// Kept for older configurations: clients get neither `executor` and `cache` nor `packages`.
    #[arg(
        long,
        env = "SANDBOX_MCP_NO_CALL_OPTIONS",
        value_name = "BOOL",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = FalseyValueParser::new(),
        overrides_with = "no_call_options",
        hide = true
    )]
    pub no_call_options: Option<bool>,
    /// Return each result's data as structured content, for programs that read it.
    ///
    /// Each tool has an output schema then. Many agents then show their model neither images nor files. Without this option,
    /// the data is in the result's `_meta`, as `sandbox-mcp/result`, without what was printed, which is the result's text.
    #[arg(
        long,
        env = "SANDBOX_MCP_STRUCTURED_RESULTS",
        value_name = "BOOL",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = FalseyValueParser::new(),
        overrides_with = "structured_results"
    )]
    pub structured_results: Option<bool>,
    /// How the log on standard error is written: text, or json for a JSON object in each line.
    ///
    /// A call is one line. The variable SANDBOX_MCP_LOG says what is logged, as levels (`warn`) and targets with levels
    /// (`sandbox_mcp::call=off`).
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SANDBOX_MCP_LOG_FORMAT",
        hide_possible_values = true,
        overrides_with = "log_format"
    )]
    pub log_format: Option<LogFormat>,
}

impl Settings {
    /// Returns these settings, and those of `other` that are not among them. Settings of single tools add up.
    pub fn or(self, other: Self) -> Self {
        Self {
            config: self.config.or(other.config),
            executor: self.executor.or(other.executor),
            limits: [other.limits, self.limits].concat(),
            allowed: [other.allowed, self.allowed].concat(),
            timeout: self.timeout.or(other.timeout),
            calls_at_once: self.calls_at_once.or(other.calls_at_once),
            allow_unconfined_execution: self.allow_unconfined_execution.or(other.allow_unconfined_execution),
            remote_builders: self.remote_builders.or(other.remote_builders),
            call_options: self.call_options.or(other.call_options),
            no_packages: self.no_packages.or(other.no_packages),
            no_call_options: self.no_call_options.or(other.no_call_options),
            structured_results: self.structured_results.or(other.structured_results),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// Returns the settings of single tools.
    fn overrides(&self) -> Overrides {
        Overrides { limits: self.limits.clone(), allowed: self.allowed.clone() }
    }

    /// Returns whether results carry structured content.
    pub fn has_structured_results(&self) -> bool {
        self.structured_results.unwrap_or(false)
    }

    /// Returns how the log is written.
    pub fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or(LogFormat::Text)
    }

    pub fn options(&self) -> Options {
        let cores = available_parallelism().map_or(1, usize::from);
        let no_call_options = self.no_call_options.unwrap_or(false);
        Options {
            executor: self.executor.flatten(),
            calls_at_once: self.calls_at_once.map_or(2 * cores, usize::from),
            ready: None,
            allow_unconfined: self.allow_unconfined_execution.unwrap_or(false),
            remote: self.remote_builders.unwrap_or(Remote::Off),
            offered: OfferedOptions {
                executor: self.call_options.unwrap_or(false) && !no_call_options,
                packages: match self.no_packages.unwrap_or(false) || no_call_options {
                    true => Err(NoPackages::SwitchedOff),
                    false => Ok(()),
                },
            },
        }
    }
}
