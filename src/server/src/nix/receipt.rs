//! Receipts: the derivation of a call, computed from a call or read from a `.drv` file.

use thiserror::Error;
use tokio::task::spawn_blocking;

use sandbox_plan::variables::{INPUT_PATHS, INPUTS, NAME_PREFIX, NONCE};

use crate::call::catalog::catalog;
use crate::call::job::Job;
use crate::nix::run_derivation::{CallDerivation, DerivationInputs, RunDerivation, builder_path};
use nix_store::derivation::{Derivation, DerivationSyntaxError};
use nix_store::hash::{derivation_path, fill_outputs};
use nix_store::store_path::{StorePath, StorePathError};

/// Bytes of files that are hashed on the thread that asks, which takes about a millisecond. More are hashed on the
/// blocking pool.
const INLINE_HASH_LIMIT: usize = 1 << 20;

/// Computes the derivation of a job in a pinned environment.
///
/// # Errors
///
/// As those of [`DerivationInputs::derive`].
///
/// # Panics
///
/// The sandbox has no pinned environment.
pub async fn derive(job: &Job) -> Result<CallDerivation, StorePathError> {
    if job.stored_inputs().size() <= INLINE_HASH_LIMIT {
        return inputs(job).expect(PINNED).derive();
    }
    let job = job.clone();
    let derived = spawn_blocking(move || inputs(&job).expect(PINNED).derive()).await;
    derived.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

const PINNED: &str = "only jobs with a pinned environment have a derivation";

/// Computes a call's receipt: its derivation with the call's own time limit and no nonce, which is the same for
/// every such call. Returns `None` if the sandbox has no pinned environment.
///
/// # Errors
///
/// As those of [`DerivationInputs::derive`].
pub fn receipt(job: &Job) -> Result<Option<RunDerivation>, StorePathError> {
    inputs(job).map(|inputs| inputs.derive()?.receipt()).transpose()
}

fn inputs(job: &Job) -> Option<DerivationInputs<'_>> {
    let (system, environment) = (catalog().system?, job.sandbox.environment.as_ref()?);
    let (packages, files, input, builder) = (&job.options.packages, &job.files, &job.input, builder_path());
    let timeout = job.timeout();
    Some(DerivationInputs { system, sandbox: job.sandbox, environment, packages, builder, files, input, timeout })
}

/// Why a text is not a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptError {
    #[error(transparent)]
    Syntax(#[from] DerivationSyntaxError),
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// It is a derivation, but not of a run.
    #[error("it is not the derivation of a run: {reason}")]
    Other { reason: &'static str },
}

/// A receipt that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    name: String,
    derivation: Derivation,
}

impl Receipt {
    /// Reads the text of a `.drv` file.
    ///
    /// # Errors
    ///
    /// The text is not the derivation of a run, or names a path that is not a store path.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let derivation = Derivation::parse(text)?;
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
        fill_outputs(&name, &mut filled)?;
        if filled != derivation {
            return other("its output has another path");
        }
        let receipt = Self { name, derivation };
        receipt.run()?;
        Ok(receipt)
    }

    /// Returns the output path of its environment.
    pub fn environment(&self) -> &str {
        self.variable("environment").unwrap_or_default()
    }

    /// Returns the output paths of its packages.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.variable("packages").into_iter().flat_map(|packages| packages.split(' '))
    }

    /// Returns whether the store path of its inputs holds a standard input.
    pub fn stores_stdin(&self) -> bool {
        self.variable(INPUTS).is_some()
    }

    /// Returns the derivation, ready to be added to a store.
    ///
    /// # Errors
    ///
    /// It names a path that is not a store path.
    pub fn run(&self) -> Result<RunDerivation, ReceiptError> {
        let text = self.derivation.text();
        Ok(RunDerivation {
            path: derivation_path(&self.name, &self.derivation, &text)?,
            out: StorePath::parse(&self.derivation.outputs["out"].path)?,
            text,
            references: self.derivation.input_sources.clone(),
            stored: INPUT_PATHS.iter().find_map(|name| self.variable(name)).map(StorePath::parse).transpose()?,
        })
    }

    /// Returns the receipt with a nonce, whose run does not reuse an earlier result.
    pub fn apart(&self, nonce: &str) -> Result<Self, ReceiptError> {
        let Self { name, mut derivation } = self.clone();
        derivation.environment.insert(NONCE.into(), nonce.into());
        fill_outputs(&name, &mut derivation)?;
        Ok(Self { name, derivation })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.derivation.environment.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of a run's derivation with these variables and the output path that follows from them.
    fn text(variables: &[(&str, &str)]) -> String {
        let text = r#"Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[])"#;
        let mut derivation = Derivation::parse(text).unwrap();
        derivation.environment = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        fill_outputs(&derivation.environment["name"].clone(), &mut derivation).unwrap();
        derivation.text()
    }

    #[test]
    fn receipt_with_the_right_paths_is_read() {
        let receipt = Receipt::parse(&text(&[("name", "sandbox-mcp-run-python"), ("nonce", "1")])).unwrap();
        assert_eq!(receipt.apart("1"), Ok(receipt.clone()));
        assert_ne!(receipt.apart("2").unwrap().run().unwrap().path, receipt.run().unwrap().path);
    }

    #[test]
    fn receipt_that_names_no_store_path_is_refused() {
        for files in ["", "/tmp/files", "/nix/store/short-name"] {
            let text = text(&[("name", "sandbox-mcp-run-python"), ("files", files)]);
            assert!(matches!(Receipt::parse(&text), Err(ReceiptError::Path(_))), "{files:?}");
        }
        // The output has a path of this name, and the derivation has none: there `.drv` is added.
        let longest = format!("{NAME_PREFIX}{}", "x".repeat(211 - NAME_PREFIX.len()));
        assert!(matches!(Receipt::parse(&text(&[("name", &longest)])), Err(ReceiptError::Path(_))));
    }
}
