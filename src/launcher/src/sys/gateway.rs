//! Sets up a sandbox's network namespace as its gateway says, from inside: with the loopback interface up and before
//! privileges are dropped. It needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE over the namespace, and leaves
//! nothing behind but what it returns. It stands by itself, since checks/network makes small internets with it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// How many connections the kernel completes ahead of the server's accepting them, for each listener.
const BACKLOG: libc::c_int = 64;

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
    // SAFETY: no pointer is followed.
    check(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })?;
    Ok(listener.into())
}

/// A raw socket that gets a copy of the first packet of each TCP connection over IPv4 to an address that is not
/// 127.0.0.0/8.
fn observe() -> io::Result<OwnedFd> {
    let socket = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP)?;
    // The socket has been open for a moment, but nothing runs in the namespace yet that could send.
    let mut filter = FIRST_PACKETS;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the pointer and the size describe `program`, which describes `filter`; the kernel copies both.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    })?;
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
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    let request = NewRoute::local(network, prefix, source);
    let size = size_of_val(&request);
    // SAFETY: the pointer and the size describe `request`, which has no padding. A socket of netlink that is not
    // connected sends to the kernel.
    let sent = check_long(unsafe { libc::send(socket.as_raw_fd(), (&raw const request).cast(), size, 0) })?;
    assert_eq!(sent, size, "netlink takes a message whole or not at all");
    acknowledged(&socket)
}

/// Reads the kernel's answer to the one request that was sent.
fn acknowledged(socket: &OwnedFd) -> io::Result<()> {
    /// `struct nlmsghdr`, then `struct nlmsgerr` up to what it repeats of the request.
    #[repr(C)]
    #[derive(Default)]
    struct Acknowledgement {
        header: Header,
        error: i32,
    }
    let mut answer = Acknowledgement::default();
    let size = size_of_val(&answer);
    // SAFETY: the pointer and the size describe `answer`, of which every value of its bytes is valid. What does not
    // fit is cut off.
    let length = check_long(unsafe { libc::recv(socket.as_raw_fd(), (&raw mut answer).cast(), size, 0) })?;
    if length < size || answer.header.kind != libc::NLMSG_ERROR as u16 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match answer.error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// `struct nlmsghdr`.
#[repr(C)]
#[derive(Default)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// A message of RTM_NEWROUTE: `struct nlmsghdr`, `struct rtmsg`, and three attributes of four bytes each.
#[repr(C)]
struct NewRoute {
    header: Header,
    family: u8,
    prefix: u8,
    source_prefix: u8,
    service: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
    destination: Attribute,
    interface: Attribute,
    source: Attribute,
}

/// `struct rtattr` with its value.
#[repr(C)]
struct Attribute {
    length: u16,
    kind: u16,
    value: [u8; 4],
}

impl NewRoute {
    fn local(network: Ipv4Addr, prefix: u8, source: Ipv4Addr) -> Self {
        let attribute = |kind, value| Attribute { length: size_of::<Attribute>() as u16, kind, value };
        Self {
            header: Header {
                length: size_of::<Self>() as u32,
                kind: libc::RTM_NEWROUTE,
                flags: (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16,
                sequence: 1,
                port: 0,
            },
            family: libc::AF_INET as u8,
            prefix,
            source_prefix: 0,
            service: 0,
            table: libc::RT_TABLE_LOCAL,
            protocol: libc::RTPROT_BOOT,
            scope: libc::RT_SCOPE_HOST,
            kind: libc::RTN_LOCAL,
            flags: 0,
            destination: attribute(libc::RTA_DST, network.octets()),
            interface: attribute(libc::RTA_OIF, LOOPBACK_INDEX.to_ne_bytes()),
            source: attribute(libc::RTA_PREFSRC, source.octets()),
        }
    }
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is followed.
    let fd: RawFd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the kernel has just returned this descriptor to us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
