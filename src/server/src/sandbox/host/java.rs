//! What Javas of several ages need to run a source file.
//!
//! The JDK's own launcher of source files takes not every file that programs come as, and older ones take `--enable-preview`
//! only with the version of the language. A class of ours (nix/pkgs/ahead/RunSource.java) does without both: this JDK's
//! compiler makes it at a server's first call.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use super::{HostError, LINKS, locate};
use crate::call::definition::Sandbox;
use crate::sandbox::view::Launch;

/// The first that runs `java main.java`.
pub(super) const OLDEST: u32 = 11;

/// The first that takes `--enable-preview` for a source file without being told the version of the language.
const KNOWS_ITS_SOURCE: u32 = 23;

/// Runs a source file; its name begins those of the classes that the compiler makes of it.
const RUN_SOURCE: &str = include_str!("../../../../../nix/pkgs/ahead/RunSource.java");
const MAIN: &str = "RunSource";

/// How long the compiler may take.
const JAVAC_TIMEOUT: Duration = Duration::from_secs(60);

/// A Java of this host that runs a sandbox's source file.
#[derive(Debug)]
pub(super) struct Java {
    path: PathBuf,
    version: Option<u32>,
    /// Whether the sandbox's command asks for preview features without naming the version of the language.
    previews: bool,
}

/// Looks at a Java that a sandbox's command starts; none if it is not given a source file.
///
/// Fails where it is too old to run one.
pub(super) fn java(path: &Path, sandbox: &Sandbox) -> Result<Option<Java>, HostError> {
    let version = version(path);
    if let Some(version) = version.filter(|version| *version < OLDEST) {
        return Err(HostError::OldJava { tool: sandbox.id, path: path.to_owned(), version });
    }
    let runs_source = sandbox.command.first() == Some(&"java") && sandbox.entrypoint.ends_with(".java");
    let previews = sandbox.command.contains(&"--enable-preview") && !sandbox.command.contains(&"--source");
    Ok(runs_source.then(|| Java { path: path.to_owned(), version, previews }))
}

impl Java {
    /// How it is to be told to run the source file. This compiles a class, which takes a second or two.
    pub(super) fn launch(&self) -> Launch {
        match compiled(&self.path.with_file_name("javac")) {
            Ok(files) => {
                // The working directory is the class path that Java has by default.
                let class_path = format!("{LINKS}:.");
                Launch { arguments: ["-cp", &class_path, MAIN].map(str::to_owned).into(), files }
            }
            Err(error) => {
                let path = self.path.display();
                tracing::warn!("{path} could not compile what runs Java programs of every form: {error}");
                let version = self.version.filter(|version| self.previews && *version < KNOWS_ITS_SOURCE);
                let told = |version: u32| vec!["--source".to_owned(), version.to_string()];
                Launch { arguments: version.map(told).unwrap_or_default(), files: Vec::new() }
            }
        }
    }
}

/// The classes of [`RUN_SOURCE`], by their places in the sandbox.
fn compiled(javac: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join(MAIN).with_extension("java");
    fs::write(&source, RUN_SOURCE)?;
    let mut command = Command::new(javac);
    // Of the variables by which a JDK can be given options, none is meant for this.
    command.env_clear().args(["-proc:none", "-nowarn", "-d"]).arg(directory.path()).arg(&source);
    locate::output_within(command, JAVAC_TIMEOUT)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory.path())? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.extension().is_some_and(|extension| extension == "class") {
            files.push((Path::new(LINKS).join(name), fs::read(path)?));
        }
    }
    files.sort();
    if files.is_empty() { Err(io::Error::other("it made no class")) } else { Ok(files) }
}

/// The feature release, as the file `release` of every JDK says it; until 8 it was the second number.
fn version(java: &Path) -> Option<u32> {
    let release = fs::read_to_string(java.parent()?.parent()?.join("release")).ok()?;
    let text = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    match numbers.next()?? {
        1 => numbers.next()?,
        feature => Some(feature),
    }
}
