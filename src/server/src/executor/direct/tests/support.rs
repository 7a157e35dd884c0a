//! Runs code in a tool as the server would.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::host;
use crate::call::choice::{Executor, Remote};
use crate::call::file::File;
use crate::call::job::Job;
use crate::call::outcome::RunResult;
use crate::call::tool::Tool;
use crate::executor::derivation::Derivations;
use crate::executor::{CallContext, ExecutorError, Executors};
use crate::sandbox::host::HostError;
use crate::testing::{self, Caller, Lacking};

/// Who calls, and what the kernel lacks.
#[derive(Debug, Clone)]
pub struct Setting {
    pub caller: Caller,
    pub lacking: Vec<Lacking>,
    pub allow_unconfined: bool,
}

/// A machine without user namespaces, for everybody.
pub fn without_namespaces() -> Vec<Setting> {
    lacking(&[Lacking::UserNamespaces])
}

pub fn lacking(lacking: &[Lacking]) -> Vec<Setting> {
    let setting = |caller| Setting { caller, lacking: lacking.into(), allow_unconfined: false };
    testing::everybody().into_iter().map(setting).collect()
}

pub fn job(tool: &str, code: &str) -> Job {
    let sandbox = &Tool::by_name(tool).expect("the tool exists").sandbox;
    let mut files = vec![File::parse(sandbox.entrypoint, code.to_owned()).unwrap()];
    if tool == "go" {
        files.push(File::parse("go.mod", "module hello".to_owned()).unwrap());
    }
    Job::new(sandbox, files)
}

impl Setting {
    /// Returns `None` if this machine has no toolchain for the tool.
    pub fn try_run(&self, tool: &str, code: &str) -> Option<Result<RunResult, ExecutorError>> {
        testing::run(self.caller, &self.lacking, || async {
            let executors = Executors::new(Some(0), Derivations::new(None, false, Remote::Off), self.allow_unconfined);
            let job = job(tool, code);
            let view = match crate::sandbox::host::toolchain(job.sandbox, &host(executors.walls().await)) {
                Ok(toolchain) => toolchain.view(),
                Err(
                    error @ (HostError::MissingToolchain { .. }
                    | HostError::UnknownShim { .. }
                    | HostError::Manager { .. }),
                ) => {
                    eprintln!("{self:?}: {error}");
                    return None;
                }
                Err(error) => panic!("{self:?}: {error}"),
            };
            let never = CancellationToken::new();
            Some(executors.run(Executor::Direct, &CallContext::new(&job, &view, &|_| {}, &never)).await)
        })
    }

    #[track_caller]
    pub fn run(&self, tool: &str, code: &str) -> Option<RunResult> {
        let outcome = self.try_run(tool, code)?;
        Some(outcome.unwrap_or_else(|error| panic!("{self:?}: {error}")))
    }

    /// What a shell script prints that ends with 0.
    #[track_caller]
    pub fn sh(&self, code: &str) -> String {
        let outcome = self.run("shell", code).expect("every machine has a shell");
        assert!(outcome.succeeded(), "{self:?}: {}{}", outcome.stdout.text(), outcome.stderr.text());
        outcome.stdout.text()
    }

    #[track_caller]
    pub fn python(&self, code: &str) -> Option<String> {
        let outcome = self.run("python", code)?;
        assert!(outcome.succeeded(), "{self:?}: {}{}", outcome.stdout.text(), outcome.stderr.text());
        Some(outcome.stdout.text())
    }

    /// A directory that belongs to whom programs run as, and lies open to everybody: only walls keep a program away.
    pub fn open_directory(&self) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("make a directory");
        let path = fs::canonicalize(directory.path()).expect("the directory is there");
        fs::write(path.join("secret"), "secret").expect("write a file");
        fs::create_dir(path.join("below")).expect("make a directory");
        for (path, mode) in [(path.clone(), 0o777), (path.join("secret"), 0o666), (path.join("below"), 0o777)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set a mode");
            if rustix::process::geteuid().is_root() {
                chown(&path, Some(65534), Some(65534)).expect("give it away");
            }
        }
        (directory, path)
    }
}

impl Setting {
    /// Whether programs are the caller's own user.
    pub fn runs_as_caller(&self) -> bool {
        self.caller == Caller::Nobody || !rustix::process::geteuid().is_root()
    }
}
