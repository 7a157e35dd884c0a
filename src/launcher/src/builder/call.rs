//! From a builder's variables and arguments to the plan of its program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use std::{env, fs, io};

use sandbox_plan::machine::{Controlled, Machine, SocketBuffers};
use sandbox_plan::plan::{self, Definition, Network, Resources, USER, Work};
use sandbox_plan::view::{self, CLOSURE};
use sandbox_plan::{Identity, Plan, Readiness, Service};

use super::{Refusal, system};
use crate::sys;

/// Begins the name of each run derivation; the tool's name is the rest.
const NAME: &str = "sandbox-mcp-run-";
/// What Nix puts after the name of a variable whose value it passes as a file.
const AS_FILE: &str = "Path";

pub fn plan() -> Result<Plan, Refusal> {
    let variables = Variables::of(env::vars_os())?;
    let id = variables.parsed("name", |name| name.strip_prefix(NAME).map(str::to_owned))?;
    let definition = Definition {
        id: &id,
        user: variables.text("user")?,
        workdir: Path::new(variables.text("mount.workdir")?),
        script_mode: variables.parsed("mount.scriptPerms", |mode| u32::from_str_radix(mode, 8).ok())?,
        read_only: variables.text("mount.readOnly")? == "1",
        resources: Resources {
            cpu: variables.number("resources.cpu")?,
            memory_mb: variables.number("resources.memory")?,
            processes: variables.number("resources.processes")?,
            files: variables.number("resources.files")?,
        },
        network: variables.parsed("security.network", |network| (network == "none").then_some(Network::None))?,
        services: services(&variables)?,
    };
    let work = Work {
        command: sys::arguments().skip(1).map(|argument| text("args", argument)).collect::<Result<_, _>>()?,
        variables: variables.below("variable:").map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        files: files(&variables).map_err(system("read the call's files"))?,
        deadline: Duration::from_secs(variables.number("timeout")?),
    };
    let environment = Path::new(variables.text("environment")?);
    let closure = fs::read_to_string(environment.join(CLOSURE)).map_err(system("read the environment's closure"))?;
    let (mut binds, links) = view::pinned(environment, closure.lines());
    for package in variables.0.get("packages").into_iter().flat_map(|packages| packages.split(' ')).map(Path::new) {
        let closure = fs::read_to_string(package.join(CLOSURE)).map_err(system("read a package's closure"))?;
        view::join(&mut binds, package, closure.lines());
    }
    Ok(plan::plan(&definition, &binds, &links, machine(), work))
}

/// What is started before the command.
fn services(variables: &Variables) -> Result<Vec<Service>, Refusal> {
    let names =
        (0..).map(|index| format!("before.{index}.")).take_while(|service| variables.has(&format!("{service}name")));
    let service = |service: String| {
        let key = |key: &str| format!("{service}{key}");
        Ok(Service {
            name: variables.text(&key("name"))?.to_owned(),
            command: variables.list(&key("command")),
            ready: variables.parsed(&key("ready"), readiness)?,
            deadline: Duration::from_secs(variables.number(&key("deadline"))?),
            logs: variables.list(&key("logs")),
            errors: variables.list(&key("errors")),
        })
    };
    names.map(service).collect()
}

fn readiness(text: &str) -> Option<Readiness> {
    match text.split_once(' ') {
        None => (text == "returned").then_some(Readiness::Returned),
        Some(("port", port)) => Some(Readiness::Port { port: port.parse().ok()? }),
        Some(("file", path)) => Some(Readiness::File { path: path.into() }),
        Some(_) => None,
    }
}

/// A builder has no control groups.
fn machine() -> Machine {
    let (host_uid, host_gid) = sys::own_identity();
    Machine {
        identity: Identity { uid: USER, gid: USER, host_uid, host_gid },
        controlled: Controlled::default(),
        cgroups: Vec::new(),
        buffers: SocketBuffers::of_this_machine(),
    }
}

/// The files of the working directory, by their names in it.
fn files(variables: &Variables) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let inline = variables.below("file:").filter_map(|(name, path)| Some((name.strip_suffix(AS_FILE)?, path)));
    let mut files = inline
        .map(|(name, path)| Ok((name.into(), fs::read(path)?)))
        .collect::<io::Result<Vec<(PathBuf, Vec<u8>)>>>()?;
    if let Some(root) = variables.0.get("files") {
        below(Path::new(root), Path::new(""), &mut files)?;
    }
    Ok(files)
}

fn below(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            below(root, &name, files)?;
        } else {
            files.push((name, fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// The builder's variables, by their names.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn of(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, Refusal> {
        let parse = |(name, value)| {
            let name = text("", name)?;
            let value = text(&name, value)?;
            Ok((name, value))
        };
        all.map(parse).collect::<Result<_, _>>().map(Self)
    }

    fn text(&self, name: &str) -> Result<&str, Refusal> {
        self.parsed(name, Some)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The values of the variables that are numbered behind a name, from 0 on.
    fn list<T: From<String>>(&self, name: &str) -> Vec<T> {
        (0..).map_while(|index| self.0.get(&format!("{name}.{index}")).cloned().map(T::from)).collect()
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, Refusal> {
        self.parsed(name, |value| value.parse().ok())
    }

    fn parsed<'a, T>(&'a self, name: &str, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T, Refusal> {
        let refuse = |reason: String| Refusal::Variable { name: name.to_owned(), reason };
        let value = self.0.get(name).ok_or_else(|| refuse("is missing".to_owned()))?;
        parse(value).ok_or_else(|| refuse(format!("is not as the server writes it: `{value}`")))
    }

    /// Those whose names begin with a word, without it.
    fn below<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(word)?, value.as_str())))
    }
}

fn text(name: &str, value: OsString) -> Result<String, Refusal> {
    value.into_string().map_err(|_| Refusal::Variable { name: name.to_owned(), reason: "is not UTF-8".to_owned() })
}
