//! Where a Nix daemon is reached: at the socket of the machine's, or as a child of our own.
//!
//! A child serves a store that its user may write, which has no daemon. Its end comes with the end of its standard
//! input: it kills the builder first, which it could not if it were killed itself.

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

/// The socket of the machine's daemon, unless this variable names another.
const SOCKET: &str = "/nix/var/nix/daemon-socket/socket";
const SOCKET_VARIABLE: &str = "NIX_DAEMON_SOCKET_PATH";

/// How long a child may take to end once its standard input was closed.
const GRACE: Duration = Duration::from_secs(5);
/// How many of a child's last lines are kept for an error.
const LAST_LINES: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Socket(PathBuf),
    /// A program, and arguments with which it speaks the protocol on its standard input and output.
    Child {
        program: PathBuf,
        arguments: Vec<OsString>,
    },
}

impl Endpoint {
    /// The socket of the machine's daemon.
    pub fn socket() -> Self {
        Self::Socket(env::var_os(SOCKET_VARIABLE).map_or(SOCKET.into(), PathBuf::from))
    }

    /// A daemon that serves this process alone.
    pub fn child(nix_daemon: impl Into<PathBuf>) -> Self {
        Self::Child { program: nix_daemon.into(), arguments: vec!["--stdio".into()] }
    }

    pub(super) async fn open(&self) -> io::Result<Streams> {
        match self {
            Self::Socket(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok(Streams { reader: Box::new(reader), writer: Box::new(writer), child: None })
            }
            Self::Child { program, arguments } => {
                let mut child = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                let (Some(writer), Some(reader)) = (child.stdin.take(), child.stdout.take()) else {
                    unreachable!("they were asked for")
                };
                let last_lines = LastLines::of(child.stderr.take());
                let child = Some(DaemonChild { child: Some(child), last_lines });
                Ok(Streams { reader: Box::new(reader), writer: Box::new(writer), child })
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

/// The two directions of a connection. When they are dropped, the daemon ends what it does for us.
pub(super) struct Streams {
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub child: Option<DaemonChild>,
}

/// A child that ends by itself after its standard input was closed.
pub(super) struct DaemonChild {
    child: Option<Child>,
    last_lines: LastLines,
}

impl DaemonChild {
    /// What the child said last on standard error, which is where it says why it ends.
    pub fn last_lines(&self) -> String {
        self.last_lines.text()
    }
}

impl Drop for DaemonChild {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the child sees that as well.
        if let (Some(mut child), Ok(runtime)) = (self.child.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                    tracing::warn!("a nix-daemon did not end within {GRACE:?} and was killed");
                    let _ = child.kill().await;
                }
            });
        }
    }
}

/// The last lines of a stream, which is read to its end lest the writer wait.
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
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}
