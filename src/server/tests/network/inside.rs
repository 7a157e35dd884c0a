//! A minimal sandbox that has only a network: a process that sets up its namespace as the gateway lists it, passes the
//! sockets to the test, drops its privileges, and executes a program.

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use sandbox_manifest::policy::Entry;
use sandbox_server::network::gateway::Gateway;
use sandbox_server::network::{self, Refusals, Sockets};
use tokio_util::sync::CancellationToken;

use crate::internet;

/// The first argument of a process that is to become a sandbox.
pub const SANDBOX: &str = "--sandbox";
/// The first argument of a process that is to become a program in a sandbox.
pub const PROGRAM: &str = "--program";

/// The result of running a program.
#[derive(Debug)]
pub struct ProgramResult {
    pub output: String,
    pub refusals: Refusals,
}

/// Runs one of the programs below with network access by this allow-list.
pub fn run(entries: &[&str], program: &[&dyn Display]) -> ProgramResult {
    let program: Vec<String> = program.iter().map(std::string::ToString::to_string).collect();
    let own = "/proc/self/exe".to_owned();
    execute(entries, [own, PROGRAM.to_owned()].into_iter().chain(program).collect())
}

/// Runs any program with network access by this allow-list.
pub fn execute(entries: &[&str], program: Vec<String>) -> ProgramResult {
    let entries: Vec<Entry> =
        entries.iter().map(|text| Entry::parse(text.to_string().leak()).unwrap_or_else(|e| panic!("{e}"))).collect();
    let entries: &'static [Entry] = entries.leak();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new("/proc/self/exe");
    child.arg(SANDBOX).args(described(&Gateway::of(entries))).args(program);
    child.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let mut sockets = receive(&ours);
    let observer = sockets.pop().expect("the sandbox opens its sockets");
    let sockets = Sockets { resolver: sockets.pop().unwrap(), observer, listeners: sockets };

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ended = CancellationToken::new();
        let served = async { network::serve(entries, sockets, &ended).await.unwrap() };
        let waited = async {
            let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
            ended.cancel();
            output
        };
        let (refusals, Output { stdout, stderr, .. }) = tokio::join!(served, waited);
        let output = [stdout, stderr].map(|stream| String::from_utf8(stream).unwrap()).concat();
        ProgramResult { output: output.trim_end().to_owned(), refusals }
    })
}

/// Encodes the gateway as arguments.
fn described(gateway: &Gateway) -> Vec<String> {
    let join = |items: Vec<String>| items.join(",");
    vec![
        join(gateway.routes.iter().map(|route| format!("{}/{}", route.network, route.prefix)).collect()),
        join(gateway.listeners.iter().map(ToString::to_string).collect()),
        gateway.resolver.to_string(),
        gateway.hosts.clone(),
        gateway.resolv_conf.clone(),
    ]
}

/// Makes this process a sandbox, and executes the program. Returns only if that fails.
pub fn become_sandbox(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let mut next = || arguments.next().unwrap().into_string().unwrap();
    let [routes, listeners, resolver, hosts, resolv_conf] = std::array::from_fn(|_| next());
    let set_up = || -> io::Result<Vec<OwnedFd>> {
        internet::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS)?;
        internet::configure(&resolv_conf, &format!("127.0.0.1 localhost\n{hosts}"))?;
        internet::loopback_up()?;
        for route in routes.split(',') {
            let (network, prefix) = route.split_once('/').unwrap();
            sandbox_launcher::route_to_loopback(parsed(network), parsed(prefix), Ipv4Addr::LOCALHOST)?;
        }
        let listeners: Vec<SocketAddrV4> = listeners.split(',').filter(|text| !text.is_empty()).map(parsed).collect();
        sandbox_launcher::open_sockets(&listeners, parsed(&resolver))
    };
    let sockets = match set_up() {
        Ok(sockets) => sockets,
        Err(error) => return error,
    };
    send(io::stdin(), &sockets);
    drop(sockets);
    drop_capabilities();
    let program: Vec<OsString> = arguments.collect();
    Command::new(&program[0]).args(&program[1..]).stdin(Stdio::null()).exec()
}

fn parsed<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn drop_capabilities() {
    let last: libc::c_ulong = parsed(fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim());
    for capability in 0..=last {
        // SAFETY: no pointer is followed.
        assert_eq!(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }, 0);
    }
    let (header, sets) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: version 3 reads two times three 32-bit sets.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }, 0);
}

fn send(to: impl AsFd, sockets: &[OwnedFd]) {
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(&sockets).size()];
    let mut message = SendAncillaryBuffer::new(&mut space);
    assert!(message.push(SendAncillaryMessage::ScmRights(&sockets)));
    sendmsg(to, &[IoSlice::new(b"!")], &mut message, SendFlags::empty()).unwrap();
}

fn receive(from: &UnixStream) -> Vec<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    recvmsg(from, &mut [IoSliceMut::new(&mut [0])], &mut message, RecvFlags::CMSG_CLOEXEC).unwrap();
    let rights = message.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    rights.flatten().collect()
}

/// Runs the program that the arguments name.
pub fn program(arguments: impl Iterator<Item = OsString>) {
    let arguments: Vec<String> = arguments.map(|argument| argument.into_string().unwrap()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fetch", host, port, text] => println!("{}", shown(fetch(host, parsed(port), text.as_bytes()))),
        ["fetch-twice", host, port] => {
            for _ in 0..2 {
                println!("{}", shown(fetch(host, parsed(port), b"again")));
            }
        }
        ["resolve", host] => println!("{}", shown(resolve(host))),
        ["connect", address, port] => {
            println!("{}", shown(TcpStream::connect((address, parsed(port))).map(|_| "connected")));
        }
        ["datagram", address] => println!("{}", shown(datagram(parsed(address)))),
        ["transfer", host, port, bytes] => println!("{}", shown(transfer(host, parsed(port), parsed(bytes)))),
        ["hold", host, port, count] => println!("{}", shown(hold(host, parsed(port), parsed(count)))),
        ["break", host, port] => println!("{}", shown(begin(host, parsed(port)).and_then(end_at_once))),
        ["stay", host, port] => {
            println!(
                "{}",
                shown(begin(host, parsed(port)).and_then(|(mut stream, _)| stream.read_to_end(&mut Vec::new())))
            );
        }
        ["leave", host, port] => println!("{}", shown(begin(host, parsed(port)).and_then(leave))),
        ["sleep"] => std::thread::sleep(Duration::from_secs(5)),
        ["listen", address] => println!("{}", shown(listen(address))),
        ["babble", host] => println!("{}", shown(babble(host))),
        _ => panic!("unknown program: {arguments:?}"),
    }
}

fn shown<T: ToString>(result: io::Result<T>) -> String {
    result.map_or_else(|error| format!("{:?}: {error}", error.kind()), |value| value.to_string())
}

/// Sends a text, shuts down writing, and reads the answer to its end.
fn fetch(host: &str, port: u16, text: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.write_all(text)?;
    stream.shutdown(Shutdown::Write)?;
    io::read_to_string(stream)
}

fn resolve(host: &str) -> io::Result<String> {
    let addresses: Vec<String> = (host, 0).to_socket_addrs()?.map(|address| address.ip().to_string()).collect();
    Ok(addresses.join(" "))
}

fn datagram(to: SocketAddrV4) -> io::Result<&'static str> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.send(b"hello").map(|_| "sent")
}

/// Sends bytes that depend on their position, and checks that they all come back.
fn transfer(host: &str, port: u16, bytes: usize) -> io::Result<String> {
    let pattern = |place: usize| (place.wrapping_mul(2_654_435_761) >> 13) as u8;
    let mut stream = TcpStream::connect((host, port))?;
    let mut writer = stream.try_clone()?;
    let sender = std::thread::spawn(move || {
        writer.write_all(&(0..bytes).map(pattern).collect::<Vec<_>>())?;
        writer.shutdown(Shutdown::Write)
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    sender.join().unwrap()?;
    let wrong = back.iter().enumerate().filter(|(place, byte)| **byte != pattern(*place)).count();
    Ok(format!("{} bytes came back, {wrong} of them wrong", back.len()))
}

/// Opens several connections, writes to each, and only then reads from each.
fn hold(host: &str, port: u16, count: usize) -> io::Result<String> {
    let connect = |_| {
        let mut stream = TcpStream::connect((host, port))?;
        stream.write_all(b"x")?;
        stream.shutdown(Shutdown::Write)?;
        Ok(stream)
    };
    let streams = (0..count).map(connect).collect::<io::Result<Vec<TcpStream>>>()?;
    let answers = streams.into_iter().map(io::read_to_string).collect::<io::Result<Vec<String>>>()?;
    Ok(format!("{} answers", answers.iter().filter(|answer| *answer == "heard: x").count()))
}

/// Opens a connection, sends a text, and reads one byte.
fn begin(host: &str, port: u16) -> io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.write_all(b"half of it")?;
    let mut text = [0];
    stream.read_exact(&mut text)?;
    Ok((stream, String::from_utf8_lossy(&text).into_owned()))
}

/// Resets a connection, like a program that is killed before it has read all data.
fn end_at_once((stream, heard): (TcpStream, String)) -> io::Result<String> {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(heard)
}

/// Passes the connection to a process that outlives this program.
fn leave((stream, heard): (TcpStream, String)) -> io::Result<String> {
    let mut process = Command::new("/proc/self/exe");
    process.args([PROGRAM, "sleep"]).stdin(OwnedFd::from(stream)).stdout(Stdio::null()).stderr(Stdio::null());
    process.spawn().map(|_| heard)
}

/// Listens at an address inside the sandbox, and connects to it.
fn listen(address: &str) -> io::Result<String> {
    let listener = std::net::TcpListener::bind(address)?;
    let mut stream = TcpStream::connect(address)?;
    listener.accept()?.0.write_all(b"own")?;
    let mut text = [0; 3];
    stream.read_exact(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sends any bytes to the resolver, and then a valid question.
fn babble(host: &str) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut runner = TestRunner::deterministic();
    for length in 0..150 {
        let nonsense = vec(any::<u8>(), length).new_tree(&mut runner).expect("there are such bytes").current();
        socket.send_to(&nonsense, "198.18.0.1:53")?;
    }
    resolve(host)
}
