//! Accepts the connections of a sandbox's programs, connects to the host that each one means, and copies bytes both
//! ways.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::refusals::{RefusalReason, RefusedConnection};
use super::{RETRY_DELAY, SandboxNetwork, outside};
use sandbox_manifest::policy::Host;

/// The size of the buffer for each direction of each connection.
const COPY_BUFFER_BYTES: usize = 16 * 1024;

/// Registers a listening socket that was opened in a sandbox with the current runtime.
pub fn adopt(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts connections until the sandbox ends.
pub async fn accept(listener: TcpListener, network: Arc<SandboxNetwork>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Most likely this process has no descriptor left (EMFILE). The program waits until others are closed.
            Err(error) => {
                tracing::warn!("cannot accept a connection of a sandbox: {error}");
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
        };
        network.connection_rate.acquire().await;
        // The semaphore is never closed.
        let Ok(slot) = network.connection_slots.clone().acquire_owned().await else { return };
        let task = network.clone();
        network.tasks.spawn(async move {
            let ended = task.ended.clone();
            ended.run_until_cancelled(serve(stream, &task)).await;
            drop(slot);
        });
    }
}

/// Serves one connection until it ends.
async fn serve(mut inside: TcpStream, network: &SandboxNetwork) {
    // If this function is cancelled or fails, the program must see a reset, not a regular end.
    set_reset_on_close(&inside, true);
    let Ok(to) = inside.local_addr() else { return };
    let Some(host) = host(to, network) else { return };
    let refused =
        |reason| network.refusals.add(&RefusedConnection { host: host.to_string(), port: Some(to.port()), reason });
    if !network.names.permits(&host, to.port()) {
        return refused(RefusalReason::NotListed);
    }
    match outside::connect(&host, to.port()).await {
        Ok(mut outside) => carry(&mut inside, &mut outside).await,
        Err(reason) => refused(reason),
    }
}

/// Returns the host that a program means by the address that it connected to. `None` if the address is the sandbox's
/// own.
fn host(to: SocketAddr, network: &SandboxNetwork) -> Option<Host> {
    match to.ip() {
        // A socket that listens at every address accepts connections to loopback addresses too.
        IpAddr::V4(address) if !address.is_loopback() => {
            Some(network.names.host_at(address).unwrap_or(Host::Address(address)))
        }
        _ => None,
    }
}

/// Copies bytes both ways until both sides have ended. If one side is reset, the other one is reset too.
async fn carry(inside: &mut TcpStream, outside: &mut TcpStream) {
    // The host must not mistake a truncated stream for a complete one either.
    set_reset_on_close(outside, true);
    // Buffering of small messages is left to the program and the host.
    let _ = inside.set_nodelay(true).and_then(|()| outside.set_nodelay(true));
    let whole = {
        let (from_inside, to_inside) = inside.split();
        let (from_outside, to_outside) = outside.split();
        exchange((from_inside, to_inside), (from_outside, to_outside)).await
    };
    if whole {
        set_reset_on_close(inside, false);
        set_reset_on_close(outside, false);
    }
}

/// Copies both directions, and returns whether both ended regularly.
async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(inside: (R, W), outside: (R, W)) -> bool {
    let (mut out, mut back) = (std::pin::pin!(copy(inside.0, outside.1)), std::pin::pin!(copy(outside.0, inside.1)));
    // If writing fails, the other direction continues: that side may still send the reason.
    let (first, second) = tokio::select! {
        first = &mut out => match first {
            Err(CopyError::Reading) => return false,
            first => (first, back.await),
        },
        first = &mut back => match first {
            Err(CopyError::Reading) => return false,
            first => (first, out.await),
        },
    };
    first.is_ok() && second.is_ok()
}

/// The side on which copying failed.
enum CopyError {
    /// The connection was reset, so that nothing can be sent back either.
    Reading,
    Writing,
}

/// Copies one direction until its end, and then shuts the writer down.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<(), CopyError> {
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => return to.shutdown().await.map_err(|_| CopyError::Writing),
            Ok(length) => to.write_all(&buffer[..length]).await.map_err(|_| CopyError::Writing)?,
            Err(_) => return Err(CopyError::Reading),
        }
    }
}

/// Selects whether closing the socket resets the connection (RST) or ends it regularly (FIN).
fn set_reset_on_close(stream: &TcpStream, reset: bool) {
    // This cannot fail for a TCP socket.
    let _ = set_socket_linger(stream, reset.then_some(Duration::ZERO));
}
