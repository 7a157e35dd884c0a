//! Serves MCP on standard input and output until the client, a signal or the end of input says stop.

use std::io;
use std::time::Duration;

use rmcp::service::serve_directly_with_ct;
use tokio::io::{stdin, stdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::mcp::dispatch::Dispatch;
use crate::mcp::in_flight::InFlight;
use crate::mcp::server::McpServer;
use crate::mcp::transport::Transport;
use crate::runner::Runner;

/// How long calls may take to clear their sandboxes away when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a client could not be served to the end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("internal server error: {0}; see the log")]
    Lost(tokio::task::JoinError),
}

/// Serves one client. When it returns, no call is running.
pub async fn serve(runner: Runner, structured_results: bool) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(ServeError::Signals)?;
    let server = McpServer::new(runner, structured_results, stop.clone());
    let in_flight = InFlight::default();
    let transport = Transport::new(stdin(), stdout(), in_flight.clone(), stop.clone());
    let dispatch = Dispatch::new(server.clone(), in_flight);
    // Without a session to begin with: `Dispatch` sees to that.
    let service = serve_directly_with_ct(dispatch, transport, None, stop.clone());
    let result = service.waiting().await.map(drop).map_err(ServeError::Lost);
    stop.cancel();
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, server.finish()).await.is_err() {
        tracing::warn!("calls did not end within {SHUTDOWN_TIMEOUT:?}; their sandboxes end with this process");
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
