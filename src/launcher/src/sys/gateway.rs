//! Sets up the routes and sockets of a gateway in a sandbox's network namespace, from inside: with the loopback
//! interface up and before privileges are dropped. Needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE over the
//! namespace. The server's network tests also use it, to build small internets.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, socket_with};

use super::done;

/// How many connections the kernel completes ahead of the server's accepting them, for each listener.
const BACKLOG: i32 = 64;

/// In every network namespace the first interface is the loopback one, which the kernel makes with it.
const LOOPBACK_INDEX: u32 = 1;

/// Opens the listeners in their order, then the resolver's socket, then the observer's. All are close-on-exec.
pub fn open(listeners: &[SocketAddrV4], resolver: SocketAddrV4) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(listeners.len() + 2);
    for address in listeners {
        sockets.push(listen(*address)?);
    }
    sockets.push(UdpSocket::bind(resolver)?.into());
    sockets.push(observe()?);
    Ok(sockets)
}

fn listen(address: SocketAddrV4) -> io::Result<OwnedFd> {
    let listener = TcpListener::bind(address)?;
    // The standard library's backlog would let a program fill the kernel's memory with connections.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener.into())
}

/// Opens a raw socket that gets a copy of the first packet of each TCP connection over IPv4 to an address that is not
/// 127.0.0.0/8.
fn observe() -> io::Result<OwnedFd> {
    let socket = raw_socket(AddressFamily::INET, Some(ipproto::TCP))?;
    // The socket has been open for a moment, but nothing runs in the namespace yet that could send.
    let mut filter = FIRST_PACKETS;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the pointer and the size describe `program`, which describes `filter`; the kernel copies both.
    done(i64::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    }))?;
    Ok(socket)
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// A packet begins with the header of IPv4 here. What is let through is cut to 80 bytes, which hold both headers.
const FIRST_PACKETS: [libc::sock_filter; 8] = [
    // The destination's first octet is not 127.
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 16),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 5, 0, 127),
    // Behind IPv4's header, whose length is in its first octet, TCP's flags SYN and ACK are set and not set.
    instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0, 0, 13),
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0b0001_0010),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0b0000_0010),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 80),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

/// Makes the namespace take a network's addresses for its own: `ip route add local NETWORK/PREFIX dev lo src SOURCE`.
///
/// A source of 127.0.0.1 keeps a connection to an address where nobody listens from finding itself there, as TCP allows
/// when its own port happens to be the one that it connects to.
pub fn route_to_loopback(network: Ipv4Addr, prefix: u8, source: Ipv4Addr) -> io::Result<()> {
    // The protocol NETLINK_ROUTE is 0. A netlink socket that is not connected sends to the kernel.
    let socket = raw_socket(AddressFamily::NETLINK, None)?;
    let request = new_route(network, prefix, source);
    let sent = rustix::net::send(&socket, &request, SendFlags::empty())?;
    assert_eq!(sent, request.len(), "netlink takes a message whole or not at all");
    // `struct nlmsghdr`, then `struct nlmsgerr` up to the copy of the request, which is cut off.
    let mut answer = [0; HEADER_SIZE + 4];
    let (_, length) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    parse_acknowledgement(&answer[..length])
}

/// The size of `struct nlmsghdr`, in bytes.
const HEADER_SIZE: usize = 16;

/// Reads the kernel's answer to a request: a message of NLMSG_ERROR, whose error is 0 if the request succeeded.
fn parse_acknowledgement(answer: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..).and_then(<[u8]>::first_chunk).ok_or_else(invalid)?;
    let error = answer.get(HEADER_SIZE..).and_then(<[u8]>::first_chunk).ok_or_else(invalid)?;
    if u16::from_ne_bytes(*kind) != libc::NLMSG_ERROR as u16 {
        return Err(invalid());
    }
    match i32::from_ne_bytes(*error) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Encodes a message of RTM_NEWROUTE: `struct nlmsghdr`, `struct rtmsg`, and three attributes of four bytes each.
fn new_route(network: Ipv4Addr, prefix: u8, source: Ipv4Addr) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let (sequence, port) = (1_u32, 0_u32);
    let (source_prefix, service) = (0, 0);
    let (table, protocol, scope, kind) =
        (libc::RT_TABLE_LOCAL, libc::RTPROT_BOOT, libc::RT_SCOPE_HOST, libc::RTN_LOCAL);
    let mut body = vec![libc::AF_INET as u8, prefix, source_prefix, service, table, protocol, scope, kind];
    let route_flags = 0_u32;
    body.extend(route_flags.to_ne_bytes());
    let attributes = [
        (libc::RTA_DST, network.octets()),
        (libc::RTA_OIF, LOOPBACK_INDEX.to_ne_bytes()),
        (libc::RTA_PREFSRC, source.octets()),
    ];
    for (kind, value) in attributes {
        // `struct rtattr`, whose length includes itself.
        body.extend(8_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    let length = (HEADER_SIZE + body.len()) as u32;
    let mut message = Vec::with_capacity(length as usize);
    message.extend(length.to_ne_bytes());
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(port.to_ne_bytes());
    message.extend(body);
    message
}

fn raw_socket(family: AddressFamily, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_route_message_has_its_own_length() {
        let message = new_route(Ipv4Addr::new(10, 0, 0, 0), 8, Ipv4Addr::LOCALHOST);
        assert_eq!(message.len(), 52);
        assert_eq!(message[..4], 52_u32.to_ne_bytes());
        assert_eq!(message[28..36], [8_u16.to_ne_bytes(), 1_u16.to_ne_bytes(), [10, 0], [0, 0]].concat());
    }

    #[test]
    fn acknowledgement_with_errno_is_that_error() {
        let answer = |kind: i32, error: i32| {
            let mut bytes = [0; HEADER_SIZE + 4];
            bytes[4..6].copy_from_slice(&(kind as u16).to_ne_bytes());
            bytes[16..].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        assert!(parse_acknowledgement(&answer(libc::NLMSG_ERROR, 0)).is_ok());
        let refused = parse_acknowledgement(&answer(libc::NLMSG_ERROR, -libc::EPERM)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(parse_acknowledgement(&answer(libc::NLMSG_DONE, 0)).is_err());
        assert!(parse_acknowledgement(&answer(libc::NLMSG_ERROR, 0)[..19]).is_err());
    }
}
