//! What is in force from the start of a server to its end: the settings, and the tools with their limits.

use std::time::Duration;

use crate::call::catalog::Catalog;
use crate::call::config_finding::Severity;
use crate::call::overrides::OverrideError;
use crate::call::user_sandboxes;
use crate::cli::settings::config_file::{self, ConfigFileError};
use crate::cli::settings::{Settings, directory};

/// The file of settings in the directory of configuration.
const FILE: &str = "config.toml";

impl Settings {
    /// Completes the settings of a command line with those of the configuration file, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be used.
    pub fn with_file(self) -> Result<Self, ConfigFileError> {
        let usual = directory::configuration().map(|directory| directory.join(FILE)).filter(|file| file.exists());
        match self.config.clone().or(usual) {
            Some(file) => Ok(self.or(Self { config: Some(file.clone()), ..config_file::read(&file)? })),
            None => Ok(self),
        }
    }
}

/// Adds the user's own sandboxes to the tools of a catalog, applies the settings of single tools, and makes the result the
/// catalog of this process.
///
/// # Errors
///
/// Fails if a setting does not fit the tool that it names.
pub fn in_force(settings: &Settings, built_in: &Catalog) -> Result<(), OverrideError> {
    let with = user_sandboxes::add(built_in.tools, directory::configuration().as_deref());
    for finding in &with.findings {
        match finding.severity {
            Severity::Broken => tracing::warn!("a sandbox is left out: {finding}"),
            Severity::Doubtful | Severity::Replaces => tracing::info!("{finding}"),
        }
    }
    let mut tools = with.tools;
    settings.overrides().apply(&mut tools, &with.left_out)?;
    let longest = settings.timeout.map_or(Duration::MAX, Duration::from_secs);
    for tool in &mut tools {
        tool.sandbox.timeout = tool.sandbox.timeout.min(longest);
    }
    // Everything that follows reads the tools from there, and none of it outlives them.
    let catalog = Catalog { tools: tools.leak(), findings: with.findings.leak(), ..*built_in };
    Box::leak(Box::new(catalog)).install();
    Ok(())
}
