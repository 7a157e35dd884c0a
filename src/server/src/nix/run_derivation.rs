//! A call as a derivation: a pure function from sandbox, files and limits to the text of a `.drv` file.
//!
//! The derivation names all that decides what the program does, so its store path is the call's receipt: who has the
//! same environment and the same builder can realise it again. It is the same on every machine whose server was made
//! from the same manifest and has the same launcher, byte for byte; one that Nix built does.
//!
//! # What the builder finds
//!
//! The builder is the launcher, by a store path of its own ([`builder_path`]). Nix starts it with
//!
//! - as its arguments, the command;
//! - as environment variables, besides Nix's own:
//!
//! | variable | value |
//! |---|---|
//! | those of [`CallVariables`] | the call |
//! | `out` | where to write the result |
//!
//! A file is given by `files` where Nix would not hand it over as it is, or
//! where there is much of it (see [`fits_inline`]).
//!
//! The inputs are the builder, the environment's output, the packages' and `files`, as sources: they must be valid before
//! the derivation is added to a store. The environment's own derivation is not an input, because Nix would look through all
//! that built it, which costs more than the run. The server knows that derivation, and realises it first.
//!
//! `preferLocalBuild` spares Nix the question to its build hook; where the operator has runs go to remote builders, they do
//! without it. Without `allowSubstitutes` no cache is asked for what no cache can have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use sandbox_plan::variables::{CallFiles, CallVariables, encode_bool};

use crate::call::definition::{Environment, Network, Sandbox};
use crate::call::file::File;
use crate::call::packages::Packages;
use crate::sandbox::launch::LAUNCHER;
use crate::sandbox::plan::services;
use crate::sandbox::view::{Origin, View};
use nix_store::derivation::{Derivation, Output};
use nix_store::hash::{derivation_path, fill_outputs, placeholder, source_path};
use nix_store::nar::Node;
use nix_store::store_path::{StorePath, StorePathError};

/// How many bytes of files the derivation holds itself; Nix reads the text of a `.drv` several times over.
const LARGEST_INLINE: usize = 128 << 10;
/// How many files the derivation holds itself. Each is a variable of the builder, and a file that Nix writes.
const MOST_INLINE: usize = 64;

/// The name of the launcher in the store.
const BUILDER_NAME: &str = "sandbox-launcher";
/// The name of the files in the store, where the derivation does not hold them.
const FILES_NAME: &str = "sandbox-mcp-files";

/// What a run derivation is made of.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What the environment runs on, in Nix's words.
    pub system: &'a str,
    pub sandbox: &'a Sandbox,
    pub environment: &'a Environment,
    pub packages: &'a Packages,
    pub builder: &'a StorePath,
    pub files: &'a [File],
    /// How long the program may run. It is rounded up to seconds.
    pub deadline: Duration,
    /// Set for a run that must not be taken for another of the same call; the receipt has none.
    pub nonce: Option<&'a str>,
    /// Set for a run that Nix may have a remote builder carry out; the receipt is none.
    pub remote: bool,
}

/// A run derivation, ready to be added to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDerivation {
    /// The path of the `.drv` file: the receipt.
    pub path: StorePath,
    /// Where the result will be.
    pub out: StorePath,
    /// The content of the `.drv` file.
    pub text: String,
    /// What the `.drv` file refers to, and what must be valid before it is added.
    pub references: BTreeSet<StorePath>,
    /// The path that [`files_node`] has, if the derivation does not hold the files itself.
    pub files: Option<StorePath>,
}

impl Run<'_> {
    /// Computes the derivation. Nothing is read or written.
    ///
    /// # Errors
    ///
    /// The path of the environment or of a package is no store path, or the sandbox's id makes a name that is too long for one. Neither
    /// happens with a sandbox of the tool table.
    pub fn derivation(&self) -> Result<RunDerivation, StorePathError> {
        let environment = StorePath::parse(self.environment.out)?;
        let mut input_sources = BTreeSet::from([self.builder.clone(), environment.clone()]);
        for out in self.packages.outs() {
            input_sources.insert(StorePath::parse(out)?);
        }
        let files = if fits_inline(self.files) { None } else { Some(files_path(self.files)?) };
        input_sources.extend(files.clone());
        let call = self.call(&environment, files.as_ref());
        let name = call.derivation_name();
        let mut derivation = Derivation {
            outputs: BTreeMap::from([("out".into(), Output::input_addressed(String::new()))]),
            input_derivations: BTreeMap::new(),
            input_sources,
            system: self.system.into(),
            builder: self.builder.to_string(),
            arguments: self.sandbox.command.iter().map(|argument| (*argument).into()).collect(),
            environment: self.variables(&call),
        };
        fill_outputs(&name, &mut derivation)?;
        let text = derivation.text();
        Ok(RunDerivation {
            path: derivation_path(&name, &derivation, &text)?,
            out: StorePath::parse(&derivation.outputs["out"].path)?,
            text,
            references: derivation.input_sources,
            files,
        })
    }

    /// Returns the variables of the derivation, without its outputs.
    fn variables(&self, call: &CallVariables) -> BTreeMap<String, String> {
        let mut variables = call.encode();
        variables.extend([
            ("system".into(), self.system.into()),
            ("builder".into(), self.builder.to_string()),
            ("allowSubstitutes".into(), encode_bool(false)),
        ]);
        if !self.remote {
            variables.insert("preferLocalBuild".into(), encode_bool(true));
        }
        variables
    }

    /// Returns the call as its builder finds it.
    fn call(&self, environment: &StorePath, files: Option<&StorePath>) -> CallVariables {
        let sandbox = self.sandbox;
        let inline = |file: &File| (file.name.as_path().display().to_string(), file.content.clone());
        CallVariables {
            id: sandbox.id.into(),
            environment: environment.to_string(),
            packages: self.packages.outs().map(Into::into).collect(),
            variables: program_variables(sandbox, environment, self.packages).into_iter().collect(),
            files: match files {
                Some(path) => CallFiles::Stored(path.to_string()),
                None => CallFiles::Inline(self.files.iter().map(inline).collect()),
            },
            timeout: self.deadline,
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
            nonce: self.nonce.map(Into::into),
        }
    }
}

/// The store path of the launcher that this server embeds, as a builder.
pub fn builder_path() -> &'static StorePath {
    static PATH: LazyLock<StorePath> =
        LazyLock::new(|| source_path(BUILDER_NAME, &builder_node()).expect("the name is a constant"));
    &PATH
}

/// The launcher as it is added to the store.
pub fn builder_node() -> Node<'static> {
    Node::File { content: LAUNCHER, executable: true }
}

/// The files as they are added to the store, where the derivation does not hold them.
pub fn files_node(files: &[File]) -> Node<'_> {
    let mut root = BTreeMap::new();
    for file in files {
        let path = file.name.as_path();
        let directories = path.parent().into_iter().flat_map(|parent| parent.components());
        let mut directory = &mut root;
        for component in directories {
            let entry = directory.entry(bytes(component)).or_insert_with(|| Node::Directory(BTreeMap::new()));
            let Node::Directory(entries) = entry else { unreachable!("File::join refuses files below files") };
            directory = entries;
        }
        let node = Node::File { content: file.content.as_bytes(), executable: false };
        directory.extend(path.components().next_back().map(|name| (bytes(name), node)));
    }
    Node::Directory(root)
}

/// The path that [`files_node`] has in a store.
pub fn files_path(files: &[File]) -> Result<StorePath, StorePathError> {
    source_path(FILES_NAME, &files_node(files))
}

fn bytes(component: Component<'_>) -> &[u8] {
    component.as_os_str().as_encoded_bytes()
}

/// Whether the derivation holds the files itself. What it holds passes through Nix, which splits names at white space,
/// takes a NUL for the end, and replaces the placeholder of an output.
pub fn fits_inline(files: &[File]) -> bool {
    let named_well =
        |file: &File| file.name.as_path().to_str().is_some_and(|name| !name.contains(['=', ' ', '\t', '\n', '\r']));
    let unchanged = |file: &File| !file.content.contains('\0') && !file.content.contains(&*OUT_PLACEHOLDER);
    files.len() <= MOST_INLINE
        && files.iter().map(|file| file.content.len()).sum::<usize>() <= LARGEST_INLINE
        && files.iter().all(|file| named_well(file) && unchanged(file))
}

static OUT_PLACEHOLDER: LazyLock<String> = LazyLock::new(|| placeholder("out"));

/// The variables of the program, as in every other executor.
fn program_variables(sandbox: &Sandbox, environment: &StorePath, packages: &Packages) -> Vec<(String, String)> {
    let out = PathBuf::from(environment.as_str());
    let path = out.join("bin").display().to_string();
    View { origin: Origin::Pinned(out), path, packages: packages.clone(), ..View::empty() }.variables(sandbox)
}
