//! Sees the connections that programs try at fake addresses where nobody listens, to name them in the result.
//!
//! The kernel refuses such a connection by itself. The program is then told that the host refused it, which is wrong,
//! and would be tried again.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use tokio::net::UdpSocket;

use super::refusals::{Reason, Refusal};
use super::{Service, resolver};

/// The longest header of IPv4 and what is read of that of TCP.
const LARGEST_HEADERS: usize = 60 + 20;

/// How many packets are looked at after the program's end: more than a socket's buffer holds by default.
const MOST_LEFT: usize = 512;

const IPV4: u8 = 4;
const TCP: u8 = 6;
const SYN: u8 = 0b0000_0010;
const ACK: u8 = 0b0001_0000;

/// A raw socket that was opened in a sandbox, to which the kernel copies the first packet of each connection. To the
/// runtime it is a socket of datagrams like any other.
pub struct Observer(UdpSocket);

impl Observer {
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        resolver::adopt(socket).map(Self)
    }

    /// Observes until it is dropped.
    pub async fn observe(&self, service: &Service) {
        let mut packet = [0; LARGEST_HEADERS];
        loop {
            match self.0.recv(&mut packet).await {
                Ok(length) => record(destination(&packet[..length]), service),
                Err(error) => tracing::debug!("an attempt of a sandbox was not observed: {error}"),
            }
            service.attempts.turn().await;
        }
    }

    /// Takes what has come in until now, for a program that has ended may have tried just before.
    pub fn finish(&self, service: &Service) {
        let mut packet = [0; LARGEST_HEADERS];
        for _ in 0..MOST_LEFT {
            match self.0.try_recv(&mut packet) {
                Ok(length) => record(destination(&packet[..length]), service),
                Err(_) => return,
            }
        }
    }
}

/// Where the first packet of a connection goes. None: it is another packet.
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

fn record(to: Option<SocketAddrV4>, service: &Service) {
    let Some(to) = to else { return };
    // What comes to a listener is judged there, and what stays in the sandbox is the program's own business.
    if service.gateway.accepts(to) || !service.gateway.routes.iter().any(|route| route.contains(*to.ip())) {
        return;
    }
    let host = service.names.host_at(*to.ip()).map_or_else(|| to.ip().to_string(), |host| host.to_string());
    service.record.add(&Refusal { host, port: Some(to.port()), reason: Reason::NotListed });
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
    fn the_first_packet_of_a_connection_tells_where_it_goes() {
        let to = Some("198.18.1.1:8080".parse().unwrap());
        assert_eq!(destination(&packet([198, 18, 1, 1], 8080, SYN, 0)), to);
        assert_eq!(destination(&packet([198, 18, 1, 1], 8080, SYN | 0b1100_0000, 40)), to);
    }

    #[test]
    fn any_other_packet_and_any_piece_of_one_tells_nothing() {
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
    fn attempts_beside_the_listeners_are_recorded_by_the_name_that_was_meant() {
        const LIST: &[Entry] = &[
            Entry { to: Pattern::Name("api.example.org"), port: 443 },
            Entry { to: Pattern::Below("example.com"), port: 8443 },
        ];
        let service = Service::new(LIST);
        for to in
            ["198.18.1.1:443", "198.18.1.1:8443", "198.18.1.1:80", "198.19.7.7:80", "127.0.0.1:80", "198.18.0.1:53"]
        {
            record(to.parse().ok(), &service);
        }
        assert_eq!(
            service.record.take().kept,
            [
                "connection to api.example.org:80 was refused: not on the allow-list",
                "connection to 198.19.7.7:80 was refused: not on the allow-list",
                "connection to 198.18.0.1:53 was refused: not on the allow-list",
            ]
        );
    }
}
