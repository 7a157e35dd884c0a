//! End-to-end tests of network access by allow-list: real programs in network namespaces, the kernel's sockets, the C
//! library's resolver on both sides, and a simulated internet (internet.rs).

#![allow(unsafe_code)]

mod inside;
mod internet;
mod nobody;
mod sandboxes;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::Duration;

use inside::{execute, run};
use internet::{HOST, InternetHost, MACHINE, asked, echo, trap};
use libtest_mimic::{Arguments, Failed, Trial};
use sandbox_server::call::catalog::Catalog;

type TestFunction = fn();

/// Lists tests with their names.
macro_rules! tests {
    ($($name:path),* $(,)?) => { [$((stringify!($name), $name as TestFunction)),*] };
}

mod table {
    include!(concat!(env!("OUT_DIR"), "/portable.rs"));
}

/// The tools of the portable manifest: the walls of the machine are probed for what tools need.
static CATALOG: Catalog = Catalog {
    system: table::SYSTEM,
    nixpkgs: table::NIXPKGS,
    manifest_hash: "of the tests",
    tools: table::TOOLS,
    package_sets: table::PACKAGE_SETS,
    archive: &[],
    findings: &[],
};

fn main() -> ExitCode {
    CATALOG.install();
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == inside::SANDBOX => {
            eprintln!("cannot set up the sandbox: {}", inside::become_sandbox(arguments));
            return ExitCode::FAILURE;
        }
        Some(first) if first == inside::PROGRAM => {
            inside::program(arguments);
            return ExitCode::SUCCESS;
        }
        Some(first) if first == sandboxes::SERVER => {
            sandboxes::serve(arguments);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let as_nobody = nobody::run_tests();
    // Namespaces must be entered before libtest starts threads, because only later threads inherit them.
    let unable = internet::enter().err();
    if let Some(error) = &unable {
        eprintln!("Ignored: cannot create a user and a network namespace: {error}");
    }
    let tests = tests![
        listed_name_is_reached,
        name_below_a_wildcard_is_reached,
        listed_address_is_reached,
        unlisted_name_does_not_resolve,
        unlisted_port_is_refused_and_reported,
        listed_name_at_the_port_of_another_is_refused,
        unlisted_address_is_unreachable,
        empty_list_allows_no_connection,
        listed_name_with_private_address_is_refused,
        name_with_mixed_addresses_is_reached_at_the_public_one,
        rebound_name_is_refused,
        search_domains_of_the_machine_are_not_used,
        host_that_does_not_listen_is_reported,
        large_transfer_is_complete,
        connection_reset_by_the_host_is_reset_for_the_program,
        connection_reset_by_the_program_is_reset_for_the_host,
        connections_are_reset_when_the_program_ends,
        excess_connections_are_queued_and_served,
        servers_inside_the_sandbox_are_reached_directly,
        resolver_survives_invalid_messages,
        curl_reaches_a_listed_host,
        python_reaches_a_listed_host,
        sandboxes::sandbox_reaches_a_listed_host,
        sandboxes::sandbox_is_refused_unlisted_hosts_and_ports,
        sandboxes::sandbox_with_an_empty_list_reaches_nothing,
        sandboxes::sandbox_with_the_longest_list_gets_all_sockets,
        sandboxes::concurrent_sandboxes_have_separate_networks,
        sandboxes::unserved_sockets_are_closed,
        sandboxes::cancelled_call_leaves_no_connection,
        sandboxes::fifty_calls_leak_no_descriptor_or_process,
        sandboxes::call_fails_when_the_server_has_no_descriptor_left,
    ];
    let trial = |(name, body): (&str, TestFunction)| {
        let program = match name {
            "curl_reaches_a_listed_host" => "curl",
            "python_reaches_a_listed_host" => "python3",
            _ => "",
        };
        let ignored = unable.is_some() || !program.is_empty() && !has(program);
        Trial::test(name, move || -> Result<(), Failed> {
            body();
            Ok(())
        })
        .with_ignored_flag(ignored)
    };
    let conclusion = libtest_mimic::run(&Arguments::from_args(), tests.map(trial).into());
    if as_nobody { conclusion.exit_code() } else { ExitCode::FAILURE }
}

/// Returns whether a program saw its connection break. The kind of error depends on what the program was doing.
fn is_broken(output: &str) -> bool {
    ["ConnectionReset", "BrokenPipe", "NotConnected"].iter().any(|kind| output.starts_with(kind))
}

const NONE: &[String] = &[];

fn listed_name_is_reached() {
    let host = InternetHost::at(HOST, echo);
    let outcome =
        run(&[&format!("api.example.org:{}", host.port)], &[&"fetch", &"api.example.org", &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
}

fn name_below_a_wildcard_is_reached() {
    let host = InternetHost::at(HOST, echo);
    let list = [&*format!("*.wild.example.org:{}", host.port)];
    let outcome = run(&list, &[&"fetch", &"a.b.wild.example.org", &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
    let outcome = run(&list, &[&"fetch", &"A.b.WILD.example.org", &host.port, &"hello"]);
    assert_eq!(outcome.output, "heard: hello");
    let outcome = run(&list, &[&"resolve", &"wild.example.org"]);
    assert_eq!(outcome.refusals.kept, ["connection to wild.example.org was refused: not on the allow-list"]);
}

fn listed_address_is_reached() {
    let host = InternetHost::at(HOST, echo);
    let outcome = run(&[&format!("{HOST}:{}", host.port)], &[&"fetch", &HOST, &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
}

fn unlisted_name_does_not_resolve() {
    for name in ["other.example.org", "api.example.org.evil.example", "intranet"] {
        let outcome = run(&["api.example.org:443"], &[&"fetch", &name, &443, &""]);
        assert!(outcome.output.contains("Name or service not known"), "{outcome:?}");
        assert_eq!(outcome.refusals.kept, [format!("connection to {name} was refused: not on the allow-list")]);
        assert_eq!(asked(name), 0, "the name is not looked up outside");
    }
}

fn unlisted_port_is_refused_and_reported() {
    let host = InternetHost::at(HOST, trap);
    for list in [["api.example.org:443"], ["*.example.org:443"]] {
        let outcome = run(&list, &[&"fetch", &"api.example.org", &host.port, &""]);
        assert!(outcome.output.starts_with("ConnectionRefused"), "{outcome:?}");
        let refusal = format!("connection to api.example.org:{} was refused: not on the allow-list", host.port);
        assert_eq!(outcome.refusals.kept, [refusal]);
    }
    assert_eq!(host.connections(), 0);
}

fn listed_name_at_the_port_of_another_is_refused() {
    let host = InternetHost::at(HOST, trap);
    let list = ["api.example.org:443", &format!("*.wild.example.org:{}", host.port)];
    let outcome = run(&list, &[&"fetch", &"api.example.org", &host.port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    let refusal = format!("connection to api.example.org:{} was refused: not on the allow-list", host.port);
    assert_eq!((outcome.refusals.kept, host.connections()), (vec![refusal], 0));
}

fn unlisted_address_is_unreachable() {
    let host = InternetHost::at(HOST, trap);
    let port = host.port;
    // The port of a wildcard is listened to at every address of the namespace. These addresses are not among them.
    let list = [&*format!("api.example.org:{port}"), &format!("*.wild.example.org:{port}"), "8.8.8.8:1"];
    for address in [&*HOST.to_string(), "169.254.169.254", "10.0.0.1", "8.8.4.4", "255.255.255.255", "2606:4700::1111"]
    {
        let outcome = run(&list, &[&"connect", &address, &port]);
        assert!(outcome.output.contains("Network is unreachable"), "{address}: {outcome:?}");
    }
    for address in ["93.184.215.14:53", "8.8.4.4:53"] {
        let outcome = run(&list, &[&"datagram", &address]);
        assert!(outcome.output.contains("Network is unreachable"), "{address}: {outcome:?}");
    }
    // A fake address without a name, and the sandbox's own loopback address.
    let outcome = run(&list, &[&"fetch", &"198.19.9.9", &port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    assert_eq!(outcome.refusals.kept, [format!("connection to 198.19.9.9:{port} was refused: not on the allow-list")]);
    let outcome = run(&list, &[&"fetch", &"127.0.0.1", &port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    assert_eq!((&*outcome.refusals.kept, host.connections()), (NONE, 0));
}

fn empty_list_allows_no_connection() {
    let outcome = run(&[], &[&"fetch", &"api.example.org", &443, &""]);
    assert!(outcome.output.contains("Name or service not known"), "{outcome:?}");
    assert_eq!(outcome.refusals.kept, ["connection to api.example.org was refused: not on the allow-list"]);
    assert!(run(&[], &[&"connect", &HOST, &443]).output.contains("Network is unreachable"));
    assert!(run(&[], &[&"connect", &"198.18.1.1", &443]).output.contains("refused"));
}

fn listed_name_with_private_address_is_refused() {
    let traps = [InternetHost::at(Ipv4Addr::UNSPECIFIED, trap), InternetHost::at(MACHINE, trap)];
    for (name, place) in [
        ("private", "a private address (RFC 1918)"),
        ("metadata", "a cloud's metadata service (AWS, Azure, Google Cloud and others)"),
        ("metadata6", "a cloud's metadata service (AWS)"),
        ("loopback", "a loopback address (RFC 1122)"),
        ("loopback6", "the loopback address (RFC 4291)"),
        ("mapped", "a loopback address (RFC 1122)"),
        ("nat64", "an address of NAT64 (RFC 6052)"),
        ("unspecified", "the unspecified address (RFC 1122)"),
        ("machine", "the machine of the sandbox"),
    ] {
        let host = format!("{name}.example.org");
        for port in traps.iter().map(|trap| trap.port) {
            for entry in [format!("{host}:{port}"), format!("*.example.org:{port}")] {
                let outcome = run(&[&entry], &[&"fetch", &host, &port, &"hello"]);
                assert!(is_broken(&outcome.output), "{outcome:?}");
                let refusal = format!("connection to {host}:{port} was refused: the name leads to {place}");
                assert_eq!(outcome.refusals.kept, [refusal]);
            }
        }
    }
    assert_eq!(traps.map(|trap| trap.connections()), [0, 0]);
}

fn name_with_mixed_addresses_is_reached_at_the_public_one() {
    let host = InternetHost::at(HOST, echo);
    let outcome =
        run(&[&format!("mixed.example.org:{}", host.port)], &[&"fetch", &"mixed.example.org", &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
}

fn rebound_name_is_refused() {
    let name = "rebinding.example.org";
    let host = InternetHost::at(HOST, echo);
    let outcome = run(&[&format!("{name}:{}", host.port)], &[&"fetch-twice", &name, &host.port]);
    // The first connection used the first answer. The second answer was the loopback address.
    let lines: Vec<&str> = outcome.output.lines().collect();
    assert!(lines.len() == 2 && lines[0] == "heard: again" && is_broken(lines[1]), "{outcome:?}");
    let refusal =
        format!("connection to {name}:{} was refused: the name leads to a loopback address (RFC 1122)", host.port);
    assert_eq!(outcome.refusals.kept, [refusal]);
    assert_eq!((asked(name), host.connections()), (2, 1), "one question for each connection");
}

fn search_domains_of_the_machine_are_not_used() {
    let host = InternetHost::at(HOST, trap);
    let port = host.port;
    let outcome = run(&[&format!("gone.example.org:{port}")], &[&"fetch", &"gone.example.org", &port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    let [refusal] = &outcome.refusals.kept[..] else { panic!("{outcome:?}") };
    let begin = format!("connection to gone.example.org:{port} failed: the name could not be resolved: ");
    assert!(refusal.starts_with(&begin) && host.connections() == 0, "{outcome:?}");
    assert_eq!(asked("gone.example.org.corp.example.org"), 0);
}

fn host_that_does_not_listen_is_reported() {
    let outcome = run(&["api.example.org:1999"], &[&"fetch", &"api.example.org", &1999, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    let refusal = "connection to api.example.org:1999 failed: Connection refused (os error 111)";
    assert_eq!(outcome.refusals.kept, [refusal]);
}

fn large_transfer_is_complete() {
    // The host answers while it is still receiving.
    let host = InternetHost::at(HOST, |mut stream| {
        let mut writer = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut writer).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let bytes = 20_000_000;
    let list = [&*format!("api.example.org:{}", host.port)];
    let outcome = run(&list, &[&"transfer", &"api.example.org", &host.port, &bytes]);
    assert_eq!(outcome.output, format!("{bytes} bytes came back, 0 of them wrong"));
}

fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

fn connection_reset_by_the_host_is_reset_for_the_program() {
    let host = InternetHost::at(HOST, |mut stream| {
        stream.write_all(b"half of it").unwrap();
        reset(stream);
    });
    let outcome =
        run(&[&format!("api.example.org:{}", host.port)], &[&"fetch", &"api.example.org", &host.port, &"hello"]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
}

/// Starts a host that answers the first byte it receives with one byte, and reports how each of its connections ends.
fn listener() -> (InternetHost, mpsc::Receiver<String>) {
    let (ends, ended) = mpsc::channel();
    let host = InternetHost::at(HOST, move |mut stream| {
        let mut text = String::new();
        stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"!")).unwrap();
        let end = stream.read_to_string(&mut text);
        ends.send(end.map_or_else(|error| format!("{:?}", error.kind()), |_| text)).unwrap();
    });
    (host, ended)
}

fn connection_reset_by_the_program_is_reset_for_the_host() {
    let (host, ended) = listener();
    let list = [&*format!("api.example.org:{}", host.port)];
    let outcome = run(&list, &[&"break", &"api.example.org", &host.port]);
    assert_eq!(outcome.output, "!");
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), "ConnectionReset");
}

fn connections_are_reset_when_the_program_ends() {
    let (host, ended) = listener();
    let list = [&*format!("api.example.org:{}", host.port)];
    let outcome = run(&list, &[&"leave", &"api.example.org", &host.port]);
    assert_eq!(outcome.output, "!");
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), "ConnectionReset");
}

fn excess_connections_are_queued_and_served() {
    let host = InternetHost::at(HOST, echo);
    let outcome = run(&[&format!("api.example.org:{}", host.port)], &[&"hold", &"api.example.org", &host.port, &100]);
    assert_eq!((&*outcome.output, host.connections()), ("100 answers", 100));
}

fn servers_inside_the_sandbox_are_reached_directly() {
    let list = ["api.example.org:8080", "*.example.org:8443"];
    assert_eq!(run(&list, &[&"listen", &"127.0.0.1:8080"]).output, "own");
    assert_eq!(run(&list, &[&"listen", &"127.0.0.1:9090"]).output, "own");
    let outcome = run(&list, &[&"listen", &"127.0.0.1:8443"]);
    assert!(outcome.output.starts_with("AddrInUse"), "{outcome:?}");
}

fn resolver_survives_invalid_messages() {
    assert_eq!(run(&["*.example.org:443"], &[&"babble", &"a.example.org"]).output, "198.19.0.1");
}

/// Returns whether a program is installed.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn curl_reaches_a_listed_host() {
    check_fetches(&["curl", "-sS"]);
}

fn python_reaches_a_listed_host() {
    let script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    check_fetches(&["python3", "-c", script]);
}

/// Checks that a command, which prints the contents of a URL, reaches a listed host but no other.
fn check_fetches(command: &[&str]) {
    let host = InternetHost::at(HOST, |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
    });
    let list = [&*format!("*.wild.example.org:{}", host.port)];
    let get = |name: &str| {
        let url = format!("http://{name}:{}/", host.port);
        execute(&list, command.iter().map(|argument| (*argument).to_owned()).chain([url]).collect())
    };
    let outcome = get("a.b.wild.example.org");
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("hello", NONE));
    let outcome = get("other.example.org");
    assert!(outcome.output.contains("ot resolve host") || outcome.output.contains("not known"), "{outcome:?}");
    assert_eq!(outcome.refusals.kept, ["connection to other.example.org was refused: not on the allow-list"]);
}
