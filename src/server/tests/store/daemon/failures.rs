//! Tests of failures, and of the processes that they leave.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;
use nix_store::daemon::{Connection, DaemonError};
use nix_store::endpoint::Endpoint;
use nix_store::protocol::{BuildStatus, Event, Operation};
use rustix::process::Pid;
use tokio::runtime::Runtime;

use test_support::daemon_fixture::{DaemonKind, Fixture, Script, wait_until};

fn ignore(_: Event) {}

/// The processes that have a unique mark on their command line.
struct Mark(String);

impl Mark {
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(format!("sandbox-mcp-test-{:016x}", RandomState::new().hash_one(0)))
    }

    /// Returns a script that never ends and has the mark.
    fn endless(&self) -> String {
        format!("echo {}; while :; do read -t 0.1 <> <(:); done", self.0)
    }

    fn processes(&self) -> Vec<Pid> {
        processes(|process| {
            fs::read(process.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&self.0))
        })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        kill(self.processes());
    }
}

fn processes(is: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().filter(|process| is(&process.path()));
    all.filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?)).collect()
}

fn kill(processes: Vec<Pid>) {
    for process in processes {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

/// Builds until the builder has printed something.
async fn until_it_runs(connection: &mut Connection, script: &Script) -> Result<(), Failed> {
    let (said, heard) = tokio::sync::oneshot::channel();
    let mut said = Some(said);
    let mut on_event = move |event| {
        if matches!(event, Event::Log(_)) {
            let _ = said.take().map(|said| said.send(()));
        }
    };
    tokio::select! {
        result = connection.build(&script.path, &mut on_event) => Err(format!("it ended: {result:?}").into()),
        heard = heard => Ok(heard?),
    }
}

pub fn dropped(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mark = Mark::new();
        let mut connection = fixture.connect().await?;
        let script = Script::added(&mut connection, &mark.endless()).await?;
        until_it_runs(&mut connection, &script).await?;
        assert!(!mark.processes().is_empty());
        drop(connection);
        // In a thread, so that the child can be ended meanwhile.
        let gone = move || wait_until("the builder is gone", || mark.processes().is_empty());
        tokio::task::spawn_blocking(gone).await?
    })
}

pub fn out_of_step(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mark = Mark::new();
        let mut connection = fixture.connect().await?;
        let script = Script::added(&mut connection, &mark.endless()).await?;
        until_it_runs(&mut connection, &script).await?;
        let error = connection.valid_paths(&[script.path]).await.unwrap_err();
        assert!(matches!(error, DaemonError::OutOfStep), "{error}");
        Ok(())
    })
}

pub fn untrusted() -> Result<(), Failed> {
    let fixture = Fixture::with_settings(DaemonKind::Socket, "trusted-users =\n")?;
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        assert!(matches!(connection.trusted(), None | Some(false)));
        let script = Script::added(&mut connection, "echo 1 > $out").await?;
        let result = connection.build(&script.path, &mut ignore).await?;
        assert_eq!(result.status, BuildStatus::Built, "{}", result.message);
        drop(connection);
        let mut connection = fixture.connect().await?;
        let freed = connection.delete(std::slice::from_ref(&script.out)).await?;
        assert!(freed > 0 && !fixture.store.physical(&script.out).exists());
        Ok(())
    })
}

pub fn killed() -> Result<(), Failed> {
    let mut fixture = Fixture::new(DaemonKind::Socket)?;
    // The builder outlives the daemon, and is ended by its mark.
    let mark = Mark::new();
    let error: DaemonError = fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let script = Script::added(&mut connection, &mark.endless()).await?;
        until_it_runs_then(&mut connection, &script, || kill_workers(fixture.daemon_pid())).await
    })?;
    assert!(matches!(&error, DaemonError::Lost { operation: Operation::BuildPathsWithResults, .. }), "{error}");
    fixture.start_daemon()?;
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        connection.add_text("a", "", &BTreeSet::new()).await?;
        Ok(())
    })
}

/// Builds, acts once the builder has printed something, and returns the error of the build.
async fn until_it_runs_then(
    connection: &mut Connection,
    script: &Script,
    mut act: impl FnMut() + Send,
) -> Result<DaemonError, Failed> {
    let mut on_event = |event| {
        if matches!(event, Event::Log(_)) {
            act();
        }
    };
    match connection.build(&script.path, &mut on_event).await {
        Ok(result) => Err(format!("it ended: {result:?}").into()),
        Err(error) => Ok(error),
    }
}

/// Kills the child processes of a daemon, each of which serves a connection.
fn kill_workers(daemon: u32) {
    let parent = format!("PPid:\t{daemon}");
    let below = |process: &Path| {
        fs::read_to_string(process.join("status")).is_ok_and(|status| status.lines().any(|line| line == parent))
    };
    kill(processes(below));
}

/// Returns the error of connecting, which must fail.
fn refusal(endpoint: &Endpoint) -> Result<DaemonError, Failed> {
    match Runtime::new()?.block_on(Connection::open(endpoint)) {
        Ok(_) => Err(format!("{endpoint} was taken for a daemon").into()),
        Err(error) => Ok(error),
    }
}

pub fn no_daemon() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    fs::write(&file, "")?;
    for (endpoint, reason) in [
        (Endpoint::Socket(directory.path().join("none")), "No such file"),
        (Endpoint::Socket(file.clone()), "Connection refused"),
        (Endpoint::child("/nonexistent/nix-daemon"), "No such file"),
        (Endpoint::child(file), "Permission denied"),
    ] {
        let error = refusal(&endpoint)?;
        assert!(matches!(error, DaemonError::Connect { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains(&endpoint.to_string()), "{text}");
    }
    Ok(())
}

fn shell(script: &str) -> Endpoint {
    Endpoint::Child { program: PathBuf::from("/bin/sh"), arguments: vec!["-c".into(), script.into()] }
}

pub fn other_programs() -> Result<(), Failed> {
    for (script, reason) in [
        ("exec cat", "does not speak the protocol"),
        ("sleep 0.2", "it closed the connection"),
        ("echo 'no store for you' >&2; sleep 0.5", "no store for you"),
    ] {
        let error = refusal(&shell(script))?;
        assert!(
            matches!(error, DaemonError::Handshake { .. }) && error.to_string().contains(reason),
            "{script}: {error}"
        );
    }
    Ok(())
}

pub fn too_old() -> Result<(), Failed> {
    // The daemon's magic number, and version 1.20.
    let script = r"printf 'oixd\000\000\000\000\024\001\000\000\000\000\000\000'; exec cat > /dev/null";
    let error = refusal(&shell(script))?.to_string();
    assert!(error.contains("protocol 1.20") && error.contains("Nix 2.8 or later"), "{error}");
    Ok(())
}

pub fn garbage() -> Result<(), Failed> {
    // A valid handshake (1.35, a version, trusted, no event), then bytes that no daemon sends.
    let handshake = r"printf 'oixd\000\000\000\000\043\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\001\000\000\000\000\000\000\000stla\000\000\000\000'";
    for garbage in [
        r"\377\377\377\377\377\377\377\377".repeat(20),
        r"gmlo\000\000\000\000\377\377\377\000\000\000\000\000".to_owned(),
        r"TLSR\000\000\000\000".to_owned() + &r"\001\000\000\000\000\000\000\000".repeat(50),
        r"stla\000\000\000\000\377\377\377\377\000\000\000\000".to_owned(),
    ] {
        let endpoint = shell(&format!("{handshake}; printf '{garbage}'; exec sleep 0.2"));
        let error: DaemonError = Runtime::new()?.block_on(async {
            let mut connection = Connection::open(&endpoint).await?;
            let answer = tokio::time::timeout(Duration::from_secs(30), connection.valid_paths(&[])).await?;
            let error = answer.err().ok_or_else(|| format!("{garbage} was taken for an answer"))?;
            let next = connection.valid_paths(&[]).await;
            assert!(matches!(next, Err(DaemonError::OutOfStep)), "{next:?}");
            Ok::<_, Failed>(error)
        })?;
        assert!(matches!(error, DaemonError::Lost { operation: Operation::QueryValidPaths, .. }), "{error}");
    }
    Ok(())
}
