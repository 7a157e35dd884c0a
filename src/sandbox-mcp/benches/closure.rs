//! Compares the cost of a call in an environment of few store paths and in one of many, with the same program.
//!
//!     nix build && SANDBOX_MCP_BIN=result/bin/sandbox-mcp cargo bench --bench closure
//!
//! The server is only used to realise the shell's environment. The calls are made by its library.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sandbox_plan::view;
use sandbox_server::call::arguments::{NamedFiles, RequestedOptions};
use sandbox_server::call::choice::Executor;
use sandbox_server::call::choice::Remote;
use sandbox_server::call::tool::Tool;
use sandbox_server::executor::derivation::Derivations;
use sandbox_server::executor::{CallContext, Executors};
use sandbox_server::sandbox::view::{Origin, View};
use test_support::client::Server;
use test_support::local_store as store;
use test_support::measure::{has_pinned_environments, median, timed};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The number of store paths of the larger environment.
const MANY_PATHS: usize = 400;
const RUNS: usize = 500;
/// The pause between two calls, in which a sandbox is prepared.
const PAUSE: Duration = Duration::from_millis(12);

fn main() {
    sandbox_mcp::CATALOG.install();
    // `cargo test --benches` only checks that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let Some(environment) = environment() else { return };
    let shell = fs::canonicalize(environment.join("bin/sh")).expect("the shell's environment has a shell");
    let few = store::requisites(&[store::store_path(&shell)].into());
    let mut many = few.clone();
    many.extend(store::directories().filter(|path| !few.contains(path)).take(MANY_PATHS - few.len()));
    let bin = shell.parent().expect("a program has a directory");
    let ways = [&few, &many].map(|paths| {
        let executors = Executors::new(None, Derivations::new(None, false, Remote::Off), false);
        (executors, Arc::new(self::view(&environment, paths, bin)))
    });

    let runtime = Runtime::new().expect("start threads");
    let mut times = [const { Vec::new() }; 2];
    for run in 0..RUNS {
        for ((executors, view), times) in ways.iter().zip(&mut times) {
            let time = timed(|| runtime.block_on(call(executors, view)));
            thread::sleep(PAUSE);
            // The first calls start the managers.
            if run >= RUNS / 10 {
                times.push(time);
            }
        }
    }
    let [few_take, many_take] = times.map(|mut times| median(&mut times).as_secs_f64() * 1000.0);
    println!("{} store paths: {few_take:.2} ms, {} store paths: {many_take:.2} ms", few.len(), many.len());
    println!("ratio: {:.3}", many_take / few_take);
}

/// Realises the environment of the shell, and returns its path; none if the server has no pinned environments.
fn environment() -> Option<PathBuf> {
    let server = Server::ready(&["--executor", "namespace"]);
    let reply = has_pinned_environments(&server).then(|| server.sh("true"))?;
    reply.field("environment").as_str().map(PathBuf::from)
}

fn view(environment: &Path, paths: &BTreeSet<String>, bin: &Path) -> View {
    let (binds, links) = view::pinned(environment, paths.iter().map(String::as_str));
    let path = bin.display().to_string();
    // The locale of the sandbox's definition may exist in only one of the environments.
    let variables = vec![("LANG".to_owned(), "C".to_owned())];
    View { origin: Origin::Pinned(environment.to_owned()), binds, links, path, variables, ..View::empty() }
}

async fn call(executors: &Executors, view: &Arc<View>) {
    let tool = Tool::by_name("shell").expect("the tool exists");
    let mut files = NamedFiles::default();
    files.add("main.sh".to_owned(), b"echo hello".to_vec(), false);
    let job = tool.job_of_files(files, RequestedOptions::default()).expect("the arguments are right");
    let never = CancellationToken::new();
    let outcome =
        executors.run(Executor::Namespace, &CallContext::new(&job, view, &drop, &never)).await.expect("it runs");
    assert_eq!(outcome.stdout.text(), "hello\n");
}
