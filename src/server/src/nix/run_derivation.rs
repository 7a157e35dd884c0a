//! A call as a derivation: a pure function from sandbox, files and limits to the text of a `.drv` file.
//!
//! The derivation names everything that decides what the program does, so its store path is the call's receipt:
//! everybody with the same environment and the same builder can realise it again. It is the same on every machine whose
//! server was built from the same manifest with the same launcher, byte for byte, as servers are that Nix built.
//!
//! # What the builder finds
//!
//! The builder is the launcher, by a store path of its own ([`builder_path`]). Nix starts it with
//!
//! - as its arguments, the command;
//! - with these environment variables, in addition to Nix's own:
//!
//! | variable | value |
//! |---|---|
//! | those of [`CallVariables`] | the call |
//! | `out` | where to write the result |
//!
//! Files and the standard input are given by a store path if Nix would not pass them on unchanged, or if they are large (see
//! [`StoredInputs::fits_inline`]).
//!
//! The inputs are the builder, the outputs of the environment and of the packages, and that path, as sources: they must
//! be valid before the derivation is added to a store. The environment's own derivation is not an input, because Nix
//! would traverse everything that it was built from, which costs more than the run. The server realises that derivation
//! first.
//!
//! With `preferLocalBuild`, Nix does not ask its build hook; runs that may go to remote builders lack it. Without
//! `allowSubstitutes`, no binary cache is asked for outputs that none can have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use sandbox_plan::variables::{CallInputs, CallVariables, encode_bool};

use crate::call::definition::{Environment, Network, Sandbox};
use crate::call::file::File;
use crate::call::packages::Packages;
use crate::call::program_input::ProgramInput;
use crate::call::stored_inputs::StoredInputs;
use crate::sandbox::launch::LAUNCHER;
use crate::sandbox::plan::services;
use crate::sandbox::view::{Origin, View};
use nix_store::derivation::{Derivation, DerivationOutput};
use nix_store::hash::{derivation_path, fill_outputs, source_path};
use nix_store::nar::Node;
use nix_store::store_path::{StorePath, StorePathError};

/// The name of the launcher in the store.
const BUILDER_NAME: &str = "sandbox-launcher";
/// What the derivation of a call is made of.
#[derive(Debug, Clone, Copy)]
pub struct DerivationInputs<'a> {
    /// The platform of the environment as Nix names it, such as `x86_64-linux`.
    pub system: &'a str,
    pub sandbox: &'a Sandbox,
    pub environment: &'a Environment,
    pub packages: &'a Packages,
    /// The store path of the launcher.
    pub builder: &'a StorePath,
    pub files: &'a [File],
    pub input: &'a ProgramInput,
    /// The time limit of the call, which is the sandbox's own unless it names another one.
    pub timeout: Duration,
}

/// What tells the runs of one call apart.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions<'a> {
    /// The longest time that the program may run. It is rounded up to seconds.
    pub deadline: Duration,
    /// `Some` makes the derivation unique, so that Nix does not reuse an earlier result. The receipt has no nonce.
    pub nonce: Option<&'a str>,
    /// Whether Nix may have a remote builder carry out the run. It may not for the receipt.
    pub remote: bool,
}

/// The derivation of a call without its [`RunOptions`]. Its files, which may be many megabytes, are hashed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDerivation {
    /// With the call's own time limit and without a nonce.
    call: CallVariables,
    /// Without variables and output paths.
    derivation: Derivation,
    stored: Option<StorePath>,
}

/// The derivation of one run, ready to be added to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDerivation {
    /// The path of the `.drv` file. That of the receipt is what an answer names.
    pub path: StorePath,
    /// The output path.
    pub out: StorePath,
    /// The content of the `.drv` file.
    pub text: String,
    /// The paths that the `.drv` file refers to, which must be valid before it is added.
    pub references: BTreeSet<StorePath>,
    /// The store path of the call's [`StoredInputs`], if the derivation does not hold them itself.
    pub stored: Option<StorePath>,
}

impl DerivationInputs<'_> {
    /// Computes the derivation. Nothing is read or written.
    ///
    /// # Errors
    ///
    /// The path of the environment or of a package is not a store path. This does not happen with a sandbox of the tool
    /// table.
    pub fn derive(&self) -> Result<CallDerivation, StorePathError> {
        let environment = StorePath::parse(self.environment.out)?;
        let mut input_sources = BTreeSet::from([self.builder.clone(), environment.clone()]);
        for out in self.packages.outs() {
            input_sources.insert(StorePath::parse(out)?);
        }
        let inputs = StoredInputs { files: self.files, stdin: &self.input.stdin };
        let stored = if inputs.fits_inline() { None } else { Some(inputs.path()?) };
        input_sources.extend(stored.clone());
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".into(), DerivationOutput::input_addressed(String::new()))]),
            input_derivations: BTreeMap::new(),
            input_sources,
            system: self.system.into(),
            builder: self.builder.to_string(),
            arguments: self.sandbox.command(&self.input.args),
            environment: BTreeMap::new(),
        };
        Ok(CallDerivation { call: self.call(&environment, inputs, stored.as_ref()), derivation, stored })
    }

    /// Returns the call as its builder finds it.
    fn call(&self, environment: &StorePath, inputs: StoredInputs, stored: Option<&StorePath>) -> CallVariables {
        let sandbox = self.sandbox;
        let mut variables = self.input.env.clone();
        // None of them is one of the call's.
        variables.extend(program_variables(sandbox, environment, self.packages));
        CallVariables {
            id: sandbox.id.into(),
            environment: environment.to_string(),
            packages: self.packages.outs().map(Into::into).collect(),
            variables,
            inputs: match stored {
                Some(path) if inputs.stdin.is_empty() => CallInputs::StoredFiles(path.to_string()),
                Some(path) => CallInputs::Stored(path.to_string()),
                None => inputs.inline(),
            },
            timeout: self.timeout,
            resources: sandbox.resources,
            workdir: sandbox.workdir.into(),
            script_mode: sandbox.script_mode,
            read_only: sandbox.read_only,
            network: match sandbox.network {
                Network::None => "none".to_owned(),
                Network::Bridge => "bridge".to_owned(),
                Network::Allow(entries) => entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            },
            user: sandbox.user.into(),
            services: services(sandbox),
            nonce: None,
        }
    }
}

impl CallDerivation {
    /// Computes the call's receipt: the derivation with the call's own time limit, which is the same for every such
    /// call. A run with another deadline is another derivation.
    ///
    /// # Errors
    ///
    /// As those of [`Self::run`].
    pub fn receipt(&self) -> Result<RunDerivation, StorePathError> {
        self.run(RunOptions { deadline: self.call.timeout, nonce: None, remote: false })
    }

    /// Computes the derivation of one run.
    ///
    /// # Errors
    ///
    /// The sandbox's id makes a name that is too long for a store path. This does not happen with a sandbox of the tool
    /// table.
    pub fn run(&self, options: RunOptions<'_>) -> Result<RunDerivation, StorePathError> {
        let call =
            CallVariables { timeout: options.deadline, nonce: options.nonce.map(Into::into), ..self.call.clone() };
        let name = call.derivation_name();
        let mut derivation = self.derivation.clone();
        derivation.environment = call.encode();
        derivation.environment.extend([
            ("system".into(), derivation.system.clone()),
            ("builder".into(), derivation.builder.clone()),
            ("allowSubstitutes".into(), encode_bool(false)),
        ]);
        if !options.remote {
            derivation.environment.insert("preferLocalBuild".into(), encode_bool(true));
        }
        fill_outputs(&name, &mut derivation)?;
        let text = derivation.text();
        Ok(RunDerivation {
            path: derivation_path(&name, &derivation, &text)?,
            out: StorePath::parse(&derivation.outputs["out"].path)?,
            text,
            references: derivation.input_sources,
            stored: self.stored.clone(),
        })
    }
}

/// Returns the store path of the launcher that this server embeds, as a builder.
pub fn builder_path() -> &'static StorePath {
    static PATH: LazyLock<StorePath> =
        LazyLock::new(|| source_path(BUILDER_NAME, &builder_node()).expect("the name is a constant"));
    &PATH
}

/// Returns the launcher as it is added to the store.
pub fn builder_node() -> Node<'static> {
    Node::File { content: LAUNCHER, executable: true }
}

/// Returns the variables of the program, as in every other executor.
fn program_variables(sandbox: &Sandbox, environment: &StorePath, packages: &Packages) -> Vec<(String, String)> {
    let out = PathBuf::from(environment.as_str());
    let path = out.join("bin").display().to_string();
    View { origin: Origin::Pinned(out), path, packages: packages.clone(), ..View::empty() }.variables(sandbox)
}
