//! Serves MCP on standard input and output until the client, a signal or the end of input says stop.

use std::time::Duration;
use std::{fmt, io};

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use tokio::io::{stdin, stdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::mcp::server::Server;
use crate::mcp::transport::Transport;
use crate::runner::Runner;

/// How long calls may take to clear their sandboxes away when the server stops.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub enum ServeError {
    Signals(io::Error),
    Initialize(Box<ServerInitializeError>),
    Lost(tokio::task::JoinError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signals(source) => write!(f, "cannot listen for signals: {source}"),
            Self::Initialize(source) => write!(f, "the client did not open an MCP session: {source}"),
            Self::Lost(source) => write!(f, "the server failed within itself: {source}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Signals(source) => Some(source),
            Self::Initialize(source) => Some(source),
            Self::Lost(source) => Some(source),
        }
    }
}

/// Serves one client. When it returns, no call is running any more.
pub async fn serve(runner: Runner, structured_results: bool) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(ServeError::Signals)?;
    let server = Server::new(runner, structured_results, stop.clone());
    let transport = Transport::new(stdin(), stdout(), stop.clone());
    let result = match server.clone().serve_with_ct(transport, stop.clone()).await {
        Ok(service) => service.waiting().await.map(drop).map_err(ServeError::Lost),
        // Who leaves before saying a word was no client.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => Ok(()),
        Err(error) => Err(ServeError::Initialize(Box::new(error))),
    };
    stop.cancel();
    if tokio::time::timeout(GRACE, server.finish()).await.is_err() {
        tracing::warn!("calls did not end within {GRACE:?}; their sandboxes end with this process");
    }
    result
}

fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}
