//! Executors: ways to carry out a job. They differ in nothing else.

use std::fmt;
use std::str::FromStr;

use tokio_util::sync::CancellationToken;

use crate::job::Job;
use crate::launch::{LaunchError, Pool};
use crate::outcome::Outcome;
use crate::plan;
use crate::view::{Origin, View};

/// Which executor the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Pinned environments where this server has them, or else this host's toolchains.
    Auto,
    Namespace,
    Direct,
}

impl FromStr for Choice {
    type Err = UnknownExecutor;

    fn from_str(text: &str) -> Result<Self, UnknownExecutor> {
        match text {
            "auto" => Ok(Self::Auto),
            "namespace" => Ok(Self::Namespace),
            "direct" => Ok(Self::Direct),
            _ => Err(UnknownExecutor),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownExecutor;

impl fmt::Display for UnknownExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executors are auto, namespace and direct")
    }
}

impl std::error::Error for UnknownExecutor {}

/// Which executor carries a job out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// Our own launcher, around a pinned environment.
    Namespace,
    /// Our own launcher, around toolchains of this host.
    Direct,
}

impl Executor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Direct => "direct",
        }
    }

    /// The executor that a view needs: what was found on the host is never called pinned.
    pub fn of(view: &View) -> Self {
        match view.origin {
            Origin::Pinned(_) => Self::Namespace,
            Origin::Host => Self::Direct,
        }
    }

    /// Runs the job to its end. The sandbox is gone when this returns.
    pub async fn run(
        self,
        job: &Job,
        view: &View,
        pool: &Pool,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, LaunchError> {
        let plan = plan::in_namespaces(job, view);
        let run = pool.run(&plan, job.output, cancelled).await?;
        Ok(Outcome {
            ending: run.ending,
            stdout: run.stdout,
            stderr: run.stderr,
            duration: run.duration,
            usage: run.usage,
            executor: self.name(),
            environment: view.origin.to_string(),
            walls: WALLS.to_vec(),
        })
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The walls of a sandbox with all namespaces.
const WALLS: [&str; 4] = ["namespaces", "no capabilities", "no_new_privs", "rlimits"];
