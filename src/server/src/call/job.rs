//! A job: one call as plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::file::File;
use crate::call::packages::Packages;

#[derive(Debug, Clone)]
pub struct Job {
    pub sandbox: &'static Sandbox,
    /// The files of the working directory.
    pub files: Arc<[File]>,
    pub output: Output,
    /// How long the program may run, by the wall clock.
    pub deadline: Duration,
    pub options: CallOptions,
}

impl Job {
    /// Returns a job whose output is captured, with the time limit of its sandbox.
    pub fn new(sandbox: &'static Sandbox, files: Vec<File>) -> Self {
        let files = files.into();
        Self { sandbox, files, output: Output::Captured, deadline: sandbox.timeout, options: CallOptions::default() }
    }
}

/// Where the program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into the outcome, up to a cap.
    Captured,
    /// To this process's own standard output and error, as it comes.
    Inherited,
}

/// The choices of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// The executor, if the call names one.
    pub executor: Option<Executor>,
    /// Whether the result of an earlier, identical call may be returned. Only a derivation has one.
    pub cache: bool,
    /// The packages that are added to the tool's environment.
    pub packages: Packages,
}
