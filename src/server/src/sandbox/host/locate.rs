//! From a program's name to the file that really runs: along links, and through the shims of version managers.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Host, HostError, program_names};

/// How long a version manager may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked whether a version manager has ended.
const POLL: Duration = Duration::from_millis(5);

/// How long output is waited for when nobody should be left who writes.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// As many links or shims one after another are a loop.
const LONGEST_CHAIN: usize = 40;

/// The part of a script that is searched for the name of its version manager; shims are short.
const LONGEST_SHIM: u64 = 8 * 1024;

/// Version managers whose shims are scripts that hold this text.
const SCRIPT_MANAGERS: [(&str, &str); 6] = [
    ("/pyenv\" exec", "pyenv"),
    ("/nodenv\" exec", "nodenv"),
    ("/goenv\" exec", "goenv"),
    ("/rbenv\" exec", "rbenv"),
    ("/jenv\" exec", "jenv"),
    ("asdf exec", "asdf"),
];

/// Version managers that are one binary under many names.
const BINARY_MANAGERS: [(&str, &str); 4] =
    [("rustup", "rustup"), ("rustup-init", "rustup"), ("mise", "mise"), ("volta-shim", "volta")];

/// Binaries that start another program by a way that is not followed here.
const OTHER_BINARIES: [(&str, &str); 5] = [
    ("snap", "a link to snap, whose programs need its daemon"),
    ("ccache", "a link to the compiler cache ccache"),
    ("sccache", "a link to the compiler cache sccache"),
    ("distcc", "a link to the distributor distcc"),
    ("icecc", "a link to the distributor icecc"),
];

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// Where the file is, in a directory without symbolic links. It is a link itself only in a Python venv, where
    /// the interpreter knows by the place of the link which venv it serves.
    pub path: PathBuf,
    pub is_venv: bool,
}

/// The first program on the search path that can be followed to its end.
pub(super) fn locate(program: &str, tool: &'static str, host: &Host) -> Result<Located, HostError> {
    let search = Search { program, tool, host };
    let mut first_error = None;
    for name in program_names::on_host(program) {
        for candidate in host.candidates(name) {
            match search.follow(candidate) {
                Ok(located) => return Ok(located),
                // The next on the search path may do: pyenv shims exist for programs of versions that are not chosen.
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    Err(first_error.unwrap_or_else(|| HostError::MissingToolchain {
        tool,
        program: program.to_owned(),
        searched: host.search_path.clone(),
    }))
}

/// Follows one path, for the base interpreter of a venv.
pub(super) fn follow(path: PathBuf, program: &str, tool: &'static str, host: &Host) -> Result<Located, HostError> {
    Search { program, tool, host }.follow(path)
}

pub(super) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The file that makes the directory above `bin` a Python venv.
pub(super) fn venv_configuration(program: &Path) -> Option<PathBuf> {
    let configuration = program.parent()?.parent()?.join("pyvenv.cfg");
    configuration.is_file().then_some(configuration)
}

/// Whether everybody may run or enter it.
fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
}

struct Search<'a> {
    program: &'a str,
    tool: &'static str,
    host: &'a Host,
}

impl Search<'_> {
    fn follow(&self, start: PathBuf) -> Result<Located, HostError> {
        let mut path = start;
        for _ in 0..LONGEST_CHAIN {
            path = self.in_true_directory(&path)?;
            if self.host.for_others && !path.ancestors().skip(1).all(is_open_to_others) {
                return Err(self.unknown(path, "in a directory that the user of programs here may not enter"));
            }
            if self.is_python() && venv_configuration(&path).is_some() {
                return Ok(Located { path, is_venv: true });
            }
            match fs::read_link(&path) {
                Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
                // What is no link is the end of the chain, unless it is a shim.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => match self.behind_shim(&path)? {
                    Some(next) => path = next,
                    None => return self.checked(path),
                },
                Err(source) => return Err(self.unreadable(path, source)),
            }
        }
        Err(self.unknown(path, "a link or shim that leads to itself"))
    }

    fn is_python(&self) -> bool {
        program_names::on_host("python").contains(&self.program)
    }

    fn in_true_directory(&self, path: &Path) -> Result<PathBuf, HostError> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let true_directory = fs::canonicalize(directory).map_err(|source| self.unreadable(path.to_owned(), source))?;
        Ok(true_directory.join(path.file_name().unwrap_or_default()))
    }

    /// A file that is neither a link nor a shim: the program, if it is of use.
    fn checked(&self, path: PathBuf) -> Result<Located, HostError> {
        if !is_executable(&path) {
            return Err(self.unknown(path, "a link to a file that is not executable"));
        }
        // `java Main.java` compiles first.
        if self.program == "java" && !is_executable(&path.with_file_name("javac")) {
            return Err(HostError::NoCompiler { tool: self.tool, path });
        }
        Ok(Located { path, is_venv: false })
    }

    /// Where a shim leads to; None if the file is no shim.
    fn behind_shim(&self, path: &Path) -> Result<Option<PathBuf>, HostError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((_, nature)) = OTHER_BINARIES.iter().find(|(binary, _)| *binary == name && name != self.program) {
            return Err(self.unknown(path.to_owned(), nature));
        }
        if let Some((binary, manager)) = BINARY_MANAGERS.iter().find(|(binary, _)| *binary == name) {
            // mise is its own manager; volta-shim has it beside itself.
            let asked = if binary == manager { path.to_owned() } else { path.with_file_name(manager) };
            return self.answer(manager, &asked, path).map(Some);
        }
        // Older rustups made hard links, which can't be told from a program but by the manager beside them.
        let rustup = path.with_file_name("rustup");
        if self.program != "rustup" && is_same_file(path, &rustup) {
            return self.answer("rustup", &rustup, path).map(Some);
        }
        let Some(text) = script(path).map_err(|source| self.unreadable(path.to_owned(), source))? else {
            return Ok(None);
        };
        match SCRIPT_MANAGERS.iter().find(|(sign, _)| text.contains(sign)) {
            Some((_, manager)) => {
                let asked = self.script_manager(manager, path);
                self.answer(manager, &asked, path).map(Some)
            }
            // Distributions wrap programs in scripts too; those find all that they need below /usr or the store.
            None if super::prefix::is_of_system(path) || super::prefix::store(path).is_some() => Ok(None),
            None => Err(self.unknown(path.to_owned(), "a script of an unknown version manager")),
        }
    }

    /// The manager of a shim at `<root>/shims/<program>`.
    fn script_manager(&self, manager: &str, shim: &Path) -> PathBuf {
        let root = shim.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        ["bin", "libexec"]
            .map(|directory| root.join(directory).join(manager))
            .into_iter()
            .find(|path| is_executable(path))
            .or_else(|| self.host.candidates(manager).next())
            .unwrap_or_else(|| PathBuf::from(manager))
    }

    /// The program that a version manager has chosen: by its files where they say it, else by asking it.
    fn answer(&self, manager: &str, asked: &Path, shim: &Path) -> Result<PathBuf, HostError> {
        let chosen = match manager {
            "rustup" => self.chosen_by_rustup(),
            "pyenv" => self.chosen_by_pyenv(shim),
            _ => None,
        };
        if let Some(path) = chosen.filter(|path| is_executable(path)) {
            return Ok(path);
        }
        // A shim of python3 serves `python` as well, so the shim's own name is asked for where it has one.
        let name = match shim.file_name().and_then(|name| name.to_str()) {
            Some(name) if program_names::on_host(self.program).contains(&name) => name,
            _ => self.program,
        };
        self.ask(asked, name).map_err(|source| HostError::Manager {
            tool: self.tool,
            program: self.program.to_owned(),
            path: shim.to_owned(),
            question: format!("{} which {name}", asked.display()),
            source,
        })
    }

    /// A toolchain that is installed under its full name, or the only one that the short name can mean.
    fn chosen_by_rustup(&self) -> Option<PathBuf> {
        let root = self.manager_root("RUSTUP_HOME", ".rustup")?;
        let name = match self.host.variables.get("RUSTUP_TOOLCHAIN") {
            Some(name) => name.clone(),
            None => default_toolchain(&fs::read_to_string(root.join("settings.toml")).ok()?)?,
        };
        // A toolchain may also be given by its path.
        let exact = root.join("toolchains").join(&name);
        if exact.is_dir() {
            return Some(exact.join("bin").join(self.program));
        }
        let short = format!("{name}-");
        let mut of_name = fs::read_dir(root.join("toolchains")).ok()?.flatten().filter(|entry| {
            entry.file_name().to_str().is_some_and(|full| full.strip_prefix(&short).is_some_and(is_platform))
        });
        match (of_name.next(), of_name.next()) {
            (Some(only), None) => Some(only.path().join("bin").join(self.program)),
            _ => None,
        }
    }

    /// The first of the chosen versions that has the program.
    fn chosen_by_pyenv(&self, shim: &Path) -> Option<PathBuf> {
        let root = match self.host.variables.get("PYENV_ROOT") {
            Some(root) => PathBuf::from(root),
            None => shim.parent()?.parent()?.to_owned(),
        };
        let versions = match self.host.variables.get("PYENV_VERSION") {
            Some(versions) => versions.replace(':', " "),
            None => fs::read_to_string(root.join("version")).ok()?,
        };
        let versions: Vec<&str> = versions
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(str::split_whitespace)
            .collect();
        versions.into_iter().find_map(|version| {
            let binaries = root.join("versions").join(version).join("bin");
            program_names::on_host(self.program)
                .into_iter()
                .map(|name| binaries.join(name))
                .find(|path| is_executable(path))
        })
    }

    fn manager_root(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        match self.host.variables.get(variable) {
            Some(root) => Some(PathBuf::from(root)),
            None => Some(self.host.home.as_ref()?.join(below_home)),
        }
    }

    /// Runs `<manager> which <name>`, the question that all of them know.
    fn ask(&self, manager: &Path, name: &str) -> io::Result<PathBuf> {
        let mut question = Command::new(manager);
        // A version that some project directory chose must not depend on where the server was started.
        question.args(["which", name]).current_dir("/").env_clear().envs(&self.host.variables);
        question.env("PATH", env::join_paths(&self.host.search_path).unwrap_or_default());
        if let Some(home) = &self.host.home {
            question.env("HOME", home);
        }
        // Looking for a toolchain must not download one.
        question.env("RUSTUP_AUTO_INSTALL", "0");
        let answer = output_within(question, PATIENCE)?;
        let path = PathBuf::from(answer.lines().last().unwrap_or_default().trim());
        match path.is_absolute() && is_executable(&path) {
            true => Ok(path),
            false => Err(io::Error::other(format!("the answer {:?} is no program", answer.trim()))),
        }
    }

    fn unknown(&self, path: PathBuf, nature: &'static str) -> HostError {
        HostError::UnknownShim { tool: self.tool, program: self.program.to_owned(), path, nature }
    }

    fn unreadable(&self, path: PathBuf, source: io::Error) -> HostError {
        HostError::Read { tool: self.tool, path, source }
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Whether the rest of a toolchain's name is a target triple and no date: `stable-2024-01-01-…` is not `stable`.
fn is_platform(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// The value of `default_toolchain` in rustup's settings, which rustup itself writes on a line of its own.
fn default_toolchain(settings: &str) -> Option<String> {
    // Tables come after the plain keys; what they hold is said for single directories.
    let keys = settings.lines().take_while(|line| !line.starts_with('['));
    let value = keys.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "default_toolchain")?.1;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The beginning of a script; None for a binary.
fn script(path: &Path) -> io::Result<Option<String>> {
    let mut start = Vec::new();
    fs::File::open(path)?.take(LONGEST_SHIM).read_to_end(&mut start)?;
    Ok(start.starts_with(b"#!").then(|| String::from_utf8_lossy(&start).into_owned()))
}

/// What a command prints, if it succeeds in time. What it left running is killed.
pub(super) fn output_within(mut command: Command, limit: Duration) -> io::Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;

    let deadline = Instant::now() + limit;
    let is_over = loop {
        // The child is only looked at, not reaped, so that its id still stands for its group when that is killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options)? {
            Some(_) => break true,
            None if Instant::now() >= deadline => break false,
            None => thread::sleep(POLL),
        }
    };
    // An empty group means that nothing was left running.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    if !is_over {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no end after {limit:?}")));
    }
    // A process that left the group may hold a pipe open for ever, so the texts are not waited for without a limit.
    let text = |pipe: Option<mpsc::Receiver<Vec<u8>>>| match pipe.map(|pipe| pipe.recv_timeout(LAST_OUTPUT)) {
        Some(Ok(text)) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    };
    match status.success() {
        true => Ok(text(stdout)),
        false => Err(io::Error::other(format!("{status}: {}", text(stderr).trim()))),
    }
}

/// Reads a pipe to its end on a thread of its own, so that neither of two pipes can fill and block the writer.
fn read_aside(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, text) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        // A pipe that breaks only ends the text, and nobody may wait for it any more.
        let _ = pipe.read_to_end(&mut text);
        let _ = sender.send(text);
    });
    text
}
