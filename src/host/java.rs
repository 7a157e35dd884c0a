//! What Javas of several ages need to run a source file.

use std::fs;
use std::path::Path;

use super::HostError;
use crate::sandbox::Sandbox;

/// The first that runs `java main.java`.
pub(super) const OLDEST: u32 = 11;

/// The first that takes `--enable-preview` for a source file without being told the version of the language.
const KNOWS_ITS_SOURCE: u32 = 23;

/// The variables that this Java needs for the sandbox's command.
pub(super) fn variables(java: &Path, sandbox: &Sandbox) -> Result<Option<(String, String)>, HostError> {
    let Some(version) = version(java) else { return Ok(None) };
    if version < OLDEST {
        return Err(HostError::OldJava { tool: sandbox.id, path: java.to_owned(), version });
    }
    let previews = sandbox.command.contains(&"--enable-preview") && !sandbox.command.contains(&"--source");
    // Java tells on standard error that it was given options in this way.
    let option = || ("JDK_JAVA_OPTIONS".to_owned(), format!("--source {version}"));
    Ok((previews && version < KNOWS_ITS_SOURCE).then(option))
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
