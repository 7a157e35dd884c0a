//! Where a Nix daemon is reached: at the machine's socket, or as a child of our own.
//!
//! A child serves a store without a daemon, which its user may write. It ends when its standard input is closed, and
//! kills its builder first, which it could not do if it were killed itself.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fmt, io};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;

/// The socket of the machine's daemon, unless [`SOCKET_VARIABLE`] names another.
const DEFAULT_SOCKET: &str = "/nix/var/nix/daemon-socket/socket";
const SOCKET_VARIABLE: &str = "NIX_DAEMON_SOCKET_PATH";

/// The time that a child has to end after its standard input was closed, before it is killed.
const CHILD_EXIT_GRACE: Duration = Duration::from_secs(5);
/// The number of a child's last lines that are kept for an error.
const ERROR_LINES: usize = 10;

/// The place of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Socket(PathBuf),
    /// A program that speaks the protocol on its standard input and output when it gets these arguments.
    Child {
        program: PathBuf,
        arguments: Vec<OsString>,
    },
}

impl Endpoint {
    /// Returns the socket of the machine's daemon.
    pub fn socket() -> Self {
        Self::Socket(env::var_os(SOCKET_VARIABLE).map_or(DEFAULT_SOCKET.into(), PathBuf::from))
    }

    /// Returns a daemon that serves only this process.
    pub fn child(nix_daemon: impl Into<PathBuf>) -> Self {
        Self::Child { program: nix_daemon.into(), arguments: vec!["--stdio".into()] }
    }

    pub(crate) async fn open(&self) -> io::Result<DaemonStreams> {
        match self {
            Self::Socket(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok(DaemonStreams { reader: Box::new(reader), writer: Box::new(writer), child: None })
            }
            Self::Child { program, arguments } => {
                let mut child = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                let (Some(writer), Some(reader)) = (child.stdin.take(), child.stdout.take()) else {
                    unreachable!("both are piped")
                };
                let last_lines = LastLines::of(child.stderr.take());
                let child = Some(DaemonChild { child: Some(child), last_lines });
                Ok(DaemonStreams { reader: Box::new(reader), writer: Box::new(writer), child })
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Child { program, .. } => write!(f, "a {} of our own", program.display()),
        }
    }
}

/// The two directions of a connection. When they are dropped, the daemon ends its work for us.
pub(crate) struct DaemonStreams {
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub child: Option<DaemonChild>,
}

/// A child that ends by itself after its standard input was closed.
pub(crate) struct DaemonChild {
    child: Option<Child>,
    last_lines: LastLines,
}

impl DaemonChild {
    /// Returns the child's last lines on standard error, which tell why it ended.
    pub(crate) fn last_lines(&self) -> String {
        self.last_lines.text()
    }
}

impl Drop for DaemonChild {
    fn drop(&mut self) {
        // Without a runtime this process is ending, which closes the pipe as well.
        if let (Some(mut child), Ok(runtime)) = (self.child.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if tokio::time::timeout(CHILD_EXIT_GRACE, child.wait()).await.is_err() {
                    tracing::warn!("a nix-daemon did not end within {CHILD_EXIT_GRACE:?} and was killed");
                    let _ = child.kill().await;
                }
            });
        }
    }
}

/// The last lines of a stream. The stream is drained, so that the writer never blocks on a full pipe.
#[derive(Clone, Default)]
struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    fn of(stream: Option<ChildStderr>) -> Self {
        let lines = Self::default();
        if let Some(stream) = stream {
            let kept = lines.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream).split(b'\n');
                while let Ok(Some(line)) = stream.next_segment().await {
                    kept.push(String::from_utf8_lossy(&line).into_owned());
                }
            });
        }
        lines
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == ERROR_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}
