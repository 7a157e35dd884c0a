//! Programs that do what they should not.

use std::time::Duration;

use serde_json::json;

use crate::server;
use test_support::client::{Reply, Server};
use test_support::sleeper::Sleeper;

#[track_caller]
fn assert_timed_out(reply: &Reply, seconds: u64) {
    assert!(reply.is_error() && reply.field("timed_out") == true, "{reply}");
    let reason = format!("execution timeout after {seconds} seconds");
    assert!(reply.text().contains(&reason), "{reply}");
    assert!(reply.field("exit_code").is_null() && reply.field("signal").is_null(), "{reply}");
}

#[test]
fn program_past_the_time_limit_keeps_its_output() {
    let server = Server::ready(&["--timeout", "1", "--structured-results"]);
    let reply = server.sh("echo until then; echo an error >&2; sleep 900");
    assert_timed_out(&reply, 1);
    assert!(reply.text().contains("until then") && reply.text().contains("an error"), "{reply}");
    assert_eq!(reply.field("stdout"), "until then\n");
    assert_eq!(reply.field("stderr"), "an error\n");
}

#[test]
fn grandchild_that_ignores_sigterm_does_not_outlive_the_limit() {
    let (server, sleeper) = (Server::ready(&["--timeout", "2", "--structured-results"]), Sleeper::new());
    let script = format!(
        "import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]: signal.signal(number, signal.SIG_IGN)
        os.execvp('sleep', ['sleep', '{}'])
    time.sleep(900)
print('waiting', flush=True)
time.sleep(900)",
        sleeper.seconds()
    );
    let call = server.begin_call("python", json!({"main_py": script}));
    sleeper.wait_for(1);
    let reply = server.reply(call);
    assert_timed_out(&reply, 2);
    assert_eq!(reply.field("stdout"), "waiting\n");
    assert_eq!(sleeper.count(), 0);
}

#[test]
fn busy_loop_is_ended_at_the_limit() {
    let server = Server::ready(&["--timeout", "1"]);
    assert_timed_out(&server.call("python", json!({"main_py": "while True: pass"})), 1);
}

#[test]
fn program_that_stops_itself_is_ended_at_the_limit() {
    let server = Server::ready(&["--timeout", "1"]);
    assert_timed_out(&server.sh("kill -STOP $$"), 1);
}

#[test]
fn background_process_ends_with_the_program() {
    let (server, sleeper) = (server(), Sleeper::new());
    let reply = server.sh(&format!("(trap '' TERM HUP; {sleeper}) & {sleeper} & echo done"));
    assert_eq!(reply.output(), "done\n");
    assert_eq!(sleeper.count(), 0);
}

#[test]
fn fork_bomb_stops_at_the_process_limit() {
    let (server, sleeper) = (Server::ready(&["--timeout", "5"]), Sleeper::new());
    let bomb =
        server.begin_call("shell", json!({"main_sh": format!("bomb() {{ {sleeper} & bomb | bomb & }}; bomb; wait")}));
    server.reply(bomb);
    assert_eq!(sleeper.count(), 0);
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn one_call_that_uses_up_its_processes_takes_none_from_another() {
    let (server, sleeper) = (Server::ready(&["--timeout", "60"]), Sleeper::new());
    // Some shells end at the first fork that is refused, which must not be the end of the call.
    let greedy = json!({"main_sh": format!("(while {sleeper} & do :; done) 2> /dev/null; exec {sleeper}")});
    let id = server.begin_call("shell", greedy);
    // The shell of the other call would be refused its children if both counted as one user.
    sleeper.wait_until(|running| running >= 30);
    for _ in 0..3 {
        assert_eq!(server.sh("for n in 1 2 3 4 5; do sleep 0.1 & done; wait; echo free").output(), "free\n");
    }
    assert!(sleeper.count() <= 256, "{} processes of one call", sleeper.count());
    server.notify("notifications/cancelled", json!({"requestId": id}));
    sleeper.wait_for(0);
}

#[test]
fn threads_and_forks_stop_at_the_limit_and_the_program_is_told() {
    let script = "import os, time
count = 0
try:
    while count < 10000:
        if os.fork() == 0: time.sleep(900)
        count += 1
except OSError as error:
    print(error.strerror, 10 < count < 1000)";
    let reply = server().call("python", json!({"main_py": script}));
    // The program heard of it, and so does the client, unless it ended before anybody could count. Where the kernel
    // refuses it nothing it was ended, and the client hears of it alone.
    let (told, named) = ("Resource temporarily unavailable True", "limit of 128 processes reached");
    assert!(reply.text().contains(told) || reply.text().starts_with(named), "{reply}");
    assert!(!reply.is_error() || reply.text().starts_with(named), "{reply}");
}

#[test]
fn program_that_closes_its_output_goes_on_until_its_end() {
    let reply = Server::ready(&["--structured-results"]).sh("echo before; exec >&- 2>&-; sleep 1; exit 9");
    assert!(reply.is_error(), "{reply}");
    assert_eq!((reply.field("stdout"), reply.field("exit_code")), (&json!("before\n"), &json!(9)));
}

#[test]
fn program_that_closes_its_output_is_ended_at_the_limit() {
    let (server, sleeper) = (Server::ready(&["--timeout", "1"]), Sleeper::new());
    assert_timed_out(&server.sh(&format!("exec >&- 2>&-; {sleeper}")), 1);
    assert_eq!(sleeper.count(), 0);
}

#[test]
fn program_that_kills_all_it_can_is_answered() {
    let (server, sleeper) = (server(), Sleeper::new());
    let bystander = server.begin_call("shell", json!({"main_sh": sleeper.to_string()}));
    sleeper.wait_for(1);
    // Whether it lives to tell depends on the walls: the launcher's own processes may be within its reach.
    let reply = server.sh("echo before; kill -9 $PPID; kill -9 1; kill -9 -1; echo after");
    assert!(reply.text().contains("before"), "{reply}");
    assert_eq!(sleeper.count(), 1, "another call is out of reach");
    server.notify("notifications/cancelled", json!({"requestId": bystander}));
    sleeper.wait_for(0);
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn end_by_signal_is_told_by_number_and_name() {
    let server = Server::ready(&["--structured-results"]);
    for (signal, number, name) in
        [("SEGV", 11, "SIGSEGV"), ("KILL", 9, "SIGKILL"), ("TERM", 15, "SIGTERM"), ("ABRT", 6, "SIGABRT")]
    {
        let reply = server.sh(&format!("echo before; kill -{signal} $$; sleep 900"));
        assert!(reply.is_error(), "{reply}");
        assert_eq!((reply.field("signal"), reply.field("stdout")), (&json!(number), &json!("before\n")));
        assert!(reply.field("exit_code").is_null() && reply.field("timed_out") == false, "{reply}");
        assert!(reply.text().contains(name), "{reply}");
    }
}

#[test]
fn all_exit_statuses_are_told_as_they_are() {
    let server = server();
    for status in [1, 2, 77, 124, 126, 127, 128, 137, 255] {
        let reply = server.sh(&format!("exit {status}"));
        assert_eq!(reply.field("exit_code"), status);
        assert_eq!(reply.text(), format!("Command failed with exit code {status}"));
    }
}

#[test]
fn endless_allocation_ends_the_program_not_the_server() {
    let server = server();
    let script = "blocks = []\nwhile True: blocks.append(bytearray(16 << 20))";
    let reply = server.call("python", json!({"main_py": script}));
    assert!(reply.is_error() && reply.field("timed_out") == false, "{reply}");
    assert_eq!(server.sh("echo on").output(), "on\n");
}

#[test]
fn files_without_end_fill_what_the_call_has_and_no_more() {
    let script = "import os
for place in ['/tmp', '/dev/shm', '.']:
    try:
        with open(place + '/fill', 'wb') as file:
            for _ in range(4096): file.write(bytes(1 << 20))
        print('wrote 4 GB to', place)
    except OSError as error: print(place, error.strerror)
    os.remove(place + '/fill')";
    let reply = server().call("python", json!({"main_py": script}));
    let full = "No space left on device";
    assert_eq!(reply.output(), format!("/tmp {full}\n/dev/shm {full}\n. {full}\n"));
}

#[test]
fn interpreters_are_started_ahead_of_their_calls() {
    let server = server();
    // How old the process is, in hundredths of a second.
    let programs = [
        (
            "python",
            "main_py",
            "uptime = float(open('/proc/uptime').read().split()[0])
born = int(open('/proc/self/stat').read().rpartition(')')[2].split()[19])
print(round(100 * uptime - born))",
        ),
        (
            "javascript",
            "index_js",
            "const read = (name) => require('fs').readFileSync(`/proc/${name}`, 'utf8');
const born = Number(read('self/stat').split(') ').pop().split(' ')[19]);
console.log(Math.round(100 * Number(read('uptime').split(' ')[0]) - born))",
        ),
        (
            "java",
            "main_java",
            "void main() throws Exception {
    var stat = Files.readString(Path.of(\"/proc/self/stat\"));
    var born = Long.parseLong(stat.substring(stat.lastIndexOf(')') + 2).split(\" \")[19]);
    var uptime = Double.parseDouble(Files.readString(Path.of(\"/proc/uptime\")).split(\" \")[0]);
    System.out.println(Math.round(100 * uptime - born));
}",
        ),
    ];
    for (tool, parameter, program) in programs {
        let call = || server.call(tool, json!({ parameter: program }));
        let first = call();
        if first.is_unavailable() || first.field("executor") != "namespace" {
            // A server that was named is there with the environments of this.
            let is_named = std::env::var_os("SANDBOX_MCP_BIN").is_some();
            assert!(!(is_named && first.is_unavailable()), "{tool}: {first}");
            continue;
        }
        let pause = Duration::from_secs(2);
        // The one that is ready may have been taken, or be late, where much else is done.
        let is_older = |_: &i32| {
            std::thread::sleep(pause);
            call().output().trim().parse::<u64>().unwrap() > 100
        };
        assert!((0..5).any(|attempt| is_older(&attempt)), "{tool}");
    }
}
