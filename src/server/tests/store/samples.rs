//! Sample calls, of which the tests make derivations.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use nix_store::store_path::StorePath;
use sandbox_server::call::definition::{
    Environment, Hints, Network, Package, PackageSet, Programs, Readiness, Resources, Sandbox, Service,
};
use sandbox_server::call::file::File;
use sandbox_server::call::packages::Packages;
use sandbox_server::call::program_input::ProgramInput;
use sandbox_server::nix::run_derivation::DerivationInputs;

pub const SYSTEM: &str = "x86_64-linux";

pub const ENVIRONMENT: Environment = Environment {
    drv: "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-sandbox-mcp-python.drv",
    out: "/nix/store/zyxwvsrqpnmlkjihgfdcba9876543210-sandbox-mcp-python",
};

pub const SANDBOX: Sandbox = Sandbox {
    id: "python",
    name: "Python",
    version: "0.1.0",
    description: "Runs Python.",
    contents: "",
    programs: Programs::NONE,
    parameters: &[],
    hints: Hints::NONE,
    user: "sandbox",
    entrypoint: "main.py",
    instead: &[],
    command: &["python", "main.py"],
    host_programs: &["python"],
    ahead: &[],
    services: &[],
    timeout: Duration::from_secs(60),
    network: Network::None,
    resources: Resources { cpu: 1, memory_mb: 1024, disk_mb: 512, processes: 128, files: 1024 },
    workdir: "/sandbox",
    script_mode: 0o755,
    read_only: false,
    variables: &[("MPLCONFIGDIR", "/tmp"), ("PYTHONPATH", "{environment}/lib\t\"here\"")],
    executor: None,
    environment: Some(ENVIRONMENT),
    environment_id: "python",
    package_sets: &[&PACKAGES],
};

pub static PACKAGES: PackageSet = PackageSet {
    id: "python",
    description: "Python modules",
    packages: &[package("attrs", ATTRS), package("tabulate", TABULATE)],
};
const ATTRS: &str = "/nix/store/22222222222222222222222222222222-sandbox-mcp-python-attrs";
const TABULATE: &str = "/nix/store/33333333333333333333333333333333-sandbox-mcp-python-tabulate";

const fn package(name: &'static str, out: &'static str) -> Package {
    let search_paths = &[("PATH", "bin"), ("PYTHONPATH", "lib/python3/site-packages"), ("SOMETHING_PATH", "lib")];
    Package {
        name,
        version: "1",
        description: "",
        provides: &[],
        search_paths,
        environment: Environment { drv: out, out },
    }
}

pub fn packages(names: &[&str]) -> Packages {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Packages::choose(&names, &[&PACKAGES], |_| Vec::new()).unwrap()
}

/// Returns a sandbox with one service of each kind.
pub const WITH_SERVICES: Sandbox = Sandbox {
    services: &[
        Service {
            name: "the server",
            command: &["python", "-m", "http.server", "8000"],
            ready: Readiness::Port(8000),
            deadline: Duration::from_secs(10),
            logs: &["/tmp/access.log", "/tmp/error.log"],
            errors: &["[error]", "[crit]"],
        },
        service("watcher", Readiness::File("/tmp/a b")),
        service("daemon", Readiness::Returned),
    ],
    ..SANDBOX
};

const fn service(name: &'static str, ready: Readiness) -> Service {
    Service { name, command: &["start"], ready, deadline: Duration::from_secs(30), logs: &[], errors: &[] }
}

pub fn builder() -> StorePath {
    StorePath::parse("/nix/store/00000000000000000000000000000000-sandbox-launcher").unwrap()
}

pub fn files(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(name, content)| File::parse(name, (*content).to_owned()).unwrap()).collect()
}

static NONE: LazyLock<Packages> = LazyLock::new(Packages::default);
static NO_INPUT: LazyLock<ProgramInput> = LazyLock::new(ProgramInput::default);

/// Returns the inputs of a call with these files in [`SANDBOX`].
pub fn run<'a>(builder: &'a StorePath, files: &'a [File]) -> DerivationInputs<'a> {
    let (system, sandbox, packages, input) = (SYSTEM, &SANDBOX, &NONE, &NO_INPUT);
    DerivationInputs {
        system,
        sandbox,
        environment: &ENVIRONMENT,
        packages,
        builder,
        files,
        input,
        timeout: SANDBOX.timeout,
    }
}

/// Returns arguments and variables for a program, with this standard input.
pub fn input(stdin: &[u8]) -> ProgramInput {
    ProgramInput {
        args: ["-n", "a b", ""].map(str::to_owned).into(),
        env: BTreeMap::from([("LANG".to_owned(), "ß\n".to_owned())]),
        stdin: stdin.to_vec(),
    }
}

/// Returns files of which one is executable.
pub fn executable() -> Vec<File> {
    let mut files = files(&[("main.py", "print(1)\n"), ("bin/tool", "#!/bin/sh\n")]);
    files[1].executable = true;
    files
}

/// Returns files that fit into the derivation, and files that do not.
pub fn inline() -> Vec<File> {
    files(&[("main.py", "print(\"6 * 7\\n\")\r\n\tpass\n"), ("data/größe.csv", "a,ß\n"), ("empty", "")])
}

pub fn apart() -> Vec<File> {
    files(&[("main.py", "print(1)\0\n"), ("a b/c=d.txt", "x"), ("a b/e/f", "yy"), ("a.txt", "zzzzzzzz")])
}
