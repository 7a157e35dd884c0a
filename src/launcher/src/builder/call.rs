//! Makes the plan of a program from a builder's variables and arguments.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sandbox_plan::machine::{Controlled, Machine, SocketBuffers};
use sandbox_plan::plan::{self, CallInput, NetworkSpec, SandboxSpec, USER};
use sandbox_plan::variables::{CallFiles, CallVariables, VariableError};
use sandbox_plan::view::{self, CLOSURE};
use sandbox_plan::{Identity, Plan};

use super::{BuilderError, system};
use crate::sys;

/// Makes the plan of the call that this process's variables and arguments describe.
pub fn plan() -> Result<Plan, BuilderError> {
    let call = CallVariables::decode(env::vars_os())?;
    let definition = SandboxSpec {
        id: &call.id,
        user: &call.user,
        workdir: Path::new(&call.workdir),
        script_mode: call.script_mode,
        read_only: call.read_only,
        resources: call.resources,
        network: network(&call.network)?,
        services: call.services,
    };
    let work = CallInput {
        command: command()?,
        variables: call.variables.into_iter().collect(),
        files: read_files(&call.files).map_err(system("read the call's files"))?,
        deadline: call.timeout,
    };
    let environment = Path::new(&call.environment);
    let closure = fs::read_to_string(environment.join(CLOSURE)).map_err(system("read the environment's closure"))?;
    let (mut binds, links) = view::pinned(environment, closure.lines());
    for package in call.packages.iter().map(Path::new) {
        let closure = fs::read_to_string(package.join(CLOSURE)).map_err(system("read a package's closure"))?;
        view::join(&mut binds, package, closure.lines());
    }
    Ok(plan::plan(&definition, &binds, &links, machine(), work))
}

/// Returns the network of a sandbox inside Nix's own, which has none.
fn network(text: &str) -> Result<NetworkSpec, VariableError> {
    match text {
        "none" => Ok(NetworkSpec::None),
        _ => Err(VariableError {
            name: "security.network".to_owned(),
            reason: format!("is `{text}`, and Nix's build sandbox has no network"),
        }),
    }
}

fn command() -> Result<Vec<String>, VariableError> {
    let text = |argument: std::ffi::OsString| {
        let error = |_| VariableError { name: "args".to_owned(), reason: "is not UTF-8".to_owned() };
        argument.into_string().map_err(error)
    };
    sys::arguments().skip(1).map(text).collect()
}

/// Describes a builder's machine, which has no control groups.
fn machine() -> Machine {
    let (host_uid, host_gid) = sys::own_identity();
    Machine {
        identity: Identity { uid: USER, gid: USER, host_uid, host_gid },
        controlled: Controlled::default(),
        cgroups: Vec::new(),
        buffers: SocketBuffers::of_this_machine(),
    }
}

/// Reads the files of the working directory, by their names in it.
fn read_files(files: &CallFiles) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    match files {
        CallFiles::Inline(files) => files.iter().map(|(name, path)| Ok((name.into(), fs::read(path)?))).collect(),
        CallFiles::Stored(root) => {
            let mut files = Vec::new();
            read_below(Path::new(root), Path::new(""), &mut files)?;
            Ok(files)
        }
    }
}

fn read_below(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read_below(root, &name, files)?;
        } else {
            files.push((name, fs::read(entry.path())?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_other_than_none_is_refused() {
        assert_eq!(network("none"), Ok(NetworkSpec::None));
        assert_eq!(network("bridge").unwrap_err().name, "security.network");
    }

    #[test]
    fn stored_files_are_read_with_their_directories() {
        let root = env::temp_dir().join(format!("sandbox-launcher-call-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/c"), "deep").unwrap();
        fs::write(root.join("main"), "top").unwrap();
        let mut files = read_files(&CallFiles::Stored(root.display().to_string())).unwrap();
        files.sort();
        assert_eq!(files, [("a/b/c".into(), b"deep".to_vec()), ("main".into(), b"top".to_vec())]);
        fs::remove_dir_all(root).unwrap();
    }
}
