//! A test store with a Nix daemon, and derivations to build with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix_store::daemon::{Connection, Options};
use nix_store::derivation::{Derivation, Output};
use nix_store::endpoint::Endpoint;
use nix_store::hash::{derivation_path, fill_outputs};
use nix_store::nar::Node;
use nix_store::store_path::StorePath;
use tokio::runtime::Runtime;

use crate::own_store::{Store, static_shell};

/// The way in which a daemon is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It listens at a socket.
    Socket,
    /// It is a child process for each connection.
    Child,
}

/// A test store with a daemon.
pub struct Fixture {
    // Declared before the store, so that the daemon is stopped before the store is removed.
    daemon: Option<DaemonProcess>,
    pub endpoint: Endpoint,
    pub store: Store,
    pub runtime: Runtime,
}

/// A daemon at a socket. It is killed when this is dropped.
struct DaemonProcess(Child);

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the options that the server sets for its runs.
pub fn options() -> Options {
    Options { substitutes: false, local_jobs: 1, settings: vec![("timeout".into(), "60".into())] }
}

impl Fixture {
    /// Makes a store with a daemon.
    pub fn new(kind: Kind) -> Result<Self, Failed> {
        Self::with_settings(kind, "trusted-users = *\n")
    }

    /// Makes a store with a daemon. `settings` are the lines of nix.conf.
    pub fn with_settings(kind: Kind, settings: &str) -> Result<Self, Failed> {
        let store = Store::new();
        // Daemons that initialise a store at the same time fail.
        store.run("nix-store", &["--init"])?;
        std::fs::write(store.directory.path().join("nix.conf"), settings)?;
        let mut fixture =
            Self { daemon: None, endpoint: Endpoint::Socket(PathBuf::new()), store, runtime: Runtime::new()? };
        match kind {
            Kind::Socket => fixture.start_daemon()?,
            Kind::Child => {
                let mut arguments: Vec<_> = fixture
                    .store
                    .variables()
                    .into_iter()
                    .map(|(name, value)| format!("{name}={value}").into())
                    .collect();
                arguments.extend(["nix-daemon".into(), "--stdio".into()]);
                fixture.endpoint = Endpoint::Child { program: "/usr/bin/env".into(), arguments };
            }
        }
        Ok(fixture)
    }

    /// Starts a daemon at the fixture's socket, after stopping the previous one.
    pub fn start_daemon(&mut self) -> Result<(), Failed> {
        self.daemon = None;
        let socket = self.store.directory.path().join("socket");
        let _ = std::fs::remove_file(&socket);
        let mut command = self.store.command("nix-daemon");
        let command = command.env("NIX_DAEMON_SOCKET_PATH", &socket).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemon = Some(DaemonProcess(command.spawn()?));
        wait_until("the daemon listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
        self.endpoint = Endpoint::Socket(socket);
        Ok(())
    }

    /// Returns the process id of the daemon at the socket.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("this fixture has a socket").0.id()
    }

    /// Opens a connection to the daemon.
    pub async fn connect(&self) -> Result<Connection, Failed> {
        let mut connection = Connection::open(&self.endpoint).await?;
        connection.set_options(&options()).await?;
        Ok(connection)
    }
}

/// Waits until a condition holds, for at most a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("{what}: not within a minute").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A derivation that runs a shell script, with its paths and references.
pub struct Script {
    pub path: StorePath,
    pub out: StorePath,
    pub derivation: Derivation,
    pub references: BTreeSet<StorePath>,
}

impl Script {
    pub const NAME: &str = "script";

    /// Adds the shell to the store, and makes a derivation that runs a script with it.
    pub async fn new(connection: &mut Connection, script: &str) -> Result<Self, Failed> {
        let shell = std::fs::read(static_shell().expect("the test is ignored without a static shell"))?;
        let shell = connection.add_files("bash", &Node::File { content: &shell, executable: true }).await?;
        let mut derivation = Derivation {
            outputs: BTreeMap::from([("out".into(), Output::input_addressed(String::new()))]),
            input_derivations: BTreeMap::new(),
            input_sources: BTreeSet::from([shell.clone()]),
            system: format!("{}-linux", std::env::consts::ARCH),
            builder: shell.to_string(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::from([
                ("preferLocalBuild".into(), "1".into()),
                ("allowSubstitutes".into(), String::new()),
            ]),
        };
        fill_outputs(Self::NAME, &mut derivation)?;
        Ok(Self {
            path: derivation_path(Self::NAME, &derivation, &derivation.text())?,
            out: StorePath::parse(&derivation.outputs["out"].path)?,
            references: derivation.input_sources.clone(),
            derivation,
        })
    }

    /// Makes the derivation, and adds it to the store.
    pub async fn added(connection: &mut Connection, script: &str) -> Result<Self, Failed> {
        let script = Self::new(connection, script).await?;
        let name = format!("{}.drv", Self::NAME);
        assert_eq!(connection.add_text(&name, &script.derivation.text(), &script.references).await?, script.path);
        Ok(script)
    }
}
