//! A client of the Nix daemon: adds to the store, builds, and keeps or deletes paths.
//!
//! A connection works on one operation at a time, and its client waits for each. Dropping it while a build is under way
//! cancels the build: the daemon kills the builder. What was added or asked to be kept by a connection is safe from the
//! garbage collector as long as the connection stands.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::addressed::Addressed;
use crate::derivation::Derivation;
use crate::endpoint::{DaemonChild, Endpoint, Streams};
use crate::nar::Node;
use crate::protocol::{
    BuildMode, BuildResult, CLIENT_MAGIC, DAEMON_MAGIC, End, Event, OLDEST_VERSION, OWN_VERSION, Operation, PathInfo,
    Version, read_build_result, read_events, read_path_info,
};
use crate::store_path::StorePath;
use crate::wire::{Message, Reader};

/// How long a daemon may take to answer a new connection.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The oldest Nix that speaks [`OLDEST_VERSION`].
const OLDEST_NIX: &str = "2.8";

/// Why a daemon did not do what it was asked for.
#[derive(Debug)]
pub enum DaemonError {
    /// There is no daemon, or not for us.
    Connect { endpoint: Endpoint, source: io::Error },
    /// What is there does not speak as a daemon does.
    Handshake { endpoint: Endpoint, reason: String },
    /// The connection broke, or what came over it made no sense. Holds what the daemon said last, if it was our child.
    Lost { operation: Operation, source: io::Error, last_lines: String },
    /// Nix's own reason.
    Refused { operation: Operation, reason: String },
    /// An earlier operation on this connection did not come to its end, so that answers could be mistaken.
    OutOfStep,
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { endpoint, source } => write!(f, "cannot reach the Nix daemon at {endpoint}: {source}"),
            Self::Handshake { endpoint, reason } => write!(f, "{endpoint} is no Nix daemon for us: {reason}"),
            Self::Lost { operation, source, last_lines } if last_lines.is_empty() => {
                write!(f, "cannot {operation}: the Nix daemon was lost: {source}")
            }
            Self::Lost { operation, source, last_lines } => {
                write!(f, "cannot {operation}: the Nix daemon was lost: {source}; it said: {last_lines}")
            }
            Self::Refused { operation, reason } => write!(f, "cannot {operation}: {reason}"),
            Self::OutOfStep => f.write_str("the connection to the Nix daemon was left in the middle of an operation"),
        }
    }
}

impl std::error::Error for DaemonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Lost { source, .. } => Some(source),
            Self::Handshake { .. } | Self::Refused { .. } | Self::OutOfStep => None,
        }
    }
}

/// What a connection's builds are told; the daemon's own configuration decides the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether caches are asked before anything is built.
    pub substitutes: bool,
    /// How many builds run at once on this machine; with none, all go to remote builders.
    pub local_jobs: u64,
    /// Further settings by name. A daemon that does not trust us takes `timeout` and few others.
    pub settings: Vec<(String, String)>,
}

/// A connection to a daemon.
pub struct Connection {
    // Before the child, so that they are closed before the child's end is awaited.
    reader: Reader<Box<dyn AsyncRead + Send + Unpin>>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    child: Option<DaemonChild>,
    version: Version,
    nix_version: String,
    trusted: Option<bool>,
    /// Whether the last operation came to its end.
    in_step: bool,
}

impl Connection {
    pub async fn open(endpoint: &Endpoint) -> Result<Self, DaemonError> {
        let connect = |source| DaemonError::Connect { endpoint: endpoint.clone(), source };
        let Streams { reader, writer, child } = endpoint.open().await.map_err(connect)?;
        let mut connection = Self {
            reader: Reader::new(reader),
            writer,
            child,
            version: OLDEST_VERSION,
            nix_version: String::new(),
            trusted: None,
            in_step: true,
        };
        let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, connection.shake_hands()).await;
        let reason = match shaken {
            Ok(Ok(End::Answer)) => return Ok(connection),
            Ok(Ok(End::Refused(reason))) => reason,
            Ok(Err(error)) => match (closed(error), connection.last_lines()) {
                (error, lines) if lines.is_empty() => error.to_string(),
                (error, lines) => format!("{error}; it said: {lines}"),
            },
            Err(_) => format!("it did not answer within {HANDSHAKE_LIMIT:?}"),
        };
        Err(DaemonError::Handshake { endpoint: endpoint.clone(), reason })
    }

    async fn shake_hands(&mut self) -> io::Result<End> {
        self.send(&Message::default().number(CLIENT_MAGIC)).await?;
        if self.reader.number().await? != DAEMON_MAGIC {
            return Ok(End::Refused("it does not speak the protocol of one".into()));
        }
        let theirs = Version::from_wire(self.reader.number().await?);
        if theirs < OLDEST_VERSION || theirs.major != OWN_VERSION.major {
            return Ok(End::Refused(format!("it speaks protocol {theirs}, and Nix {OLDEST_NIX} or later is needed")));
        }
        self.version = theirs.min(OWN_VERSION);
        // No processor to stay on, and no space to reserve: both are of old.
        self.send(&Message::default().number(OWN_VERSION.to_wire()).number(0).number(0)).await?;
        self.nix_version = self.reader.string().await?;
        if self.version.minor >= 35 {
            self.trusted = match self.reader.number().await? {
                1 => Some(true),
                2 => Some(false),
                _ => None,
            };
        }
        read_events(&mut self.reader, &mut |_| {}).await
    }

    /// The daemon's version of Nix, such as `2.26.3`.
    pub fn nix_version(&self) -> &str {
        &self.nix_version
    }

    /// Whether the daemon lets us do what only trusted users may; older ones than Nix 2.14 do not tell.
    pub fn trusted(&self) -> Option<bool> {
        self.trusted
    }

    /// Whether the connection can take a further operation.
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    pub async fn set_options(&mut self, options: &Options) -> Result<(), DaemonError> {
        let request = Message::default()
            .number(Operation::SetOptions as u64)
            .boolean(false) // keep what failed builds leave
            .boolean(false) // go on after a failure
            .boolean(false) // build where no substitute works
            .number(0) // verbosity: errors
            .number(options.local_jobs)
            .number(0) // no limit of silence
            .number(1) // of old
            .number(0) // verbosity of builds: errors
            .number(0) // of old
            .number(0) // of old
            .number(0) // cores: all
            .boolean(options.substitutes)
            .list(options.settings.iter(), |message, (name, value)| message.string(name).string(value));
        self.call(Operation::SetOptions, request, &mut |_| {}).await?;
        self.in_step = true;
        Ok(())
    }

    /// Adds a text that refers to `references`, which must be valid. A `.drv` file is added so.
    pub async fn add_text(
        &mut self,
        name: &str,
        text: &str,
        references: &BTreeSet<StorePath>,
    ) -> Result<StorePath, DaemonError> {
        self.add(name, "text:sha256", references, text.as_bytes(), false).await
    }

    /// Adds files as they are. They refer to nothing.
    pub async fn add_files(&mut self, name: &str, files: &Node<'_>) -> Result<StorePath, DaemonError> {
        self.add_archive(name, files, false).await
    }

    /// Adds files in place of what is there. Only trusted clients may.
    pub async fn repair_files(&mut self, name: &str, files: &Node<'_>) -> Result<StorePath, DaemonError> {
        self.add_archive(name, files, true).await
    }

    async fn add_archive(&mut self, name: &str, files: &Node<'_>, repair: bool) -> Result<StorePath, DaemonError> {
        let mut archive = Vec::new();
        files.write(&mut archive).map_err(|source| self.lost(Operation::AddToStore, source))?;
        self.add(name, "fixed:r:sha256", &BTreeSet::new(), &archive, repair).await
    }

    async fn add(
        &mut self,
        name: &str,
        method: &str,
        references: &BTreeSet<StorePath>,
        content: &[u8],
        repair: bool,
    ) -> Result<StorePath, DaemonError> {
        let request = Message::default()
            .number(Operation::AddToStore as u64)
            .string(name)
            .string(method)
            .paths(references.iter())
            .boolean(repair)
            .framed(content);
        self.call(Operation::AddToStore, request, &mut |_| {}).await?;
        let answer = async {
            let path = self.reader.path().await?;
            read_path_info(&mut self.reader).await?;
            Ok(path)
        };
        let answer = answer.await;
        self.end(Operation::AddToStore, answer)
    }

    /// Adds paths, each behind those that it refers to. Nix takes them from anybody, since their content decides their names.
    /// None may be valid already: Nix 2.8 takes what follows such a path for something else.
    pub async fn add_all(&mut self, paths: &[Addressed]) -> Result<(), DaemonError> {
        let content = paths.iter().fold(Message::default().number(paths.len() as u64), |message, added| {
            message
                .string(added.path.as_str())
                .string("") // no deriver
                .string(&added.archive_hash)
                .paths(added.references.iter())
                .number(0) // valid from now on
                .number(added.archive.len() as u64)
                .boolean(false) // built here
                .number(0) // no signatures
                .string(&added.address)
                .archive(&added.archive)
        });
        let request = Message::default()
            .number(Operation::AddMultipleToStore as u64)
            .boolean(false) // put in place of what is there
            .boolean(false) // take what is neither signed nor named by its content
            .framed(content.bytes());
        self.call(Operation::AddMultipleToStore, request, &mut |_| {}).await?;
        self.in_step = true;
        Ok(())
    }

    /// Builds the output `out` of a derivation that is in the store. A build that fails is a result. To cancel it, drop
    /// the connection along with the future.
    pub async fn build(
        &mut self,
        derivation: &StorePath,
        mode: BuildMode,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<BuildResult, DaemonError> {
        let request = Message::default()
            .number(Operation::BuildPathsWithResults as u64)
            .list([derivation].into_iter(), |message, path| message.string(&format!("{path}!out")))
            .number(mode as u64);
        self.call(Operation::BuildPathsWithResults, request, on_event).await?;
        let answer = async {
            let mut results = Vec::new();
            for _ in 0..self.reader.length().await? {
                self.reader.string().await?; // what was asked for
                results.push(read_build_result(&mut self.reader).await?);
            }
            results.pop().ok_or_else(|| io::Error::other("no result came for what was to be built"))
        };
        let answer = answer.await;
        self.end(Operation::BuildPathsWithResults, answer)
    }

    /// Builds a derivation that need not be in the store. Only trusted clients may.
    pub async fn build_derivation(
        &mut self,
        path: &StorePath,
        derivation: &Derivation,
        mode: BuildMode,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<BuildResult, DaemonError> {
        let request = Message::default()
            .number(Operation::BuildDerivation as u64)
            .string(path.as_str())
            .list(derivation.outputs.iter(), |message, (name, output)| {
                message.string(name).string(&output.path).string(&output.algorithm).string(&output.hash)
            })
            .paths(derivation.input_sources.iter())
            .string(&derivation.system)
            .string(&derivation.builder)
            .list(derivation.arguments.iter(), |message, argument| message.string(argument))
            .list(derivation.environment.iter(), |message, (name, value)| message.string(name).string(value))
            .number(mode as u64);
        self.call(Operation::BuildDerivation, request, on_event).await?;
        let answer = read_build_result(&mut self.reader).await;
        self.end(Operation::BuildDerivation, answer)
    }

    /// Which of the paths are valid.
    pub async fn valid_paths(&mut self, paths: &[StorePath]) -> Result<Vec<StorePath>, DaemonError> {
        let request = Message::default().number(Operation::QueryValidPaths as u64).paths(paths.iter()).boolean(false); // look for substitutes of those that are not
        self.call(Operation::QueryValidPaths, request, &mut |_| {}).await?;
        let answer = self.reader.paths().await;
        self.end(Operation::QueryValidPaths, answer)
    }

    /// What the store knows of a path; nothing if it is not valid.
    pub async fn path_info(&mut self, path: &StorePath) -> Result<Option<PathInfo>, DaemonError> {
        let request = Message::default().number(Operation::QueryPathInfo as u64).string(path.as_str());
        self.call(Operation::QueryPathInfo, request, &mut |_| {}).await?;
        let answer = async {
            match self.reader.boolean().await? {
                true => read_path_info(&mut self.reader).await.map(Some),
                false => Ok(None),
            }
        };
        let answer = answer.await;
        self.end(Operation::QueryPathInfo, answer)
    }

    /// Keeps a path from the garbage collector as long as this connection stands.
    pub async fn add_temporary_root(&mut self, path: &StorePath) -> Result<(), DaemonError> {
        self.acknowledged(Operation::AddTempRoot, path.as_str()).await
    }

    /// Keeps what the symbolic link at an absolute path points to from the garbage collector, as long as it does.
    pub async fn add_indirect_root(&mut self, link: &str) -> Result<(), DaemonError> {
        self.acknowledged(Operation::AddIndirectRoot, link).await
    }

    async fn acknowledged(&mut self, operation: Operation, argument: &str) -> Result<(), DaemonError> {
        self.call(operation, Message::default().number(operation as u64).string(argument), &mut |_| {}).await?;
        let answer = self.reader.number().await.map(drop);
        self.end(operation, answer)
    }

    /// Deletes these paths and nothing else, and gives the bytes that were freed. One that is in use is an error.
    pub async fn delete(&mut self, paths: &[StorePath]) -> Result<u64, DaemonError> {
        const DELETE_SPECIFIC: u64 = 3;
        let request = Message::default()
            .number(Operation::CollectGarbage as u64)
            .number(DELETE_SPECIFIC)
            .paths(paths.iter())
            .boolean(false) // whether or not they are in use
            .number(u64::MAX) // bytes to free at most
            .number(0) // of old
            .number(0) // of old
            .number(0); // of old
        self.call(Operation::CollectGarbage, request, &mut |_| {}).await?;
        let answer = async {
            self.reader.strings().await?; // what was deleted
            let freed = self.reader.number().await?;
            self.reader.number().await?; // of old
            Ok(freed)
        };
        let answer = answer.await;
        self.end(Operation::CollectGarbage, answer)
    }

    /// Sends a request and hears events until the answer, which must be read next and then given to [`Self::end`].
    async fn call(
        &mut self,
        operation: Operation,
        request: Message,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(), DaemonError> {
        if !self.in_step {
            return Err(DaemonError::OutOfStep);
        }
        self.in_step = false;
        let (end, sent) = {
            // A daemon may refuse before it has heard all, and then hears no more.
            let mut sending = pin!(send(&mut self.writer, &request));
            let mut hearing = pin!(read_events(&mut self.reader, on_event));
            tokio::select! {
                biased;
                sent = &mut sending => match sent {
                    Ok(()) => (hearing.await, true),
                    // If it refused for a reason, that tells more than the broken pipe.
                    Err(error) => (hearing.await.or(Err(error)), false),
                },
                end = &mut hearing => (end, false),
            }
        };
        match end {
            Ok(End::Answer) => Ok(()),
            Ok(End::Refused(reason)) => {
                self.in_step = sent;
                Err(DaemonError::Refused { operation, reason })
            }
            Err(source) => Err(self.lost(operation, source)),
        }
    }

    /// Ends an operation with its answer.
    fn end<T>(&mut self, operation: Operation, answer: io::Result<T>) -> Result<T, DaemonError> {
        self.in_step = answer.is_ok();
        answer.map_err(|source| self.lost(operation, source))
    }

    fn lost(&self, operation: Operation, source: io::Error) -> DaemonError {
        DaemonError::Lost { operation, source: closed(source), last_lines: self.last_lines() }
    }

    fn last_lines(&self) -> String {
        self.child.as_ref().map(DaemonChild::last_lines).unwrap_or_default()
    }

    async fn send(&mut self, message: &Message) -> io::Result<()> {
        send(&mut self.writer, message).await
    }
}

/// In words, if the connection was closed.
fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection"),
        _ => error,
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), message: &Message) -> io::Result<()> {
    writer.write_all(message.bytes()).await?;
    writer.flush().await
}
