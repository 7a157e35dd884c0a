//! Accepts the connections of a sandbox's programs, connects to the host that each one means, and copies bytes both
//! ways.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::refusals::{RefusalReason, RefusedConnection};
use super::{RETRY_DELAY, SandboxNetwork, outside};
use sandbox_manifest::policy::RemoteHost;

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
fn host(to: SocketAddr, network: &SandboxNetwork) -> Option<RemoteHost> {
    match to.ip() {
        // A socket that listens at every address accepts connections to loopback addresses too.
        IpAddr::V4(address) if !address.is_loopback() => {
            Some(network.names.host_at(address).unwrap_or(RemoteHost::Address(address)))
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
    let broken = AtomicBool::new(false);
    let mut out = std::pin::pin!(copy(inside.0, outside.1, &broken));
    let mut back = std::pin::pin!(copy(outside.0, inside.1, &broken));
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

/// Copies one direction until its end, and then shuts the writer down, unless `broken` tells that a write has failed in one of
/// the directions. The kernel reports a reset once: after a write has failed by it, the same connection reads as ended.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    broken: &AtomicBool,
) -> Result<(), CopyError> {
    let failed_write = |_| {
        broken.store(true, Ordering::Relaxed);
        CopyError::Writing
    };
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) if broken.load(Ordering::Relaxed) => return Err(CopyError::Writing),
            Ok(0) => return to.shutdown().await.map_err(failed_write),
            Ok(length) => to.write_all(&buffer[..length]).await.map_err(failed_write)?,
            Err(_) => return Err(CopyError::Reading),
        }
    }
}

/// Selects whether closing the socket resets the connection (RST) or ends it regularly (FIN).
fn set_reset_on_close(stream: &TcpStream, reset: bool) {
    // This cannot fail for a TCP socket.
    let _ = set_socket_linger(stream, reset.then_some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test]
    async fn end_after_a_failed_write_is_not_passed_on() {
        let (mut request, mut from_program) = duplex(64);
        request.write_all(b"hello").await.unwrap();
        let (mut to_program, mut response) = duplex(64);
        let (mut host, mut from_host) = duplex(64);
        host.write_all(b"half of it").await.unwrap();
        // Its peer is gone, so that writing fails.
        let mut to_host = duplex(64).0;
        let end = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(host);
        };
        let exchange = exchange((&mut from_program, &mut to_program), (&mut from_host, &mut to_host));
        assert!(!tokio::join!(exchange, end).0);
        let mut received = [0; 64];
        assert_eq!(response.read(&mut received).await.unwrap(), b"half of it".len());
        let more = tokio::time::timeout(Duration::from_millis(20), response.read(&mut received)).await;
        assert!(more.is_err(), "the program was told of a regular end: {more:?}");
    }
}
