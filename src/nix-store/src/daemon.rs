//! A client of the Nix daemon: adds to the store, builds, and keeps or deletes paths.
//!
//! A connection works on one operation at a time, and its client waits for each. Dropping it during a build cancels the
//! build: the daemon kills the builder. Paths that a connection has added or asked to keep are safe from the garbage
//! collector until it is closed.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::addressed::Addressed;
use crate::endpoint::{DaemonChild, DaemonStreams, Endpoint};
use crate::nar::Node;
use crate::protocol::{
    BuildResult, CLIENT_MAGIC, DAEMON_MAGIC, EndOfEvents, Event, OLDEST_VERSION, OWN_VERSION, Operation, PathInfo,
    ProtocolVersion, read_build_result, read_events, read_path_info,
};
use crate::store_path::StorePath;
use crate::wire::{Request, WireReader};

/// The time that a daemon has to answer a new connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The build mode that does not build what is valid already.
const NORMAL_BUILD: u64 = 0;

/// The oldest Nix that speaks [`OLDEST_VERSION`].
const OLDEST_NIX: &str = "2.8";

/// Why a daemon did not do what it was asked for.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// There is no daemon, or this user may not connect to it.
    #[error("cannot reach the Nix daemon at {endpoint}: {cause}")]
    Connect { endpoint: Endpoint, cause: io::Error },
    /// The other end does not speak the protocol.
    #[error("cannot use the Nix daemon at {endpoint}: {reason}")]
    Handshake { endpoint: Endpoint, reason: String },
    /// The connection broke, or what came over it is malformed. `last_lines` is what the daemon said last, if it was
    /// our child.
    #[error("cannot {operation}: the Nix daemon was lost: {cause}{}", said(last_lines))]
    Lost { operation: Operation, cause: io::Error, last_lines: String },
    /// Nix refused, for its own reason.
    #[error("cannot {operation}: {reason}")]
    Refused { operation: Operation, reason: String },
    /// An earlier operation on this connection did not come to its end, so that answers could be mistaken.
    #[error("the connection to the Nix daemon was left in the middle of an operation")]
    OutOfStep,
}

fn said(last_lines: &str) -> String {
    if last_lines.is_empty() { String::new() } else { format!("; it said: {last_lines}") }
}

/// The options of a connection's builds; the daemon's own configuration decides the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// Whether binary caches are asked before anything is built.
    pub substitutes: bool,
    /// The number of builds that run at once on this machine; with 0, all go to remote builders.
    pub local_jobs: u64,
    /// Further settings by name. A daemon that does not trust this user ignores most of them, but not `timeout`.
    pub settings: Vec<(String, String)>,
}

/// A connection to a daemon.
pub struct Connection {
    // Before the child, so that they are closed before the child's end is awaited.
    reader: WireReader<Box<dyn AsyncRead + Send + Unpin>>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    child: Option<DaemonChild>,
    version: ProtocolVersion,
    nix_version: String,
    trusted: Option<bool>,
    /// Whether the last operation came to its end, so that the next one can begin.
    in_step: bool,
}

impl Connection {
    /// Connects to a daemon.
    ///
    /// # Errors
    ///
    /// There is no daemon, or it does not speak a protocol that is new enough.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, DaemonError> {
        let connect = |cause| DaemonError::Connect { endpoint: endpoint.clone(), cause };
        let DaemonStreams { reader, writer, child } = endpoint.open().await.map_err(connect)?;
        let mut connection = Self {
            reader: WireReader::new(reader),
            writer,
            child,
            version: OLDEST_VERSION,
            nix_version: String::new(),
            trusted: None,
            in_step: true,
        };
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, connection.shake_hands()).await;
        let reason = match shaken {
            Ok(Ok(EndOfEvents::Answer)) => return Ok(connection),
            Ok(Ok(EndOfEvents::Refused(reason))) => reason,
            Ok(Err(error)) => match (closed(error), connection.last_lines()) {
                (error, lines) if lines.is_empty() => error.to_string(),
                (error, lines) => format!("{error}; it said: {lines}"),
            },
            Err(_) => format!("it did not answer within {HANDSHAKE_TIMEOUT:?}"),
        };
        Err(DaemonError::Handshake { endpoint: endpoint.clone(), reason })
    }

    async fn shake_hands(&mut self) -> io::Result<EndOfEvents> {
        self.send(&Request::default().number(CLIENT_MAGIC)).await?;
        if self.reader.number().await? != DAEMON_MAGIC {
            return Ok(EndOfEvents::Refused("it does not speak the protocol of one".into()));
        }
        let theirs = ProtocolVersion::from_wire(self.reader.number().await?);
        if theirs < OLDEST_VERSION || theirs.major != OWN_VERSION.major {
            return Ok(EndOfEvents::Refused(format!(
                "it speaks protocol {theirs}, and Nix {OLDEST_NIX} or later is needed"
            )));
        }
        self.version = theirs.min(OWN_VERSION);
        // CPU affinity and reserveSpace, both obsolete and ignored by the daemon.
        self.send(&Request::default().number(OWN_VERSION.to_wire()).number(0).number(0)).await?;
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

    /// Returns the daemon's version of Nix, such as `2.26.3`.
    pub fn nix_version(&self) -> &str {
        &self.nix_version
    }

    /// Returns whether the daemon lets this user do what only trusted users may. Daemons before Nix 2.14 do not tell.
    pub fn trusted(&self) -> Option<bool> {
        self.trusted
    }

    /// Sets the options of this connection's builds.
    ///
    /// # Errors
    ///
    /// As those of every operation: the daemon was lost or refused.
    pub async fn set_options(&mut self, options: &BuildOptions) -> Result<(), DaemonError> {
        let request = Request::default()
            .number(Operation::SetOptions as u64)
            .boolean(false) // keep what failed builds leave
            .boolean(false) // go on after a failure
            .boolean(false) // build where no substitute works
            .number(0) // verbosity: errors
            .number(options.local_jobs)
            .number(0) // no limit of silence
            .number(1) // useBuildHook, obsolete
            .number(0) // verbosity of builds: errors
            .number(0) // logType, obsolete
            .number(0) // printBuildTrace, obsolete
            .number(0) // cores: all
            .boolean(options.substitutes)
            .list(options.settings.iter(), |message, (name, value)| message.string(name).string(value));
        self.call(Operation::SetOptions, request, &mut |_| {}).await?;
        self.in_step = true;
        Ok(())
    }

    /// Adds a text, such as a `.drv` file, that refers to `references`, which must be valid.
    pub async fn add_text(
        &mut self,
        name: &str,
        text: &str,
        references: &BTreeSet<StorePath>,
    ) -> Result<StorePath, DaemonError> {
        self.add(name, "text:sha256", references, text.as_bytes(), false).await
    }

    /// Adds plain files without references.
    pub async fn add_files(&mut self, name: &str, files: &Node<'_>) -> Result<StorePath, DaemonError> {
        self.add_archive(name, files, false).await
    }

    /// Adds files in place of damaged ones. Only trusted users may do that.
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
        let request = Request::default()
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

    /// Adds paths, each of which comes after those that it refers to. Nix accepts them from every user, since their
    /// contents decide their names. None may be valid already: Nix 2.8 misreads what follows such a path.
    pub async fn add_all(&mut self, paths: &[Addressed]) -> Result<(), DaemonError> {
        let content = paths.iter().fold(Request::default().number(paths.len() as u64), |message, added| {
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
        let request = Request::default()
            .number(Operation::AddMultipleToStore as u64)
            .boolean(false) // put in place of what is there
            .boolean(false) // take what is neither signed nor named by its content
            .framed(content.bytes());
        self.call(Operation::AddMultipleToStore, request, &mut |_| {}).await?;
        self.in_step = true;
        Ok(())
    }

    /// Builds the output `out` of a derivation that is in the store, unless it is valid. A build that fails is a
    /// result. To cancel it, drop the connection together with the future.
    pub async fn build(
        &mut self,
        derivation: &StorePath,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<BuildResult, DaemonError> {
        let request = Request::default()
            .number(Operation::BuildPathsWithResults as u64)
            .list([derivation].into_iter(), |message, path| message.string(&format!("{path}!out")))
            .number(NORMAL_BUILD);
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

    /// Returns those of the paths that are valid.
    pub async fn valid_paths(&mut self, paths: &[StorePath]) -> Result<Vec<StorePath>, DaemonError> {
        let request = Request::default().number(Operation::QueryValidPaths as u64).paths(paths.iter()).boolean(false); // look for substitutes of those that are not
        self.call(Operation::QueryValidPaths, request, &mut |_| {}).await?;
        let answer = self.reader.paths().await;
        self.end(Operation::QueryValidPaths, answer)
    }

    /// Returns what the store knows about a path, or `None` if it is not valid.
    pub async fn path_info(&mut self, path: &StorePath) -> Result<Option<PathInfo>, DaemonError> {
        let request = Request::default().number(Operation::QueryPathInfo as u64).string(path.as_str());
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

    /// Keeps a path from the garbage collector until this connection is closed.
    pub async fn add_temporary_root(&mut self, path: &StorePath) -> Result<(), DaemonError> {
        let request = Request::default().number(Operation::AddTempRoot as u64).string(path.as_str());
        self.call(Operation::AddTempRoot, request, &mut |_| {}).await?;
        let answer = self.reader.number().await.map(drop);
        self.end(Operation::AddTempRoot, answer)
    }

    /// Deletes these paths and nothing else, and returns the number of bytes that were freed. A path that is in use is
    /// an error.
    pub async fn delete(&mut self, paths: &[StorePath]) -> Result<u64, DaemonError> {
        const DELETE_SPECIFIC: u64 = 3;
        let request = Request::default()
            .number(Operation::CollectGarbage as u64)
            .number(DELETE_SPECIFIC)
            .paths(paths.iter())
            .boolean(false) // whether or not they are in use
            .number(u64::MAX) // bytes to free at most
            .number(0) // removed options, obsolete
            .number(0)
            .number(0);
        self.call(Operation::CollectGarbage, request, &mut |_| {}).await?;
        let answer = async {
            self.reader.strings().await?; // what was deleted
            let freed = self.reader.number().await?;
            self.reader.number().await?; // obsolete
            Ok(freed)
        };
        let answer = answer.await;
        self.end(Operation::CollectGarbage, answer)
    }

    /// Sends a request and reads events until the answer, which must be read next and then be passed to [`Self::end`].
    async fn call(
        &mut self,
        operation: Operation,
        request: Request,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(), DaemonError> {
        if !self.in_step {
            return Err(DaemonError::OutOfStep);
        }
        self.in_step = false;
        let (end, sent) = {
            // A daemon may refuse before it has read everything, and then reads no more.
            let mut sending = pin!(send(&mut self.writer, &request));
            let mut hearing = pin!(read_events(&mut self.reader, on_event));
            tokio::select! {
                biased;
                sent = &mut sending => match sent {
                    Ok(()) => (hearing.await, true),
                    // If it gave a reason, that tells more than the broken pipe.
                    Err(error) => (hearing.await.or(Err(error)), false),
                },
                end = &mut hearing => (end, false),
            }
        };
        match end {
            Ok(EndOfEvents::Answer) => Ok(()),
            Ok(EndOfEvents::Refused(reason)) => {
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

    fn lost(&self, operation: Operation, cause: io::Error) -> DaemonError {
        DaemonError::Lost { operation, cause: closed(cause), last_lines: self.last_lines() }
    }

    fn last_lines(&self) -> String {
        self.child.as_ref().map(DaemonChild::last_lines).unwrap_or_default()
    }

    async fn send(&mut self, message: &Request) -> io::Result<()> {
        send(&mut self.writer, message).await
    }
}

/// Says in words that the connection was closed.
fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection"),
        _ => error,
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), message: &Request) -> io::Result<()> {
    writer.write_all(message.bytes()).await?;
    writer.flush().await
}
