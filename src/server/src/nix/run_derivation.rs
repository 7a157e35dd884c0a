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
//! | `environment` | the environment's output path; its file `closure` lists the store paths that the program sees |
//! | `packages` | the output paths of the packages that the call asks for, separated by spaces; missing if it asks for none |
//! | `file:NAMEPath` | a file that holds the content of the file NAME of the working directory (Nix's `passAsFile`) |
//! | `files` | instead of these, a store path that holds the files and directories of the working directory |
//! | `variable:NAME` | the program's variable NAME; it gets these and no others |
//! | `timeout` | seconds by the wall clock |
//! | `resources.cpu` | cores |
//! | `resources.memory` | megabytes (2^20 bytes) |
//! | `resources.processes`, `resources.files` | numbers of processes, and of open files of one process |
//! | `mount.workdir` | the working directory |
//! | `mount.scriptPerms` | the octal mode of its files |
//! | `mount.readOnly` | `1` if the working directory is read-only, or else empty |
//! | `security.network` | `none`; or `bridge`, or hosts and ports, which Nix's build sandbox does not have |
//! | `user` | the name of the user |
//! | `before.N.name` | the name of the service N, from 0 on, that is started before the command |
//! | `before.N.command.M` | its argument M |
//! | `before.N.ready` | `returned`, `port` and a number, or `file` and a path |
//! | `before.N.deadline` | seconds within which it must be ready |
//! | `before.N.logs.M`, `before.N.errors.M` | a file that it logs to, and a word by which a line tells of an error |
//! | `out` | where to write the result |
//! | `nonce` | ignored by the builder; it makes the derivation unique, so that Nix does not reuse an earlier result |
//!
//! The names follow the sandbox definition's. Files are given by `files` if Nix would not pass them on unchanged, or if
//! they are large (see [`fits_inline`]).
//!
//! The inputs are the builder, the outputs of the environment and of the packages, and `files`, as sources: they must
//! be valid before the derivation is added to a store. The environment's own derivation is not an input, because Nix
//! would traverse everything that it was built from, which costs more than the run. The server realises that derivation
//! first.
//!
//! With `preferLocalBuild`, Nix does not ask its build hook; runs that may go to remote builders lack it. Without
//! `allowSubstitutes`, no binary cache is asked for outputs that none can have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use crate::call::definition::{Environment, Network, Readiness, Sandbox, Service};
use crate::call::file::File;
use crate::call::packages::Packages;
use crate::sandbox::launch::LAUNCHER;
use crate::sandbox::view::{Origin, View};
use nix_store::derivation::{Derivation, DerivationOutput};
use nix_store::hash::{derivation_path, fill_outputs, placeholder, source_path};
use nix_store::nar::Node;
use nix_store::store_path::{StorePath, StorePathError};

/// The bytes of files that a derivation holds itself. Nix reads the text of a `.drv` several times.
const MAX_INLINE_BYTES: usize = 128 << 10;
/// The number of files that a derivation holds itself. Each is a variable of the builder, and a file that Nix writes.
const MAX_INLINE_FILES: usize = 64;

/// Begins the name of every call's derivation; the sandbox's id follows.
pub const NAME_PREFIX: &str = "sandbox-mcp-run-";
/// The variable that makes a run's derivation unique.
pub const NONCE: &str = "nonce";

/// The name of the launcher in the store.
const BUILDER_NAME: &str = "sandbox-launcher";
/// The name of the files in the store, where the derivation does not hold them.
const FILES_NAME: &str = "sandbox-mcp-files";

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
    name: String,
    /// Without variables that depend on the options, and without output paths.
    derivation: Derivation,
    files: Option<StorePath>,
    /// The sandbox's own time limit.
    timeout: Duration,
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
    /// The store path of [`files_node`], if the derivation does not hold the files itself.
    pub files: Option<StorePath>,
}

impl DerivationInputs<'_> {
    /// Computes the derivation. Nothing is read or written.
    ///
    /// # Errors
    ///
    /// The path of the environment or of a package is not a store path. This does not happen with a sandbox of the tool
    /// table.
    pub fn derive(&self) -> Result<CallDerivation, StorePathError> {
        let name = format!("{NAME_PREFIX}{}", self.sandbox.id);
        let environment = StorePath::parse(self.environment.out)?;
        let mut variables = self.variables(&name, &environment);
        let mut input_sources = BTreeSet::from([self.builder.clone(), environment]);
        for out in self.packages.outs() {
            input_sources.insert(StorePath::parse(out)?);
        }
        let inline = fits_inline(self.files);
        let files = if inline {
            give_files(self.files, &mut variables);
            None
        } else {
            let path = files_path(self.files)?;
            variables.insert("files".into(), path.to_string());
            input_sources.insert(path.clone());
            Some(path)
        };
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".into(), DerivationOutput::input_addressed(String::new()))]),
            input_derivations: BTreeMap::new(),
            input_sources,
            system: self.system.into(),
            builder: self.builder.to_string(),
            arguments: self.sandbox.command.iter().map(|argument| (*argument).into()).collect(),
            environment: variables,
        };
        Ok(CallDerivation { name, derivation, files, timeout: self.sandbox.timeout })
    }

    /// Returns the variables of the derivation without those of its files, its outputs and the [`RunOptions`].
    fn variables(&self, name: &str, environment: &StorePath) -> BTreeMap<String, String> {
        let sandbox = self.sandbox;
        let resources = sandbox.resources;
        let boolean = |value| if value { "1" } else { "" }.to_owned();
        let network = match sandbox.network {
            Network::None => "none".to_owned(),
            Network::Bridge => "bridge".to_owned(),
            Network::Allow(entries) => entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let mut variables = BTreeMap::from([
            ("name".into(), name.into()),
            ("system".into(), self.system.into()),
            ("builder".into(), self.builder.to_string()),
            ("allowSubstitutes".into(), boolean(false)),
            ("environment".into(), environment.to_string()),
            ("resources.cpu".into(), resources.cpu.to_string()),
            ("resources.memory".into(), resources.memory_mb.to_string()),
            ("resources.processes".into(), resources.processes.to_string()),
            ("resources.files".into(), resources.files.to_string()),
            ("mount.workdir".into(), sandbox.workdir.into()),
            ("mount.scriptPerms".into(), format!("{:04o}", sandbox.script_mode)),
            ("mount.readOnly".into(), boolean(sandbox.read_only)),
            ("security.network".into(), network),
            ("user".into(), sandbox.user.into()),
        ]);
        for (name, value) in program_variables(sandbox, environment, self.packages) {
            variables.insert(format!("variable:{name}"), value);
        }
        if !self.packages.is_empty() {
            variables.insert("packages".into(), self.packages.outs().collect::<Vec<_>>().join(" "));
        }
        for (index, service) in sandbox.services.iter().enumerate() {
            let variable = |(key, value): (String, String)| (format!("before.{index}.{key}"), value);
            variables.extend(service_variables(service).map(variable));
        }
        variables
    }
}

impl CallDerivation {
    /// Computes the call's receipt: the derivation with the sandbox's own time limit, which is the same for every such
    /// call. A run with another deadline is another derivation.
    ///
    /// # Errors
    ///
    /// As those of [`Self::run`].
    pub fn receipt(&self) -> Result<RunDerivation, StorePathError> {
        self.run(RunOptions { deadline: self.timeout, nonce: None, remote: false })
    }

    /// Computes the derivation of one run.
    ///
    /// # Errors
    ///
    /// The sandbox's id makes a name that is too long for a store path. This does not happen with a sandbox of the tool
    /// table.
    pub fn run(&self, options: RunOptions<'_>) -> Result<RunDerivation, StorePathError> {
        let Self { name, derivation, files, .. } = self;
        let mut derivation = derivation.clone();
        let variables = &mut derivation.environment;
        variables.insert("timeout".into(), whole_seconds(options.deadline).to_string());
        if !options.remote {
            variables.insert("preferLocalBuild".into(), "1".into());
        }
        if let Some(nonce) = options.nonce {
            variables.insert(NONCE.into(), nonce.into());
        }
        fill_outputs(name, &mut derivation)?;
        let text = derivation.text();
        Ok(RunDerivation {
            path: derivation_path(name, &derivation, &text)?,
            out: StorePath::parse(&derivation.outputs["out"].path)?,
            text,
            references: derivation.input_sources,
            files: files.clone(),
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

/// Returns the files as they are added to the store, if the derivation does not hold them.
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

/// Computes the store path of [`files_node`].
pub fn files_path(files: &[File]) -> Result<StorePath, StorePathError> {
    source_path(FILES_NAME, &files_node(files))
}

fn bytes(component: Component<'_>) -> &[u8] {
    component.as_os_str().as_encoded_bytes()
}

/// Tells whether the derivation holds the files itself. Its contents pass through Nix, which splits names at white
/// space, ends contents at a NUL, and replaces the placeholder of an output.
pub fn fits_inline(files: &[File]) -> bool {
    let named_well =
        |file: &File| file.name.as_path().to_str().is_some_and(|name| !name.contains(['=', ' ', '\t', '\n', '\r']));
    let unchanged = |file: &File| !file.content.contains('\0') && !file.content.contains(&*OUT_PLACEHOLDER);
    files.len() <= MAX_INLINE_FILES
        && files.iter().map(|file| file.content.len()).sum::<usize>() <= MAX_INLINE_BYTES
        && files.iter().all(|file| named_well(file) && unchanged(file))
}

static OUT_PLACEHOLDER: LazyLock<String> = LazyLock::new(|| placeholder("out"));

fn give_files(files: &[File], variables: &mut BTreeMap<String, String>) {
    let mut names = BTreeSet::new();
    for file in files {
        let name = format!("file:{}", file.name.as_path().display());
        variables.insert(name.clone(), file.content.clone());
        names.insert(name);
    }
    variables.insert("passAsFile".into(), Vec::from_iter(names).join(" "));
}

/// Returns the variables of the program, as in every other executor.
fn program_variables(sandbox: &Sandbox, environment: &StorePath, packages: &Packages) -> Vec<(String, String)> {
    let out = PathBuf::from(environment.as_str());
    let path = out.join("bin").display().to_string();
    View { origin: Origin::Pinned(out), path, packages: packages.clone(), ..View::empty() }.variables(sandbox)
}

/// Returns the variables of a service, without the prefix of their names.
fn service_variables(service: &Service) -> impl Iterator<Item = (String, String)> {
    let ready = match service.ready {
        Readiness::Returned => "returned".to_owned(),
        Readiness::Port(port) => format!("port {port}"),
        Readiness::File(path) => format!("file {path}"),
    };
    let single = [
        ("name", service.name.to_owned()),
        ("ready", ready),
        ("deadline", whole_seconds(service.deadline).to_string()),
    ];
    let lists = [("command", service.command), ("logs", service.logs), ("errors", service.errors)];
    let numbered = |(key, items): (&'static str, &'static [&'static str])| {
        items.iter().enumerate().map(move |(index, item)| (format!("{key}.{index}"), (*item).to_owned()))
    };
    single.map(|(key, value)| (key.to_owned(), value)).into_iter().chain(lists.into_iter().flat_map(numbered))
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
