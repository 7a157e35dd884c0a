//! Records connections to fake addresses where no socket listens, so that the result can name them.
//!
//! The kernel refuses such a connection by itself. To the program it looks as if the host had refused the connection.
//! Without a reason, an agent would try again.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use tokio::net::UdpSocket;

use super::refusals::{RefusalReason, RefusedConnection};
use super::{SandboxNetwork, resolver};

/// The longest IPv4 header, and the TCP header without options.
const MAX_HEADER_BYTES: usize = 60 + 20;

/// How many packets are read after the program's end. It is more than a socket's default buffer holds.
const MAX_PACKETS_AFTER_END: usize = 512;

const IPV4: u8 = 4;
const TCP: u8 = 6;
const SYN: u8 = 0b0000_0010;
const ACK: u8 = 0b0001_0000;

/// A raw socket that was opened in a sandbox. The kernel copies the first packet of each TCP connection to it, which a
/// socket filter selects. It is wrapped as a UDP socket, because tokio has no type for raw sockets and both receive
/// datagrams.
pub struct Observer(UdpSocket);

impl Observer {
    /// Registers the socket with the current runtime.
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        resolver::adopt(socket).map(Self)
    }

    /// Records connection attempts until the future is dropped.
    pub async fn observe(&self, network: &SandboxNetwork) {
        let mut packet = [0; MAX_HEADER_BYTES];
        loop {
            match self.0.recv(&mut packet).await {
                Ok(length) => record(destination(&packet[..length]), network),
                Err(error) => tracing::debug!("cannot read a packet of a sandbox: {error}"),
            }
            network.attempt_rate.acquire().await;
        }
    }

    /// Records the packets that are still in the buffer: the program may have sent them just before it ended.
    pub fn finish(&self, network: &SandboxNetwork) {
        let mut packet = [0; MAX_HEADER_BYTES];
        for _ in 0..MAX_PACKETS_AFTER_END {
            match self.0.try_recv(&mut packet) {
                Ok(length) => record(destination(&packet[..length]), network),
                Err(_) => return,
            }
        }
    }
}

/// Returns the destination of the first packet (SYN) of a connection. `None` if it is another packet.
fn destination(packet: &[u8]) -> Option<SocketAddrV4> {
    let header = packet.first_chunk::<20>()?;
    let length = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != IPV4 || length < header.len() || header[9] != TCP {
        return None;
    }
    let segment = packet.get(length..)?.first_chunk::<14>()?;
    let address = [header[16], header[17], header[18], header[19]];
    let port = u16::from_be_bytes([segment[2], segment[3]]);
    (segment[13] & (SYN | ACK) == SYN).then(|| SocketAddrV4::new(address.into(), port))
}

fn record(to: Option<SocketAddrV4>, network: &SandboxNetwork) {
    let Some(to) = to else { return };
    // The relay checks connections to a listener, and connections within the sandbox are always allowed.
    if network.gateway.accepts(to) || !network.gateway.routes.iter().any(|route| route.contains(*to.ip())) {
        return;
    }
    let host = network.names.host_at(*to.ip()).map_or_else(|| to.ip().to_string(), |host| host.to_string());
    network.refusals.add(&RefusedConnection { host, port: Some(to.port()), reason: RefusalReason::NotListed });
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox_manifest::policy::{Entry, Pattern};

    fn packet(to: [u8; 4], port: u16, flags: u8, options: usize) -> Vec<u8> {
        let mut packet = vec![0; 20 + options + 20];
        packet[0] = 0x40 | (5 + options / 4) as u8;
        packet[9] = TCP;
        packet[16..20].copy_from_slice(&to);
        let segment = &mut packet[20 + options..];
        segment[2..4].copy_from_slice(&port.to_be_bytes());
        segment[13] = flags;
        packet
    }

    #[test]
    fn first_packet_yields_the_destination() {
        let to = Some("198.18.1.1:8080".parse().unwrap());
        assert_eq!(destination(&packet([198, 18, 1, 1], 8080, SYN, 0)), to);
        assert_eq!(destination(&packet([198, 18, 1, 1], 8080, SYN | 0b1100_0000, 40)), to);
    }

    #[test]
    fn other_or_truncated_packet_yields_nothing() {
        let whole = packet([198, 18, 1, 1], 8080, SYN, 8);
        for length in 0..28 + 14 {
            assert_eq!(destination(&whole[..length]), None, "{length}");
        }
        assert_eq!(destination(&packet([198, 18, 1, 1], 8080, SYN | ACK, 0)), None);
        assert_eq!(destination(&packet([198, 18, 1, 1], 8080, ACK, 0)), None);
        for (index, byte) in [(0, 0x65), (0, 0x44), (0, 0x4f), (9, 17)] {
            let mut changed = packet([198, 18, 1, 1], 8080, SYN, 0);
            changed[index] = byte;
            assert_eq!(destination(&changed), None, "{index}");
        }
    }

    #[test]
    fn attempt_without_listener_is_recorded_by_name() {
        const LIST: &[Entry] = &[
            Entry { to: Pattern::Name("api.example.org"), port: 443 },
            Entry { to: Pattern::Below("example.com"), port: 8443 },
        ];
        let network = SandboxNetwork::new(LIST);
        for to in
            ["198.18.1.1:443", "198.18.1.1:8443", "198.18.1.1:80", "198.19.7.7:80", "127.0.0.1:80", "198.18.0.1:53"]
        {
            record(to.parse().ok(), &network);
        }
        assert_eq!(
            network.refusals.take().kept,
            [
                "connection to api.example.org:80 was refused: not on the allow-list",
                "connection to 198.19.7.7:80 was refused: not on the allow-list",
                "connection to 198.18.0.1:53 was refused: not on the allow-list",
            ]
        );
    }
}
