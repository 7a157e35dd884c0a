//! Makes the plan of a program from a builder's variables and arguments.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{env, fs, io};

use sandbox_plan::machine::{Controlled, Machine, SocketBuffers};
use sandbox_plan::plan::{self, CallFile, CallInput, NetworkSpec, SandboxSpec, USER};
use sandbox_plan::variables::{CallInputs, CallVariables, STORED_FILES, STORED_STDIN, VariableError};
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
    let (files, input) = read_inputs(&call.inputs).map_err(system("read the call's files"))?;
    let work = CallInput {
        command: command()?,
        variables: call.variables.into_iter().collect(),
        input,
        files,
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

/// Reads the files of the working directory, and the standard input.
fn read_inputs(inputs: &CallInputs) -> io::Result<(Vec<CallFile>, Vec<u8>)> {
    match inputs {
        CallInputs::Inline { files, executables, stdin } => {
            let file = |(name, path): (&String, &String)| {
                let executable = executables.contains(name);
                Ok(CallFile { name: name.into(), content: fs::read(path)?, executable })
            };
            let files = files.iter().map(file).collect::<io::Result<_>>()?;
            Ok((files, stdin.as_ref().map(fs::read).transpose()?.unwrap_or_default()))
        }
        CallInputs::StoredFiles(root) => Ok((read_tree(Path::new(root))?, Vec::new())),
        CallInputs::Stored(root) => {
            let root = Path::new(root);
            Ok((read_tree(&root.join(STORED_FILES))?, fs::read(root.join(STORED_STDIN))?))
        }
    }
}

fn read_tree(root: &Path) -> io::Result<Vec<CallFile>> {
    let mut files = Vec::new();
    read_below(root, Path::new(""), &mut files)?;
    Ok(files)
}

fn read_below(root: &Path, directory: &Path, files: &mut Vec<CallFile>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read_below(root, &name, files)?;
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
            files.push(CallFile { name, content: fs::read(entry.path())?, executable });
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
    fn stored_inputs_are_read_with_directories_and_modes() {
        let root = env::temp_dir().join(format!("sandbox-launcher-call-{}", std::process::id()));
        let tree = root.join(STORED_FILES);
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/c"), "deep").unwrap();
        fs::write(tree.join("main"), "top").unwrap();
        fs::set_permissions(tree.join("main"), fs::Permissions::from_mode(0o555)).unwrap();
        fs::write(root.join(STORED_STDIN), "input").unwrap();
        let file = |name: &str, content: &[u8], executable| CallFile {
            name: name.into(),
            content: content.into(),
            executable,
        };
        let expected = vec![file("a/b/c", b"deep", false), file("main", b"top", true)];
        for (inputs, input) in [
            (CallInputs::StoredFiles(tree.display().to_string()), &b""[..]),
            (CallInputs::Stored(root.display().to_string()), b"input"),
        ] {
            let (mut files, read) = read_inputs(&inputs).unwrap();
            files.sort();
            assert_eq!((&files, &*read), (&expected, input));
        }
        fs::remove_dir_all(root).unwrap();
    }
}
