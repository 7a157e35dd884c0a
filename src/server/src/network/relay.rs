//! Takes the connections of a sandbox's programs, connects to the host that each means, and carries bytes both ways.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::refusals::{Reason, Refusal};
use super::{RETRY, Service, outside};
use sandbox_manifest::policy::Host;

/// Bytes that are on their way through the server, for each direction of each connection.
const BUFFER: usize = 16 * 1024;

/// Makes a listening socket that was opened in a sandbox one of this server's runtime.
pub fn adopt(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts connections until the sandbox ends.
pub async fn accept(listener: TcpListener, service: Arc<Service>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Most likely no descriptor is left: others may end meanwhile, and the program waits.
            Err(error) => {
                tracing::warn!("a connection of a sandbox could not be accepted: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        service.connections.turn().await;
        // It is never closed.
        let Ok(slot) = service.slots.clone().acquire_owned().await else { return };
        let task = service.clone();
        service.tasks.spawn(async move {
            let ended = task.ended.clone();
            ended.run_until_cancelled(serve(stream, &task)).await;
            drop(slot);
        });
    }
}

/// Serves one connection to its end.
async fn serve(mut inside: TcpStream, service: &Service) {
    // Whenever this stops short, the program is to see a broken connection, not one that has ended.
    break_when_dropped(&inside, true);
    let Ok(to) = inside.local_addr() else { return };
    let Some(host) = host(to, service) else { return };
    let refused = |reason| service.record.add(&Refusal { host: host.to_string(), port: Some(to.port()), reason });
    if !service.names.permits(&host, to.port()) {
        return refused(Reason::NotListed);
    }
    match outside::connect(&host, to.port()).await {
        Ok(mut outside) => carry(&mut inside, &mut outside).await,
        Err(reason) => refused(reason),
    }
}

/// Which host a program means by the address that it connected to. None: none outside.
fn host(to: SocketAddr, service: &Service) -> Option<Host> {
    match to.ip() {
        // Where a port is listened to at every address, loopback is among them.
        IpAddr::V4(address) if !address.is_loopback() => {
            Some(service.names.host_at(address).unwrap_or(Host::Address(address)))
        }
        _ => None,
    }
}

/// Carries bytes until both sides have ended, or one is broken, which then breaks the other.
async fn carry(inside: &mut TcpStream, outside: &mut TcpStream) {
    // What was cut short must not look whole to the host either.
    break_when_dropped(outside, true);
    // What small messages wait for is the program's and the host's business.
    let _ = inside.set_nodelay(true).and_then(|()| outside.set_nodelay(true));
    let whole = {
        let (from_inside, to_inside) = inside.split();
        let (from_outside, to_outside) = outside.split();
        exchange((from_inside, to_inside), (from_outside, to_outside)).await
    };
    if whole {
        break_when_dropped(inside, false);
        break_when_dropped(outside, false);
    }
}

/// Whether both directions came to their proper end.
async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(inside: (R, W), outside: (R, W)) -> bool {
    let (mut out, mut back) = (std::pin::pin!(copy(inside.0, outside.1)), std::pin::pin!(copy(outside.0, inside.1)));
    // One side may still have to say something after the other takes nothing more, such as why.
    let (first, second) = tokio::select! {
        first = &mut out => match first {
            Err(Broken::Reading) => return false,
            first => (first, back.await),
        },
        first = &mut back => match first {
            Err(Broken::Reading) => return false,
            first => (first, out.await),
        },
    };
    first.is_ok() && second.is_ok()
}

enum Broken {
    /// Nothing more comes, so nothing more can be sent there either.
    Reading,
    Writing,
}

/// Copies one direction to its end, and passes the end on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => return to.shutdown().await.map_err(|_| Broken::Writing),
            Ok(length) => to.write_all(&buffer[..length]).await.map_err(|_| Broken::Writing)?,
            Err(_) => return Err(Broken::Reading),
        }
    }
}

/// Whether closing the socket tells the other end that the connection was broken (RST), or that it has ended (FIN).
fn break_when_dropped(stream: &TcpStream, broken: bool) {
    // It fails for what is no socket only.
    let _ = set_socket_linger(stream, broken.then_some(Duration::ZERO));
}
