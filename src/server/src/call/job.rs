//! A job: one call as plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::call::choice::Executor;
use crate::call::definition::Sandbox;
use crate::call::file::File;
use crate::call::lenient::IgnoredParameter;
use crate::call::packages::Packages;
use crate::call::program_input::ProgramInput;
use crate::call::stored_inputs::StoredInputs;

#[derive(Debug, Clone)]
pub struct Job {
    pub sandbox: &'static Sandbox,
    /// The files of the working directory.
    pub files: Arc<[File]>,
    /// What else the program is given.
    pub input: Arc<ProgramInput>,
    pub output: Output,
    /// How long the program may run, by the wall clock.
    pub deadline: Duration,
    pub options: CallOptions,
    /// What the client gave and the tool does not know.
    pub ignored: Vec<IgnoredParameter>,
}

impl Job {
    /// Returns a job whose output is captured, with the time limit of its sandbox.
    pub fn new(sandbox: &'static Sandbox, files: Vec<File>) -> Self {
        Self {
            sandbox,
            files: files.into(),
            input: Arc::default(),
            output: Output::Captured,
            deadline: sandbox.timeout,
            options: CallOptions::default(),
            ignored: Vec::new(),
        }
    }

    /// Returns what is stored of it where a derivation does not hold it.
    pub fn stored_inputs(&self) -> StoredInputs<'_> {
        StoredInputs { files: &self.files, stdin: &self.input.stdin }
    }

    /// Returns how long the program may run as far as the call itself says, which is part of its receipt.
    pub fn timeout(&self) -> Duration {
        self.options.timeout.unwrap_or(self.sandbox.timeout)
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
    /// How long the program may run, if the call says so.
    pub timeout: Option<Duration>,
}
