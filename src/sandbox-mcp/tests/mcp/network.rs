//! What sandboxes see of the host's network: those without one nothing, the one with it what the host sees.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;

use serde_json::json;

use crate::server;

/// A web server on the host's loopback. It ends with the tests.
fn host_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let port = listener.local_addr().expect("it has an address").port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a client");
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 14\r\n\r\nfrom the host\n");
        }
    });
    port
}

#[test]
fn sandbox_on_the_host_network_reaches_the_host() {
    let script = format!("curl -sS http://127.0.0.1:{0}/ || wget -qO - http://127.0.0.1:{0}/", host_server());
    let reply = server().call("network-tools", json!({"main_sh": script}));
    if crate::is_by_nix() {
        assert!(reply.refusal().contains("which Nix's build sandbox can't give"), "{reply}");
    } else {
        assert_eq!(reply.output(), "from the host\n");
    }
}

#[test]
fn sandbox_without_network_reaches_no_socket_of_the_host() {
    let name = format!("sandbox-mcp-check-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let _listener = UnixListener::bind_addr(&address).expect("listen");
    let script = format!(
        "import socket
try:
    socket.create_connection(('127.0.0.1', {}), timeout=5)
    print('reached a port')
except OSError as error: print(error.strerror)
try:
    socket.socket(socket.AF_UNIX).connect('\\0{name}')
    print('reached a socket')
except OSError as error: print(error.strerror)",
        host_server()
    );
    let reply = server().call("python", json!({"main_py": script}));
    // Refused by an empty network, or by a filter where there are no namespaces.
    let lines: Vec<&str> = reply.output().lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| !line.starts_with("reached")), "{lines:?}");
}

#[test]
fn two_calls_do_not_reach_each_other() {
    let server = server();
    let listen = json!({"main_py": "import socket
try:
    listener = socket.create_server(('0.0.0.0', 7777))
    listener.settimeout(3)
    print('met', listener.accept())
except OSError: print('alone')"});
    let connect = json!({"main_py": "import socket, time
for attempt in range(10):
    try:
        socket.create_connection(('127.0.0.1', 7777))
        print('met')
        break
    except OSError: time.sleep(0.1)
else: print('alone')"});
    let calls = [server.begin_call("python", listen), server.begin_call("python", connect)];
    for call in calls {
        assert_eq!(server.reply(call).output(), "alone\n");
    }
}
