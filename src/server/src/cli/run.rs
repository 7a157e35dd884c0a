//! One call from a shell: the command `run`, with the program's own output and exit status, and `show-derivation`.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use tokio_util::sync::CancellationToken;

use crate::call::argument_error::ArgumentError;
use crate::call::arguments::NamedFiles;
use crate::call::artifacts::{Artifact, Artifacts};
use crate::call::capture::Captured;
use crate::call::definition::Sandbox;
use crate::call::job::{Job, Output};
use crate::call::outcome::{Ending, Outcome};
use crate::call::package_list;
use crate::call::packages::{NoPackages, PackageError};
use crate::call::stage::Stage;
use crate::call::tool::Tool;
use crate::cli::given::{Given, STDIN, reads_a_file_from_stdin};
use crate::cli::surroundings::with_inherited_mask;
use crate::mcp::answer;
use crate::nix::exported;
use crate::nix::receipt::receipt;
use crate::nix::run_derivation::RunDerivation;
use crate::runner::Runner;
use crate::runner::error::NotPinned;
use nix_store::store_path::StorePathError;

/// The status of a call that could not be carried out, as `env` and `timeout` have it.
pub const OWN_FAILURE: u8 = 125;

/// A call as a command line names it.
#[derive(Debug, Clone, Copy)]
pub struct CliCall<'a> {
    pub tool: &'a str,
    pub files: &'a [PathBuf],
    pub packages: &'a [String],
    pub given: &'a Given,
}

/// The reason why a tool and files make no call.
#[derive(Debug, thiserror::Error)]
pub enum CliCallError {
    /// Names the tools whose calls have a derivation. [`run`] instead names those that this machine can run.
    #[error("unknown tool `{name}`: {}", pinned_tools(&Tool::pinned_names()))]
    UnknownTool { name: String },
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot read standard input for the program: {0}")]
    Stdin(io::Error),
    /// It is neither files nor a receipt.
    #[error(
        "cannot reproduce {name}: it is not a receipt file; to reproduce a call of a tool, name the tool and its files"
    )]
    NoReceipt { name: String },
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

/// Returns what to say of the tools that have a pinned environment.
fn pinned_tools(names: &[&str]) -> String {
    match names {
        [] => "this server was built without Nix, so no tool has a derivation; build it with `nix build`".to_owned(),
        names => format!("the tools with a pinned environment are {}", names.join(", ")),
    }
}

/// Runs the tool on the files and gives the program's exit status.
pub async fn run(call: CliCall<'_>, out: Option<&Path>, runner: Runner) -> ExitCode {
    let job = match job(call) {
        Ok(job) => job,
        Err(CliCallError::UnknownTool { name }) => {
            runner.settle().await;
            let names = runner.available().await.join(", ");
            eprintln!("sandbox-mcp: unknown tool `{name}`: the tools are {names}");
            return ExitCode::from(OWN_FAILURE);
        }
        Err(error) => {
            eprintln!("sandbox-mcp: {error}");
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let on_stage = |stage: Stage| {
        if let Some(line) = stage.of_realising() {
            eprintln!("{line}");
        }
    };
    let cancelled = CancellationToken::new();
    let on_interrupt = cancelled.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_interrupt.cancel();
        }
    });
    let seconds = job.deadline.as_secs();
    let result = runner.run(job, &on_stage, &cancelled).await;
    runner.finish().await;
    match result {
        Ok(outcome) => {
            if let Some(fallback) = &outcome.fallback {
                eprintln!("sandbox-mcp: {fallback}");
            }
            print_captured(&outcome);
            // A status of its own needs no words: the program has had its say.
            if let (Some(reason), false) =
                (answer::reason(outcome.result.ending, seconds), matches!(outcome.result.ending, Ending::Exited { .. }))
            {
                eprintln!("sandbox-mcp: {reason}");
            }
            if let Some(met) = &outcome.met {
                eprintln!("sandbox-mcp: {met}");
            }
            for line in outcome.result.refused.lines() {
                eprintln!("sandbox-mcp: {line}");
            }
            if let Some(sentence) = answer::left_sentence(&outcome) {
                eprintln!("sandbox-mcp: {sentence}");
            }
            match keep(&outcome.result.artifacts, out) {
                Ok(()) => ExitCode::from(outcome.result.exit_status()),
                Err((path, error)) => {
                    eprintln!("sandbox-mcp: cannot write {}: {error}", path.display());
                    ExitCode::from(OWN_FAILURE)
                }
            }
        }
        Err(error) => {
            eprintln!("sandbox-mcp: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// Prints the text of the derivation that the call is, or exports it.
pub fn show_derivation(call: CliCall, export: Option<&Path>) -> ExitCode {
    let shown = derivation(call).and_then(|(derivation, job)| {
        match export {
            None => print!("{}", derivation.text),
            Some(path) => with_inherited_mask(|| fs::write(path, exported::write(&derivation, job.stored_inputs())))
                .map_err(|cause| ReceiptOfCallError::Write { path: path.to_owned(), cause })?,
        }
        Ok(derivation.path)
    });
    match shown {
        Ok(path) => {
            eprintln!("{path}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sandbox-mcp: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// Returns the derivation that the call is, and its job.
///
/// # Errors
///
/// Fails if the call is refused, or if its tool has no pinned environment.
pub fn derivation(call: CliCall) -> Result<(RunDerivation, Job), ReceiptOfCallError> {
    let job = job(call)?;
    let derivation = receipt(&job).map_err(ReceiptOfCallError::Path)?;
    let derivation = derivation.ok_or(ReceiptOfCallError::NotPinned(NotPinned { tool: job.sandbox.id }))?;
    Ok((derivation, job))
}

/// The reason why a call has no derivation.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptOfCallError {
    #[error(transparent)]
    Call(#[from] CliCallError),
    #[error("cannot compute the call's derivation: {0}")]
    Path(StorePathError),
    #[error("cannot compute the call's derivation: {0}; build it with `nix build`")]
    NotPinned(NotPinned),
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// Prints what was captured: where the executor could not let the program print for itself.
fn print_captured(outcome: &Outcome) {
    let print = |to: &mut dyn Write, stream: &Captured| match stream.left_out() {
        0 => to.write_all(&stream.kept()),
        _ => to.write_all(stream.text().as_bytes()),
    };
    // Who has closed our output does not want it.
    let _ = print(&mut io::stdout(), &outcome.result.stdout);
    let _ = print(&mut io::stderr(), &outcome.result.stderr);
}

/// Writes what the program left into a directory, or else says that it is lost.
fn keep(artifacts: &Artifacts, out: Option<&Path>) -> Result<(), (PathBuf, io::Error)> {
    for left_out in &artifacts.left_out {
        let (name, reason) = (left_out.name(), &left_out.reason);
        eprintln!("sandbox-mcp: {name} is not kept: {reason}");
    }
    let Some(out) = out else {
        if !artifacts.files.is_empty() {
            eprintln!(
                "sandbox-mcp: the program left {} files in $OUT; --out DIRECTORY keeps them",
                artifacts.files.len()
            );
        }
        return Ok(());
    };
    for Artifact { path, content, .. } in &artifacts.files {
        let path = out.join(path);
        let written = with_inherited_mask(|| {
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content))
        });
        written.map_err(|error| (path, error))?;
    }
    Ok(())
}

/// Returns the job of a call, whose program prints to this process's own output.
///
/// The first file becomes the entrypoint, whatever it is called, or, by the extension of its name, the file that may be
/// given instead. The others keep their names; a path that leads out of the working directory keeps its last component.
///
/// # Errors
///
/// Fails if the tool is unknown, if a file or standard input cannot be read, and if the tool refuses what it is given.
pub fn job(call: CliCall) -> Result<Job, CliCallError> {
    let tool = Tool::by_name(call.tool).ok_or_else(|| CliCallError::UnknownTool { name: call.tool.to_owned() })?;
    if !call.packages.is_empty() && package_list::is_empty() {
        return Err(ArgumentError::from(PackageError::None(NoPackages::Unpinned)).into());
    }
    let mut files = NamedFiles::default();
    for (index, path) in call.files.iter().enumerate() {
        let (content, executable) = read(path).map_err(|cause| CliCallError::Read { path: path.clone(), cause })?;
        let name = if index == 0 { first_name(&tool.sandbox, path).to_owned() } else { name_inside(path) };
        files.add(name, content, executable);
    }
    let reads_stdin = !reads_a_file_from_stdin(call.files);
    let options = call.given.options(call.packages, reads_stdin).map_err(CliCallError::Stdin)?;
    let job = tool.job_of_files(files, options)?;
    Ok(Job { output: Output::Inherited, ..job })
}

/// The name that a call's first file gets in the sandbox.
fn first_name(sandbox: &Sandbox, path: &Path) -> &'static str {
    let ending = |name: &&str| path.extension().is_some_and(|ending| Path::new(name).extension() == Some(ending));
    // The files that may be given instead can end like the entrypoint.
    let all = [sandbox.entrypoint].into_iter().chain(sandbox.instead.iter().copied());
    all.into_iter().find(|name| ending(name)).unwrap_or(sandbox.entrypoint)
}

fn name_inside(path: &Path) -> String {
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let name = if stays { path.as_os_str() } else { path.file_name().unwrap_or(path.as_os_str()) };
    name.to_string_lossy().into_owned()
}

/// Returns the content of a file, and whether it is executable.
fn read(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    if path != Path::new(STDIN) {
        let mut file = fs::File::open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        return Ok((content, file.metadata()?.permissions().mode() & 0o111 != 0));
    }
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content)?;
    Ok((content, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_tool_is_refused_with_the_pinned_tools() {
        assert_eq!(pinned_tools(&["go", "rust"]), "the tools with a pinned environment are go, rust");
        // The catalog of unit tests has no pinned environments.
        let error = derivation(CliCall { tool: "perl", files: &[], packages: &[], given: &Given::default() })
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("unknown tool `perl`: this server was built without Nix"), "{error}");
    }

    #[test]
    fn first_file_becomes_the_entrypoint_or_what_its_ending_says() {
        let directory = tempfile::tempdir().unwrap();
        let names = |tool: &str, files: &[&str]| {
            let paths: Vec<PathBuf> = files.iter().map(|name| directory.path().join(name)).collect();
            paths.iter().for_each(|path| fs::write(path, path.to_string_lossy().as_bytes()).unwrap());
            let call = CliCall { tool, files: &paths, packages: &[], given: &Given::default() };
            let job = job(call).unwrap();
            job.files.iter().map(|file| file.name.as_path().display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("javascript", &["program.js", "data.txt"]), ["index.js", "data.txt"]);
        assert_eq!(names("javascript", &["program.ts"]), ["index.js", "index.ts"]);
        assert_eq!(names("javascript", &["index.js", "index.ts"]), ["index.js", "index.ts"]);
        assert_eq!(names("rust", &["src.rs", "data.bin"]), ["main.rs", "data.bin"]);
        assert_eq!(names("java", &["Main.java", "Helper.java"]), ["main.java", "Helper.java"]);
    }
}
