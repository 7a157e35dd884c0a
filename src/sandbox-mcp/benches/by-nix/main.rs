//! Measures calls that Nix runs: `cargo bench --bench by-nix`, with a server that has pinned environments. Compare only
//! figures of the same run: disks and Nix versions differ.

mod closures;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix_store::export::Export;
use nix_store::nar::Node;
use sandbox_server::call::definition::Sandbox;
use sandbox_server::call::file::File;
use sandbox_server::call::job::Job;
use sandbox_server::call::tool::Tool;
use sandbox_server::executor::derivation::nonce;
use sandbox_server::nix::receipt::{Receipt, receipt};
use sandbox_server::nix::run_derivation::RunDerivation;
use serde_json::json;
use test_support::client::Server;
use test_support::measure::{median, timed};

const RUNS: usize = 30;
const EXECUTORS: [&str; 3] = ["namespace", "derivation", "derivation-cli"];
/// A tool with a small closure and one with a large closure, and a program for each that takes little time.
const TOOLS: [(&str, &str); 2] = [("shell", "echo hello"), ("python", "print('hello')")];

fn main() {
    sandbox_mcp::CATALOG.install();
    let servers = EXECUTORS.map(|executor| Server::ready(&["--executor", executor]));
    println!("{:<10}{:>22}{:>12}{:>12}{:>16}", "tool", "way", "median", "p95", "of --realise");
    for (name, code) in TOOLS {
        let tool = &Tool::by_name(name).expect("the tool exists").sandbox;
        let Some(environment) = &tool.environment else {
            println!("This benchmark needs a server with pinned environments: set SANDBOX_MCP_MANIFEST.");
            return;
        };
        let parameter = tool.entrypoint.replace('.', "_");
        let call = |server: &Server| {
            let reply = server.call(name, json!({ &parameter: code }));
            assert_eq!(reply.text(), "hello\n", "{reply}");
        };
        // The first call does work that is done only once.
        servers.iter().for_each(call);
        let mut times = [const { Vec::new() }; EXECUTORS.len()];
        let mut bare = Vec::new();
        for _ in 0..RUNS {
            for (server, times) in servers.iter().zip(&mut times) {
                times.push(timed(|| call(server)));
            }
            bare.push(realise(&derivation(tool, code)));
        }
        let paths =
            fs::read_to_string(format!("{}/closure", environment.out)).map_or(0, |list| list.lines().count() + 1);
        println!("{name}: {paths} paths in its closure");
        let first = median(&mut bare);
        for (way, mut times) in [("nix-store --realise", bare)].into_iter().chain(EXECUTORS.into_iter().zip(times)) {
            let median = median(&mut times);
            let ratio = median.as_secs_f64() / first.as_secs_f64();
            println!("{:<10}{way:>22}{median:>12.1?}{:>12.1?}{ratio:>15.2}x", "", times[RUNS * 95 / 100]);
        }
    }
    closures::compare(&Tool::by_name("shell").expect("the tool exists").sandbox);
}

/// Makes the derivation of a call, as the executor does.
fn derivation(sandbox: &'static Sandbox, code: &str) -> RunDerivation {
    let files = [File::parse(sandbox.entrypoint, code.to_owned()).expect("a file")];
    let same = receipt(&Job::new(sandbox, files.into())).expect("a receipt").expect("a pinned environment");
    let run = Receipt::parse(&same.text).and_then(|same| same.apart(&nonce())).and_then(|run| run.run());
    run.expect("the receipt is our own")
}

/// Measures `nix-store --realise` on a derivation that is in the store already.
fn realise(run: &RunDerivation) -> Duration {
    let mut export = Export::default();
    export.add(&run.path, &Node::File { content: run.text.as_bytes(), executable: false }, &run.references);
    let mut import = nix_store(&["--import"]).stdin(Stdio::piped()).spawn().expect("start nix-store");
    import.stdin.take().expect("a pipe").write_all(&export.finish()).expect("it reads");
    assert!(import.wait().expect("wait for it").success());
    let time = timed(|| assert!(nix_store(&["--realise", run.path.as_str()]).status().expect("start it").success()));
    let _ = nix_store(&["--delete", run.out.as_str(), run.path.as_str()]).status();
    time
}

fn nix_store(arguments: &[&str]) -> Command {
    let mut command = Command::new("nix-store");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
