//! Network access by allow-list as a whole: real programs in network namespaces, the kernel's sockets, the C library's
//! resolver on both sides, and a small internet around (internet.rs).

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
use internet::{HOST, Host, MACHINE, asked, echo, trap};
use libtest_mimic::{Arguments, Failed, Trial};

type Body = fn();

/// A test and its name.
macro_rules! tests {
    ($($name:path),* $(,)?) => { [$((stringify!($name), $name as Body)),*] };
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == inside::SANDBOX => {
            eprintln!("the sandbox can't be made: {}", inside::become_sandbox(arguments));
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
    // Before libtest starts threads, since namespaces are for those that come after.
    let unable = internet::enter().err();
    if let Some(error) = &unable {
        eprintln!("Ignored: this user can't make a user and a network namespace here: {error}");
    }
    let tests = tests![
        a_listed_name_is_reached,
        a_name_below_a_wildcard_is_reached,
        a_listed_address_is_reached,
        a_name_that_is_not_listed_does_not_resolve,
        a_port_that_is_not_listed_is_refused_and_named,
        a_listed_name_at_the_port_of_another_is_refused_and_named,
        an_address_that_is_not_listed_is_unreachable,
        with_an_empty_list_nothing_is_reached,
        a_listed_name_that_leads_inside_is_refused_and_named,
        of_several_addresses_only_a_public_one_is_connected_to,
        a_name_that_leads_elsewhere_a_moment_later_gets_nowhere,
        a_name_is_not_looked_for_below_the_machine_s_own_domains,
        a_host_that_does_not_listen_is_named,
        large_transfers_come_back_whole,
        a_connection_that_breaks_outside_breaks_inside,
        a_connection_that_breaks_inside_breaks_outside,
        when_the_program_has_ended_its_connections_are_broken,
        more_connections_than_are_served_at_once_are_served_in_turn,
        a_program_s_own_servers_are_its_own,
        nonsense_does_not_stop_the_resolver,
        curl_gets_through,
        python_gets_through,
        sandboxes::a_listed_host_is_reached_from_a_sandbox,
        sandboxes::what_is_not_listed_is_refused_to_a_sandbox_and_named,
        sandboxes::with_an_empty_list_a_sandbox_reaches_nothing,
        sandboxes::the_longest_list_has_its_sockets,
        sandboxes::sandboxes_at_once_have_networks_of_their_own,
        sandboxes::sockets_that_nobody_serves_are_closed,
        sandboxes::a_cancelled_call_leaves_no_connection,
        sandboxes::fifty_calls_leave_no_descriptor_and_no_process,
        sandboxes::a_server_without_room_for_descriptors_fails_the_call,
    ];
    let trial = |(name, body): (&str, Body)| {
        let program = match name {
            "curl_gets_through" => "curl",
            "python_gets_through" => "python3",
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

/// Whether a program was told that its connection is broken: which way depends on what it was about to do.
fn is_broken(output: &str) -> bool {
    ["ConnectionReset", "BrokenPipe", "NotConnected"].iter().any(|kind| output.starts_with(kind))
}

const NONE: &[String] = &[];

fn a_listed_name_is_reached() {
    let host = Host::at(HOST, echo);
    let outcome =
        run(&[&format!("api.example.org:{}", host.port)], &[&"fetch", &"api.example.org", &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
}

fn a_name_below_a_wildcard_is_reached() {
    let host = Host::at(HOST, echo);
    let list = [&*format!("*.wild.example.org:{}", host.port)];
    let outcome = run(&list, &[&"fetch", &"a.b.wild.example.org", &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
    let outcome = run(&list, &[&"fetch", &"A.b.WILD.example.org", &host.port, &"hello"]);
    assert_eq!(outcome.output, "heard: hello");
    let outcome = run(&list, &[&"resolve", &"wild.example.org"]);
    assert_eq!(outcome.refusals.kept, ["connection to wild.example.org was refused: not on the allow-list"]);
}

fn a_listed_address_is_reached() {
    let host = Host::at(HOST, echo);
    let outcome = run(&[&format!("{HOST}:{}", host.port)], &[&"fetch", &HOST, &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
}

fn a_name_that_is_not_listed_does_not_resolve() {
    for name in ["other.example.org", "api.example.org.evil.example", "intranet"] {
        let outcome = run(&["api.example.org:443"], &[&"fetch", &name, &443, &""]);
        assert!(outcome.output.contains("Name or service not known"), "{outcome:?}");
        assert_eq!(outcome.refusals.kept, [format!("connection to {name} was refused: not on the allow-list")]);
        assert_eq!(asked(name), 0, "nobody outside learns of it");
    }
}

fn a_port_that_is_not_listed_is_refused_and_named() {
    let host = Host::at(HOST, trap);
    for list in [["api.example.org:443"], ["*.example.org:443"]] {
        let outcome = run(&list, &[&"fetch", &"api.example.org", &host.port, &""]);
        assert!(outcome.output.starts_with("ConnectionRefused"), "{outcome:?}");
        let refusal = format!("connection to api.example.org:{} was refused: not on the allow-list", host.port);
        assert_eq!(outcome.refusals.kept, [refusal]);
    }
    assert_eq!(host.connections(), 0);
}

fn a_listed_name_at_the_port_of_another_is_refused_and_named() {
    let host = Host::at(HOST, trap);
    let list = ["api.example.org:443", &format!("*.wild.example.org:{}", host.port)];
    let outcome = run(&list, &[&"fetch", &"api.example.org", &host.port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    let refusal = format!("connection to api.example.org:{} was refused: not on the allow-list", host.port);
    assert_eq!((outcome.refusals.kept, host.connections()), (vec![refusal], 0));
}

fn an_address_that_is_not_listed_is_unreachable() {
    let host = Host::at(HOST, trap);
    let port = host.port;
    // A port of a wildcard is listened to at every address that the namespace has, which these are not among.
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
    // A fake address that stands for no name, and the sandbox's own loopback.
    let outcome = run(&list, &[&"fetch", &"198.19.9.9", &port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    assert_eq!(outcome.refusals.kept, [format!("connection to 198.19.9.9:{port} was refused: not on the allow-list")]);
    let outcome = run(&list, &[&"fetch", &"127.0.0.1", &port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    assert_eq!((&*outcome.refusals.kept, host.connections()), (NONE, 0));
}

fn with_an_empty_list_nothing_is_reached() {
    let outcome = run(&[], &[&"fetch", &"api.example.org", &443, &""]);
    assert!(outcome.output.contains("Name or service not known"), "{outcome:?}");
    assert_eq!(outcome.refusals.kept, ["connection to api.example.org was refused: not on the allow-list"]);
    assert!(run(&[], &[&"connect", &HOST, &443]).output.contains("Network is unreachable"));
    assert!(run(&[], &[&"connect", &"198.18.1.1", &443]).output.contains("refused"));
}

fn a_listed_name_that_leads_inside_is_refused_and_named() {
    let traps = [Host::at(Ipv4Addr::UNSPECIFIED, trap), Host::at(MACHINE, trap)];
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

fn of_several_addresses_only_a_public_one_is_connected_to() {
    let host = Host::at(HOST, echo);
    let outcome =
        run(&[&format!("mixed.example.org:{}", host.port)], &[&"fetch", &"mixed.example.org", &host.port, &"hello"]);
    assert_eq!((&*outcome.output, &*outcome.refusals.kept), ("heard: hello", NONE));
}

fn a_name_that_leads_elsewhere_a_moment_later_gets_nowhere() {
    let name = "rebinding.example.org";
    let host = Host::at(HOST, echo);
    let outcome = run(&[&format!("{name}:{}", host.port)], &[&"fetch-twice", &name, &host.port]);
    // The first connection went where the first answer led, though the second answer was the loopback address.
    let lines: Vec<&str> = outcome.output.lines().collect();
    assert!(lines.len() == 2 && lines[0] == "heard: again" && is_broken(lines[1]), "{outcome:?}");
    let refusal =
        format!("connection to {name}:{} was refused: the name leads to a loopback address (RFC 1122)", host.port);
    assert_eq!(outcome.refusals.kept, [refusal]);
    assert_eq!((asked(name), host.connections()), (2, 1), "one question for each connection");
}

fn a_name_is_not_looked_for_below_the_machine_s_own_domains() {
    let host = Host::at(HOST, trap);
    let port = host.port;
    let outcome = run(&[&format!("gone.example.org:{port}")], &[&"fetch", &"gone.example.org", &port, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    let [refusal] = &outcome.refusals.kept[..] else { panic!("{outcome:?}") };
    let begin = format!("connection to gone.example.org:{port} failed: the name could not be resolved: ");
    assert!(refusal.starts_with(&begin) && host.connections() == 0, "{outcome:?}");
    assert_eq!(asked("gone.example.org.corp.example.org"), 0);
}

fn a_host_that_does_not_listen_is_named() {
    let outcome = run(&["api.example.org:1999"], &[&"fetch", &"api.example.org", &1999, &""]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
    let refusal = "connection to api.example.org:1999 failed: Connection refused (os error 111)";
    assert_eq!(outcome.refusals.kept, [refusal]);
}

fn large_transfers_come_back_whole() {
    // It answers while it is still being spoken to.
    let host = Host::at(HOST, |mut stream| {
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

fn a_connection_that_breaks_outside_breaks_inside() {
    let host = Host::at(HOST, |mut stream| {
        stream.write_all(b"half of it").unwrap();
        reset(stream);
    });
    let outcome =
        run(&[&format!("api.example.org:{}", host.port)], &[&"fetch", &"api.example.org", &host.port, &"hello"]);
    assert!(is_broken(&outcome.output), "{outcome:?}");
}

/// A host that answers the first byte it hears with one, and tells how each of its connections ends.
fn listener() -> (Host, mpsc::Receiver<String>) {
    let (ends, ended) = mpsc::channel();
    let host = Host::at(HOST, move |mut stream| {
        let mut text = String::new();
        stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"!")).unwrap();
        let end = stream.read_to_string(&mut text);
        ends.send(end.map_or_else(|error| format!("{:?}", error.kind()), |_| text)).unwrap();
    });
    (host, ended)
}

fn a_connection_that_breaks_inside_breaks_outside() {
    let (host, ended) = listener();
    let list = [&*format!("api.example.org:{}", host.port)];
    let outcome = run(&list, &[&"break", &"api.example.org", &host.port]);
    assert_eq!(outcome.output, "!");
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), "ConnectionReset");
}

fn when_the_program_has_ended_its_connections_are_broken() {
    let (host, ended) = listener();
    let list = [&*format!("api.example.org:{}", host.port)];
    let outcome = run(&list, &[&"leave", &"api.example.org", &host.port]);
    assert_eq!(outcome.output, "!");
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), "ConnectionReset");
}

fn more_connections_than_are_served_at_once_are_served_in_turn() {
    let host = Host::at(HOST, echo);
    let outcome = run(&[&format!("api.example.org:{}", host.port)], &[&"hold", &"api.example.org", &host.port, &100]);
    assert_eq!((&*outcome.output, host.connections()), ("100 answers", 100));
}

fn a_program_s_own_servers_are_its_own() {
    let list = ["api.example.org:8080", "*.example.org:8443"];
    assert_eq!(run(&list, &[&"listen", &"127.0.0.1:8080"]).output, "own");
    assert_eq!(run(&list, &[&"listen", &"127.0.0.1:9090"]).output, "own");
    let outcome = run(&list, &[&"listen", &"127.0.0.1:8443"]);
    assert!(outcome.output.starts_with("AddrInUse"), "{outcome:?}");
}

fn nonsense_does_not_stop_the_resolver() {
    assert_eq!(run(&["*.example.org:443"], &[&"babble", &"a.example.org"]).output, "198.19.0.1");
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn curl_gets_through() {
    gets_through(&["curl", "-sS"]);
}

fn python_gets_through() {
    let script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    gets_through(&["python3", "-c", script]);
}

/// A command that prints what is at the URL that follows.
fn gets_through(command: &[&str]) {
    let host = Host::at(HOST, |mut stream| {
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
