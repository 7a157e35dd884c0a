//! Finds the file that really runs for the name of a program: follows links and the shims of version managers.

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
pub(super) const MANAGER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a version manager is checked for its end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long to wait for the output after all processes should have ended.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many links or shims are followed. More are taken for a loop.
const MAX_LINKS: usize = 40;

/// How much of a script is searched for the name of its version manager. Shims are short.
const MAX_SHIM_BYTES: u64 = 8 * 1024;

/// Version managers whose shims are scripts, with a text that such scripts contain.
const SCRIPT_MANAGERS: [(&str, &str); 6] = [
    ("/pyenv\" exec", "pyenv"),
    ("/nodenv\" exec", "nodenv"),
    ("/goenv\" exec", "goenv"),
    ("/rbenv\" exec", "rbenv"),
    ("/jenv\" exec", "jenv"),
    ("asdf exec", "asdf"),
];

/// Version managers whose shims are links to one binary.
const BINARY_MANAGERS: [(&str, &str); 4] =
    [("rustup", "rustup"), ("rustup-init", "rustup"), ("mise", "mise"), ("volta-shim", "volta")];

/// Binaries that start other programs in an unsupported way, with a description.
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
    /// The path of the file, in a directory without symbolic links. The file is a link only in a Python venv, because
    /// the interpreter recognises its venv by the path of the link.
    pub path: PathBuf,
    /// Whether the program is in a Python venv.
    pub is_venv: bool,
}

/// Finds the first program on the search path that can be followed to a file that runs.
pub(super) fn locate(program: &str, tool: &'static str, host: &Host) -> Result<Located, HostError> {
    let search = ProgramSearch { program, tool, host };
    let mut first_error = None;
    for name in program_names::on_host(program) {
        for candidate in host.candidates(name) {
            match search.follow(candidate) {
                Ok(located) => return Ok(located),
                // The next candidate may work: pyenv has shims for programs of versions that are not selected.
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

/// Follows one path. It is used for the base interpreter of a venv.
pub(super) fn follow(path: PathBuf, program: &str, tool: &'static str, host: &Host) -> Result<Located, HostError> {
    ProgramSearch { program, tool, host }.follow(path)
}

pub(super) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Returns the `pyvenv.cfg` of a program's venv. `None` if the program is not in a venv.
pub(super) fn venv_configuration(program: &Path) -> Option<PathBuf> {
    let configuration = program.parent()?.parent()?.join("pyvenv.cfg");
    configuration.is_file().then_some(configuration)
}

/// Returns whether all users may execute a file or enter a directory.
fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
}

/// The search for one program of a tool.
struct ProgramSearch<'a> {
    program: &'a str,
    tool: &'static str,
    host: &'a Host,
}

impl ProgramSearch<'_> {
    fn follow(&self, start: PathBuf) -> Result<Located, HostError> {
        let mut path = start;
        for _ in 0..MAX_LINKS {
            path = self.in_true_directory(&path)?;
            if self.host.for_others && !path.ancestors().skip(1).all(is_open_to_others) {
                return Err(self.unknown(path, "in a directory that the user of programs here may not enter"));
            }
            if self.is_python() && venv_configuration(&path).is_some() {
                return Ok(Located { path, is_venv: true });
            }
            match fs::read_link(&path) {
                Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
                // A file that is not a link (EINVAL) ends the chain, unless it is a shim.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => match self.behind_shim(&path)? {
                    Some(next) => path = next,
                    None => return self.checked(path),
                },
                Err(cause) => return Err(self.unreadable(path, cause)),
            }
        }
        Err(self.unknown(path, "a link or shim that leads to itself"))
    }

    fn is_python(&self) -> bool {
        program_names::on_host("python").contains(&self.program)
    }

    fn in_true_directory(&self, path: &Path) -> Result<PathBuf, HostError> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let true_directory = fs::canonicalize(directory).map_err(|cause| self.unreadable(path.to_owned(), cause))?;
        Ok(true_directory.join(path.file_name().unwrap_or_default()))
    }

    /// Checks a file that is neither a link nor a shim.
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

    /// Returns the program behind a shim. `None` if the file is not a shim.
    fn behind_shim(&self, path: &Path) -> Result<Option<PathBuf>, HostError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((_, nature)) = OTHER_BINARIES.iter().find(|(binary, _)| *binary == name && name != self.program) {
            return Err(self.unknown(path.to_owned(), nature));
        }
        if let Some((binary, manager)) = BINARY_MANAGERS.iter().find(|(binary, _)| *binary == name) {
            // mise is its own manager. volta is in the same directory as volta-shim.
            let asked = if binary == manager { path.to_owned() } else { path.with_file_name(manager) };
            return self.answer(manager, &asked, path).map(Some);
        }
        // Older versions of rustup made hard links. They are recognised by comparing them with the manager beside them.
        let rustup = path.with_file_name("rustup");
        if self.program != "rustup" && is_same_file(path, &rustup) {
            return self.answer("rustup", &rustup, path).map(Some);
        }
        let Some(text) = script(path).map_err(|cause| self.unreadable(path.to_owned(), cause))? else {
            return Ok(None);
        };
        match SCRIPT_MANAGERS.iter().find(|(sign, _)| text.contains(sign)) {
            Some((_, manager)) => {
                let asked = self.script_manager(manager, path);
                self.answer(manager, &asked, path).map(Some)
            }
            // Distributions also wrap programs in scripts. These only need files below /usr or in the store.
            None if super::prefix::is_of_system(path) || super::prefix::store(path).is_some() => Ok(None),
            None => Err(self.unknown(path.to_owned(), "a script of an unknown version manager")),
        }
    }

    /// Returns the manager of a shim at `<root>/shims/<program>`.
    fn script_manager(&self, manager: &str, shim: &Path) -> PathBuf {
        let root = shim.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        ["bin", "libexec"]
            .map(|directory| root.join(directory).join(manager))
            .into_iter()
            .find(|path| is_executable(path))
            .or_else(|| self.host.candidates(manager).next())
            .unwrap_or_else(|| PathBuf::from(manager))
    }

    /// Returns the program that a version manager selects: according to its files, or otherwise by running it.
    fn answer(&self, manager: &str, asked: &Path, shim: &Path) -> Result<PathBuf, HostError> {
        let chosen = match manager {
            "rustup" => self.chosen_by_rustup(),
            "pyenv" => self.chosen_by_pyenv(shim),
            _ => None,
        };
        if let Some(path) = chosen.filter(|path| is_executable(path)) {
            return Ok(path);
        }
        // A shim `python3` also serves `python`, so the manager is asked for the name of the shim.
        let name = match shim.file_name().and_then(|name| name.to_str()) {
            Some(name) if program_names::on_host(self.program).contains(&name) => name,
            _ => self.program,
        };
        self.ask(asked, name).map_err(|cause| HostError::Manager {
            tool: self.tool,
            program: self.program.to_owned(),
            path: shim.to_owned(),
            question: format!("{} which {name}", asked.display()),
            cause,
        })
    }

    /// Returns the program of rustup's selected toolchain, whose name may be full, or short if it is unambiguous.
    fn chosen_by_rustup(&self) -> Option<PathBuf> {
        let root = self.manager_root("RUSTUP_HOME", ".rustup")?;
        let name = match self.host.variables.get("RUSTUP_TOOLCHAIN") {
            Some(name) => name.clone(),
            None => default_toolchain(&fs::read_to_string(root.join("settings.toml")).ok()?)?,
        };
        // A toolchain may also be selected by its path.
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

    /// Returns the program of the first of pyenv's selected versions that has it.
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

    /// Runs `<manager> which <name>`, which all version managers support.
    fn ask(&self, manager: &Path, name: &str) -> io::Result<PathBuf> {
        let mut question = Command::new(manager);
        // The selected version must not depend on the directory in which the server was started.
        question.args(["which", name]).current_dir("/").env_clear().envs(&self.host.variables);
        question.env("PATH", env::join_paths(&self.host.search_path).unwrap_or_default());
        if let Some(home) = &self.host.home {
            question.env("HOME", home);
        }
        // Looking for a toolchain must not download one.
        question.env("RUSTUP_AUTO_INSTALL", "0");
        let answer = output_within(question, MANAGER_TIMEOUT)?;
        let path = PathBuf::from(answer.lines().last().unwrap_or_default().trim());
        match path.is_absolute() && is_executable(&path) {
            true => Ok(path),
            false => Err(io::Error::other(format!("the answer {:?} is not a program", answer.trim()))),
        }
    }

    fn unknown(&self, path: PathBuf, nature: &'static str) -> HostError {
        HostError::UnknownShim { tool: self.tool, program: self.program.to_owned(), path, nature }
    }

    fn unreadable(&self, path: PathBuf, cause: io::Error) -> HostError {
        HostError::Read { tool: self.tool, path, cause }
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Returns whether the rest of a toolchain's name is a target triple, not a date: `stable-2024-01-01-…` is not
/// `stable`.
fn is_platform(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Returns the value of `default_toolchain` in rustup's settings, which rustup writes on a separate line.
fn default_toolchain(settings: &str) -> Option<String> {
    // Tables follow after the top-level keys. They contain overrides for directories.
    let keys = settings.lines().take_while(|line| !line.starts_with('['));
    let value = keys.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "default_toolchain")?.1;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Reads the beginning of a script. `None` if the file is a binary.
fn script(path: &Path) -> io::Result<Option<String>> {
    let mut start = Vec::new();
    fs::File::open(path)?.take(MAX_SHIM_BYTES).read_to_end(&mut start)?;
    Ok(start.starts_with(b"#!").then(|| String::from_utf8_lossy(&start).into_owned()))
}

/// Runs a command with a time limit, and returns its standard output. Processes that it left running are killed.
pub(super) fn output_within(mut command: Command, limit: Duration) -> io::Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;

    let deadline = Instant::now() + limit;
    let is_over = loop {
        // The child is not reaped yet (NOWAIT), so that its id still belongs to its process group when that is killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options)? {
            Some(_) => break true,
            None if Instant::now() >= deadline => break false,
            None => thread::sleep(POLL_INTERVAL),
        }
    };
    // This fails if no process was left running.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    if !is_over {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {limit:?}")));
    }
    // A process that left the group may keep a pipe open forever, so waiting for the texts has a time limit.
    let text = |pipe: Option<mpsc::Receiver<Vec<u8>>>| match pipe.map(|pipe| pipe.recv_timeout(OUTPUT_TIMEOUT)) {
        Some(Ok(text)) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    };
    match status.success() {
        true => Ok(text(stdout)),
        false => Err(io::Error::other(format!("{status}: {}", text(stderr).trim()))),
    }
}

/// Reads a pipe to its end in a separate thread, so that neither of two pipes can fill up and block the writer.
fn read_aside(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, text) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        // A read error only ends the text. Sending fails if the receiver has timed out.
        let _ = pipe.read_to_end(&mut text);
        let _ = sender.send(text);
    });
    text
}
