//! Receipts: the derivation of a call as it stands for itself, made anew or read from a `.drv` file.

use std::fmt;

use sandbox_plan::variables::{NAME_PREFIX, NONCE};

use crate::call::file::File;
use crate::call::job::Job;
use crate::call::tool::SYSTEM;
use crate::nix::run_derivation::{Run, RunDerivation, builder_path};
use nix_store::derivation::{Derivation, ParseError};
use nix_store::hash::{derivation_path, fill_outputs};
use nix_store::store_path::{StorePath, StorePathError};

/// Bytes of files that are hashed in about a millisecond.
const QUICK: usize = 1 << 20;

/// Whether the derivation of a call with these files keeps a thread busy for longer than others should wait.
pub fn takes_long(files: &[File]) -> bool {
    files.iter().map(|file| file.content.len()).sum::<usize>() > QUICK
}

/// A call's derivation with the sandbox's own time limit and no nonce, the same for every such call. None where the
/// sandbox has no pinned environment.
///
/// # Errors
///
/// As those of [`Run::derivation`].
pub fn receipt(job: &Job) -> Result<Option<RunDerivation>, StorePathError> {
    let sandbox = job.sandbox;
    let (Some(system), Some(environment)) = (SYSTEM, &sandbox.environment) else { return Ok(None) };
    let (packages, files, builder) = (&job.options.packages, &job.files, builder_path());
    let deadline = sandbox.timeout;
    let run = Run { system, sandbox, environment, packages, builder, files, deadline, nonce: None, remote: false };
    run.derivation().map(Some)
}

/// Why a text is no receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptError {
    Syntax(ParseError),
    Path(StorePathError),
    /// It is a derivation, but none of a run.
    Other {
        reason: &'static str,
    },
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(f),
            Self::Path(error) => error.fmt(f),
            Self::Other { reason } => write!(f, "it is not the derivation of a run: {reason}"),
        }
    }
}

impl std::error::Error for ReceiptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(error) => Some(error),
            Self::Path(error) => Some(error),
            Self::Other { .. } => None,
        }
    }
}

/// A receipt that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    name: String,
    derivation: Derivation,
}

impl Receipt {
    /// Reads the text of a `.drv` file.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let derivation = Derivation::parse(text).map_err(ReceiptError::Syntax)?;
        let other = |reason| Err(ReceiptError::Other { reason });
        let name = derivation.environment.get("name").cloned().unwrap_or_default();
        if !name.starts_with(NAME_PREFIX) {
            return other("it has another name");
        }
        if !derivation.input_derivations.is_empty() {
            return other("it has inputs that must be built");
        }
        if !derivation.outputs.keys().eq(["out"]) {
            return other("it has other outputs");
        }
        let mut filled = derivation.clone();
        fill_outputs(&name, &mut filled).map_err(ReceiptError::Path)?;
        if filled != derivation {
            return other("its output has another path");
        }
        Ok(Self { name, derivation })
    }

    /// The output path of its environment.
    pub fn environment(&self) -> &str {
        self.variable("environment").unwrap_or_default()
    }

    /// The output paths of its packages.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.variable("packages").into_iter().flat_map(|packages| packages.split(' '))
    }

    pub fn run(&self) -> Result<RunDerivation, ReceiptError> {
        let text = self.derivation.text();
        Ok(RunDerivation {
            path: derivation_path(&self.name, &self.derivation, &text).map_err(ReceiptError::Path)?,
            out: StorePath::parse(&self.derivation.outputs["out"].path).map_err(ReceiptError::Path)?,
            text,
            references: self.derivation.input_sources.clone(),
            files: self.variable("files").map(StorePath::parse).transpose().map_err(ReceiptError::Path)?,
        })
    }

    /// The same run with a nonce, which keeps it apart.
    pub fn apart(&self, nonce: &str) -> Result<Self, ReceiptError> {
        let Self { name, mut derivation } = self.clone();
        derivation.environment.insert(NONCE.into(), nonce.into());
        fill_outputs(&name, &mut derivation).map_err(ReceiptError::Path)?;
        Ok(Self { name, derivation })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.derivation.environment.get(name).map(String::as_str)
    }
}
