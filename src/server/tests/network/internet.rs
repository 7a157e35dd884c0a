//! A simulated internet for tests: a network namespace without a connection to the outside, where some public addresses
//! are routed to the loopback interface, and a DNS server. No packet leaves the namespace.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The public address of the machine that the server runs on.
pub const MACHINE: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
/// The public address of the hosts on the internet.
pub const HOST: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);
const HOSTS: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 0);

/// Returns the answers of the DNS server for each name. The first question gets the first list of addresses, the second
/// question the second list, and so on. The last list is repeated.
fn zone() -> BTreeMap<&'static str, Vec<Vec<IpAddr>>> {
    let public = IpAddr::V4(HOST);
    let at = |address: &str| vec![vec![address.parse().unwrap()]];
    BTreeMap::from([
        ("api.example.org", vec![vec![public]]),
        ("a.b.wild.example.org", vec![vec![public]]),
        ("private.example.org", at("10.0.0.1")),
        ("metadata.example.org", at("169.254.169.254")),
        ("metadata6.example.org", at("fd00:ec2::254")),
        ("loopback.example.org", at("127.0.0.1")),
        ("loopback6.example.org", at("::1")),
        ("mapped.example.org", at("::ffff:127.0.0.1")),
        ("nat64.example.org", at("64:ff9b::7f00:1")),
        ("unspecified.example.org", at("0.0.0.0")),
        ("machine.example.org", vec![vec![MACHINE.into()]]),
        ("mixed.example.org", vec![vec![Ipv4Addr::LOCALHOST.into(), public, Ipv4Addr::new(10, 0, 0, 1).into()]]),
        ("rebinding.example.org", vec![vec![public], vec![Ipv4Addr::LOCALHOST.into()]]),
        // A resolver that uses its search list would ask for this name when `gone.example.org` does not exist.
        ("gone.example.org.corp.example.org", vec![vec![public]]),
    ])
}

/// Moves this process into the simulated internet. The process must have only one thread. Its children are moved too.
pub fn enter() -> io::Result<()> {
    // Root keeps the machine's users, because a server that runs as root runs programs as another user.
    if !is_root() || unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS).is_err() {
        become_sole_user()?;
    }
    configure("nameserver 127.0.0.1\nsearch corp.example.org\n", "127.0.0.1 localhost\n")?;
    loopback_up()?;
    add_address(MACHINE)?;
    sandbox_launcher::route_to_loopback(HOSTS, 24, MACHINE)?;
    serve_names()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes this process root in new namespaces that contain no other user.
fn become_sole_user() -> io::Result<()> {
    // SAFETY: they take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Replaces /etc by the files that the C library needs to resolve names, for this process and its children.
pub fn configure(resolv_conf: &str, hosts: &str) -> io::Result<()> {
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"tmpfs", c"/etc", libc::MS_NOSUID | libc::MS_NODEV)?;
    fs::write("/etc/resolv.conf", resolv_conf)?;
    fs::write("/etc/hosts", hosts)?;
    fs::write("/etc/nsswitch.conf", "hosts: files dns\n")
}

pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointer is followed.
    check(unsafe { libc::unshare(flags) })
}

pub fn loopback_up() -> io::Result<()> {
    let mut request = interface(c"lo");
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    configure_interface(libc::SIOCSIFFLAGS, &request)
}

fn add_address(address: Ipv4Addr) -> io::Result<()> {
    let mut request = interface(c"lo:1");
    // SAFETY: an all-zero sockaddr_in is valid: every field is an integer.
    let mut socket_address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    socket_address.sin_family = libc::AF_INET as libc::sa_family_t;
    socket_address.sin_addr.s_addr = address.to_bits().to_be();
    // SAFETY: both are sixteen bytes long, and valid whatever these are.
    request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(socket_address) };
    configure_interface(libc::SIOCSIFADDR, &request)
}

fn interface(name: &CStr) -> libc::ifreq {
    // SAFETY: an all-zero ifreq is valid: a name of NULs and a union of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    request
}

fn configure_interface(command: libc::Ioctl, request: &libc::ifreq) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the commands that are used here read an ifreq, and this is one.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), command, &raw const *request) })
}

fn mount(kind: &CStr, target: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: all pointers are null or to NUL-terminated strings.
    check(unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, null()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How often the IPv4 addresses of each name were asked for.
static ASKED: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// Returns how often the IPv4 addresses of a name were asked for.
pub fn asked(name: &str) -> usize {
    ASKED.lock().unwrap().get(name).copied().unwrap_or(0)
}

/// Starts the DNS server that the C library of this process asks.
fn serve_names() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))?;
    thread::spawn(move || {
        let zone = zone();
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            let _ = socket.send_to(&answer(&message[..length], &zone), from);
        }
    });
    Ok(())
}

/// Answers a DNS question. It shares no code with the server's codec, so that neither hides a mistake of the other.
fn answer(message: &[u8], zone: &BTreeMap<&str, Vec<Vec<IpAddr>>>) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while message[at] != 0 {
        let next = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..next]).into_owned());
        at = next;
    }
    let name = labels.join(".");
    let kind = message[at + 2];
    let times = {
        let mut asked = ASKED.lock().unwrap();
        let times = asked.entry(name.clone()).or_default();
        *times += usize::from(kind == 1);
        times.saturating_sub(1)
    };
    let addresses = zone.get(&*name).map(|answers| &answers[times.min(answers.len() - 1)]);
    let records: Vec<Vec<u8>> = addresses
        .into_iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), 1) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), 28) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut answer = message[..2].to_vec();
    answer.extend([0x81, if addresses.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    answer.extend(&message[12..at + 5]);
    for record in records {
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, record.len() as u8]);
        answer.extend(record);
    }
    answer
}

/// A host that listens at a unique port.
pub struct InternetHost {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl InternetHost {
    pub fn at(address: impl Into<IpAddr>, behave: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(2000);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let listener = TcpListener::bind((address.into(), port)).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, behave) = (connections.clone(), Arc::new(behave));
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let behave = behave.clone();
                thread::spawn(move || behave(stream.unwrap()));
            }
        });
        Self { port, connections }
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads to the end, and then sends back the text.
pub fn echo(mut stream: TcpStream) {
    let mut text = Vec::new();
    if stream.read_to_end(&mut text).is_ok() {
        let _ = stream.write_all(b"heard: ");
        let _ = stream.write_all(&text);
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Handles connections to a host that no program must ever reach.
pub fn trap(_: TcpStream) {}
