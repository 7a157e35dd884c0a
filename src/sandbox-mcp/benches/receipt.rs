//! Measures the time to make a receipt: `cargo bench --bench receipt`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nix_store::store_path::StorePath;
use sandbox_server::call::definition::Environment;
use sandbox_server::call::file::File;
use sandbox_server::call::packages::Packages;
use sandbox_server::call::program_input::ProgramInput;
use sandbox_server::call::stored_inputs::StoredInputs;
use sandbox_server::call::tool::Tool;
use sandbox_server::nix::run_derivation::{DerivationInputs, builder_path};

const RUNS: usize = 500;

/// An environment that does not exist. A receipt only names it.
const ENVIRONMENT: Environment = Environment {
    drv: "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-mcp-python.drv",
    out: "/nix/store/zyxwvsrqpnmlkjihgfdcba9876543210-sandbox-mcp-python",
};

fn main() {
    sandbox_mcp::CATALOG.install();
    let packages = Packages::default();
    let begun = Instant::now();
    let builder = builder_path();
    println!("the launcher's own path, once: {:?}", begun.elapsed());
    println!("{:>9}  {:>8}  {:>9}  {:>9}", "code", "stored", "median", "p95");
    for size in [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        // Lines of 40 characters, as in code.
        let code: String = "print(\"a line of about forty characters\")\n".chars().cycle().take(size).collect();
        let files = [File::parse("main.py", code).expect("the name is good")];
        let mut times: Vec<Duration> = (0..RUNS.min(500_000_000 / size))
            .map(|_| {
                let begun = Instant::now();
                let files = black_box(&files);
                black_box(
                    run(builder, files, &packages)
                        .derive()
                        .and_then(|call| call.receipt())
                        .expect("the sample is right"),
                );
                begun.elapsed()
            })
            .collect();
        times.sort();
        let stored = if (StoredInputs { files: &files, stdin: b"" }).fits_inline() { "inline" } else { "separate" };
        let at = |percent: usize| format!("{:.1?}", times[times.len() * percent / 100]);
        println!("{size:>9}  {stored:>8}  {:>9}  {:>9}", at(50), at(95));
    }
}

static NO_INPUT: ProgramInput = ProgramInput { args: Vec::new(), env: BTreeMap::new(), stdin: Vec::new() };

fn run<'a>(builder: &'a StorePath, files: &'a [File], packages: &'a Packages) -> DerivationInputs<'a> {
    let sandbox = &Tool::by_name("python").expect("the tool exists").sandbox;
    let (system, environment, input, timeout) = ("x86_64-linux", &ENVIRONMENT, &NO_INPUT, sandbox.timeout);
    DerivationInputs { system, sandbox, environment, packages, builder, files, input, timeout }
}
