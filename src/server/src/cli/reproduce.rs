//! The command `reproduce`: realises the derivation that a call is, runs the same once more, and compares.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use crate::call::catalog::catalog;
use crate::call::definition::Package;
use crate::call::stage::{OnStage, Stage};
use crate::cli::run::{CliCall, CliCallError, OWN_FAILURE, ReceiptOfCallError, derivation};
use crate::executor::derivation::{NixRunError, nonce};
use crate::nix::exported::{self, ExportedError, ExportedInputs};
use crate::nix::receipt::{Receipt, ReceiptError};
use crate::runner::Runner;
use crate::runner::error::RunError;
use nix_store::store_path::StorePath;

/// Why a call could not be run twice.
#[derive(Debug, thiserror::Error)]
enum ReproduceError {
    #[error(transparent)]
    Call(#[from] ReceiptOfCallError),
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("{}: {cause}", path.display())]
    Receipt { path: PathBuf, cause: ReceiptError },
    #[error("{}: {cause}", path.display())]
    Exported { path: PathBuf, cause: ExportedError },
    /// The derivation names its files by a path, and they are not there.
    #[error(
        "the files of the call, {path}, are not in this store: take a receipt that holds them, from \
         `show-derivation --export`"
    )]
    NoFiles { path: StorePath },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Derivation(#[from] NixRunError),
}

/// Returns whether the call does the same each time: the status is 0 if so, and 1 if not. `tool` may be a receipt instead,
/// in the store or outside of it, and has no files then.
pub async fn run(call: CliCall<'_>, runner: Runner) -> ExitCode {
    let result = reproduce(call, &runner).await;
    runner.finish().await;
    match result {
        Ok(differences) if differences.is_empty() => {
            println!("reproducible: both runs did the same");
            ExitCode::SUCCESS
        }
        Ok(differences) => {
            println!("not reproducible:");
            differences.iter().for_each(|difference| println!("  {difference}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("sandbox-mcp: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

async fn reproduce(call: CliCall<'_>, runner: &Runner) -> Result<Vec<String>, ReproduceError> {
    let (receipt, inputs) = match call.files {
        [] => read(Path::new(call.tool))?,
        _ => make(call)?,
    };
    let on_stage = |stage: Stage| {
        if let Some(line) = stage.of_realising() {
            eprintln!("{line}");
        }
    };
    let quiet: OnStage<'_> = &|_| {};
    // Of another server's receipt the environment and the packages must be there.
    let of_ours = |sandbox: &&crate::call::definition::Sandbox| {
        sandbox.environment.as_ref().is_some_and(|environment| environment.out == receipt.environment())
    };
    if let Some(sandbox) = catalog().tools.iter().map(|tool| &tool.sandbox).find(of_ours) {
        runner.realise(sandbox, &on_stage).await?;
    }
    let is_needed = |package: &&Package| receipt.packages().any(|out| out == package.environment.out);
    for package in catalog().package_sets.iter().flat_map(|set| set.packages).filter(is_needed) {
        runner.realise_package(package, &on_stage).await?;
    }
    let failed = |cause| ReproduceError::Receipt { path: call.tool.into(), cause };
    let (first, second) =
        (receipt.run().map_err(failed)?, receipt.apart(&nonce()).and_then(|run| run.run()).map_err(failed)?);
    if let Some(path) =
        first.stored.iter().find(|path| inputs.as_stored().is_empty() && !Path::new(path.as_str()).exists())
    {
        return Err(ReproduceError::NoFiles { path: path.clone() });
    }
    eprintln!("{}", first.path);
    let derivations = runner.executors().derivations();
    derivations.realise(&first, inputs.as_stored(), quiet).await?;
    println!("{}", first.out);
    let again = derivations.realise(&second, inputs.as_stored(), quiet).await;
    let compared = again.map_err(ReproduceError::Derivation).and_then(|()| {
        let [one, other] = [&first.out, &second.out].map(|out| PathBuf::from(out.as_str()));
        differences(&one, &other).map_err(|cause| ReproduceError::Read { path: other, cause })
    });
    // The first is what was asked for; files that both have stay for it.
    derivations.forget(crate::nix::run_derivation::RunDerivation { stored: None, ..second });
    compared
}

fn make(call: CliCall) -> Result<(Receipt, ExportedInputs), ReproduceError> {
    let (derivation, job) = derivation(call)?;
    let parsed = Receipt::parse(&derivation.text);
    let receipt = parsed.map_err(|cause| ReproduceError::Receipt { path: derivation.path.as_str().into(), cause })?;
    Ok((receipt, ExportedInputs { files: job.files.to_vec(), stdin: job.input.stdin.clone() }))
}

fn read(path: &Path) -> Result<(Receipt, ExportedInputs), ReproduceError> {
    if !path.is_file() {
        let name = path.display().to_string();
        return Err(ReceiptOfCallError::Call(CliCallError::NoReceipt { name }).into());
    }
    let bytes = fs::read(path).map_err(|cause| ReproduceError::Read { path: path.into(), cause })?;
    exported::read(&bytes).map_err(|cause| ReproduceError::Exported { path: path.into(), cause })
}

/// What is different in two outputs, a line for each file.
fn differences(one: &Path, other: &Path) -> io::Result<Vec<String>> {
    let (first, second) = (content(one)?, content(other)?);
    let names: std::collections::BTreeSet<_> = first.keys().chain(second.keys()).collect();
    let difference = |name: &&PathBuf| {
        let shown = name.display().to_string().escape_debug().to_string();
        match (first.get(*name), second.get(*name)) {
            (Some(one), Some(other)) if one == other => None,
            (Some(one), Some(other)) => {
                let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
                Some(format!("{shown}: byte {same} and what follows ({} and {} bytes)", one.len(), other.len()))
            }
            (Some(_), None) => Some(format!("{shown}: only the first run left it")),
            (None, _) => Some(format!("{shown}: only the second run left it")),
        }
    };
    Ok(names.iter().filter_map(difference).collect())
}

/// Every file with its content, directory and link, by its path; the first byte tells which of them it is.
fn content(root: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let (path, kind) = (directory.join(entry.file_name()), entry.file_type()?);
            let content = if kind.is_dir() {
                directories.push(path.clone());
                b"d".to_vec()
            } else if kind.is_symlink() {
                [b"l", fs::read_link(entry.path())?.as_os_str().as_bytes()].concat()
            } else {
                [&b"f"[..], &fs::read(entry.path())?].concat()
            };
            found.insert(path, content);
        }
    }
    Ok(found)
}
