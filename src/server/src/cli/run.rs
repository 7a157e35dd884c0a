//! One call from a shell: the command `run`, with the program's own output and exit status, and `show-derivation`.

use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{fmt, fs, io};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::call::artifacts::{Artifact, Artifacts};
use crate::call::capture::Captured;
use crate::call::definition::Sandbox;
use crate::call::file::File;
use crate::call::job::{CallOptions, Job, Output};
use crate::call::outcome::{Ending, Outcome};
use crate::call::package_list;
use crate::call::packages::{NoPackages, PackageError, Packages};
use crate::call::stage::Stage;
use crate::call::tool::{ArgumentError, Tool};
use crate::cli::surroundings::with_inherited_mask;
use crate::mcp::answer;
use crate::nix::exported;
use crate::nix::receipt::receipt;
use crate::nix::run_derivation::RunDerivation;
use crate::runner::Runner;
use nix_store::store_path::StorePathError;

/// The status of a call that could not be carried out, as `env` and `timeout` have it.
pub const OWN_FAILURE: u8 = 125;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// A call as a command line names it.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    pub tool: &'a str,
    pub files: &'a [PathBuf],
    pub packages: &'a [String],
}

/// Why a tool and files make no call.
#[derive(Debug)]
pub enum FilesError {
    UnknownTool {
        name: String,
    },
    Read {
        path: PathBuf,
        source: io::Error,
    },
    /// It is neither files nor a receipt.
    NoReceipt {
        name: String,
    },
    Argument(ArgumentError),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTool { name } => write!(f, "unknown tool `{name}`: the tools are {}", Tool::names()),
            Self::Read { path, source } if source.kind() == io::ErrorKind::InvalidData => {
                write!(f, "cannot read {}: it is not UTF-8 text", path.display())
            }
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::NoReceipt { name } => {
                write!(f, "{name} is no file that holds a receipt, and without files it is no call of a tool")
            }
            Self::Argument(error) => error.fmt(f),
        }
    }
}

/// Runs the tool on the files and gives the program's exit status.
pub async fn run(call: Given<'_>, out: Option<&Path>, runner: Runner) -> ExitCode {
    let job = match job(call) {
        Ok(job) => job,
        Err(FilesError::UnknownTool { name }) => {
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
    let seconds = runner.limit(&job).as_secs();
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
pub fn show_derivation(call: Given, export: Option<&Path>) -> ExitCode {
    let shown = derivation(call).and_then(|(derivation, files)| {
        match export {
            None => print!("{}", derivation.text),
            Some(path) => with_inherited_mask(|| fs::write(path, exported::write(&derivation, &files)))
                .map_err(|source| DerivationError::Write { path: path.to_owned(), source })?,
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

/// The derivation that the call is, and its files.
fn derivation(call: Given) -> Result<(RunDerivation, Arc<[File]>), DerivationError> {
    let job = job(call).map_err(DerivationError::Files)?;
    let derivation = receipt(&job).map_err(DerivationError::Path)?;
    let derivation = derivation.ok_or(DerivationError::NotPinned { tool: job.sandbox.id })?;
    Ok((derivation, job.files))
}

/// Why a call makes no derivation.
#[derive(Debug)]
enum DerivationError {
    Files(FilesError),
    Path(StorePathError),
    NotPinned { tool: &'static str },
    Write { path: PathBuf, source: io::Error },
}

impl fmt::Display for DerivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(error) => error.fmt(f),
            Self::Path(error) => error.fmt(f),
            Self::Write { path, source } => write!(f, "cannot write {}: {source}", path.display()),
            Self::NotPinned { tool } => write!(
                f,
                "`{tool}` has no pinned environment, without which a call is no derivation: build this server with `nix build`"
            ),
        }
    }
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

/// The job of a call.
pub fn job(call: Given) -> Result<Job, FilesError> {
    let tool = Tool::by_name(call.tool).ok_or_else(|| FilesError::UnknownTool { name: call.tool.to_owned() })?;
    let files = tool.files(arguments(&tool.sandbox, call.files)?).map_err(FilesError::Argument)?;
    if !call.packages.is_empty() && package_list::is_empty() {
        return Err(FilesError::Argument(PackageError::None(NoPackages::Unpinned).into()));
    }
    let packages = Packages::choose(call.packages, tool.sandbox.package_sets, package_list::tools_with);
    let packages = packages.map_err(|error| FilesError::Argument(error.into()))?;
    let options = CallOptions { packages, ..CallOptions::default() };
    Ok(Job { output: Output::Inherited, options, ..Job::new(&tool.sandbox, files) })
}

/// The arguments that a client would give: the first file becomes the entrypoint, whatever it is called, or, by the ending
/// of its name, what may be there instead of that. The others keep their names, or their last part where a name leads
/// elsewhere.
fn arguments(sandbox: &Sandbox, paths: &[PathBuf]) -> Result<Map<String, Value>, FilesError> {
    let schema: Value = serde_json::from_str(sandbox.input_schema).expect("build.rs wrote valid JSON");
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut arguments = Map::new();
    let mut additional = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let content = read(path).map_err(|source| FilesError::Read { path: path.clone(), source })?;
        let name = if index == 0 { first_name(sandbox, path).to_owned() } else { name_inside(path) };
        let parameter = name.replace('.', "_");
        if required.contains(&parameter.as_str()) && !arguments.contains_key(&parameter) {
            arguments.insert(parameter, content.into());
        } else {
            additional.push(json!({ "filename": name, "content": content }));
        }
    }
    if !additional.is_empty() {
        arguments.insert("files".to_owned(), additional.into());
    }
    Ok(arguments)
}

/// The name that a call's first file gets in the sandbox.
fn first_name(sandbox: &Sandbox, path: &Path) -> &'static str {
    let ending = |name: &&str| path.extension().is_some_and(|ending| Path::new(name).extension() == Some(ending));
    sandbox.instead.iter().copied().find(ending).unwrap_or(sandbox.entrypoint)
}

fn name_inside(path: &Path) -> String {
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let name = if stays { path.as_os_str() } else { path.file_name().unwrap_or(path.as_os_str()) };
    name.to_string_lossy().into_owned()
}

fn read(path: &Path) -> io::Result<String> {
    if path != Path::new(STDIN) {
        return fs::read_to_string(path);
    }
    let mut content = String::new();
    io::stdin().lock().read_to_string(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_file_becomes_the_entrypoint_or_what_its_ending_says() {
        let directory = tempfile::tempdir().unwrap();
        let names = |tool: &str, files: &[&str]| {
            let paths: Vec<PathBuf> = files.iter().map(|name| directory.path().join(name)).collect();
            paths.iter().for_each(|path| fs::write(path, path.to_string_lossy().as_bytes()).unwrap());
            let job = job(Given { tool, files: &paths, packages: &[] }).unwrap();
            job.files.iter().map(|file| file.name.as_path().display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("javascript", &["program.js", "data.txt"]), ["index.js", "data.txt"]);
        assert_eq!(names("javascript", &["program.ts"]), ["index.js", "index.ts"]);
        assert_eq!(names("javascript", &["index.js", "index.ts"]), ["index.js", "index.ts"]);
        assert_eq!(names("java", &["Main.java", "Helper.java"]), ["main.java", "Helper.java"]);
    }
}
