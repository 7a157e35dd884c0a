//! What an operator has set for single tools: their limits, and hosts that they may connect to.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sandbox_manifest::policy::{self, Entry, EntryError};

use crate::call::choice::Executor;
use crate::call::definition::{Network, Sandbox};
use crate::call::limits::{LimitSetting, ToolLimits};
use crate::call::nearest;
use crate::call::tool::Tool;

/// A host and port that one tool may connect to: `python=api.example.org:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowSetting {
    pub tool: String,
    /// The text of a valid entry.
    entry: String,
}

impl AllowSetting {
    /// Checks an entry of a tool's allow-list.
    pub fn new(tool: &str, entry: &str) -> Result<Self, EntryError> {
        Entry::parse(entry)?;
        Ok(Self { tool: tool.to_owned(), entry: entry.to_owned() })
    }
}

/// The reason why a setting of an allow-list is refused, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    #[error("it is not TOOL=HOST:PORT; write one such as python=api.example.org:443")]
    Form,
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl FromStr for AllowSetting {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let (tool, entry) = text.split_once('=').filter(|(tool, _)| !tool.is_empty()).ok_or(AllowError::Form)?;
        Ok(Self::new(tool, entry)?)
    }
}

impl fmt::Display for AllowSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.tool, self.entry)
    }
}

/// The settings of all tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Of two settings of one limit, the later one counts.
    pub limits: Vec<LimitSetting>,
    /// The entries of one tool add up, in addition to those of its definition.
    pub allowed: Vec<AllowSetting>,
}

/// The reason why settings cannot be put in force, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    #[error("cannot set {setting}: there is no tool `{tool}`; {remedy}")]
    UnknownTool { setting: String, tool: String, remedy: String },
    #[error(
        "cannot set {tool}.disk to {disk} MB: files are kept in the tool's memory, which is {memory} MB; lower it, or set \
         {tool}.memory to {disk} or more"
    )]
    Disk { tool: &'static str, disk: u64, memory: u64 },
    #[error("cannot allow {setting}: the tool `{tool}` reaches every host already; leave the setting out")]
    Bridge { setting: String, tool: &'static str },
    #[error("cannot extend the allow-list of `{tool}`: {reason}")]
    TooMany { tool: &'static str, reason: String },
}

impl Overrides {
    /// Puts the settings in force. Those of tools whose configs were left out have no effect.
    ///
    /// # Errors
    ///
    /// Fails with the first setting that does not fit its tool, or that names none of these tools.
    pub fn apply(&self, tools: &mut [Tool], left_out: &[String]) -> Result<(), OverrideError> {
        let is_left_out =
            |tool: &String| left_out.contains(tool) && !tools.iter().any(|known| known.sandbox.id == tool);
        let mut all: BTreeMap<&str, (ToolLimits, Vec<&AllowSetting>)> = BTreeMap::new();
        for setting in self.limits.iter().filter(|setting| !is_left_out(&setting.tool)) {
            known(tools, &setting.tool, setting)?;
            all.entry(&setting.tool).or_default().0.set(setting.key, setting.value);
        }
        for setting in self.allowed.iter().filter(|setting| !is_left_out(&setting.tool)) {
            known(tools, &setting.tool, setting)?;
            all.entry(&setting.tool).or_default().1.push(setting);
        }
        for sandbox in tools.iter_mut().map(|tool| &mut tool.sandbox) {
            let Some((limits, allowed)) = all.get(sandbox.id) else { continue };
            let tool = sandbox.id;
            limits.apply(sandbox).map_err(|(disk, memory)| OverrideError::Disk { tool, disk, memory })?;
            if !allowed.is_empty() {
                allow(sandbox, allowed)?;
            }
        }
        Ok(())
    }
}

fn known(tools: &[Tool], tool: &str, setting: &impl fmt::Display) -> Result<(), OverrideError> {
    let names: Vec<&str> = tools.iter().map(|tool| tool.sandbox.id).collect();
    if names.contains(&tool) {
        return Ok(());
    }
    let remedy = nearest::remedy(tool, &names);
    Err(OverrideError::UnknownTool { setting: setting.to_string(), tool: tool.to_owned(), remedy })
}

/// Adds entries to the allow-list of a sandbox.
fn allow(sandbox: &mut Sandbox, allowed: &[&AllowSetting]) -> Result<(), OverrideError> {
    let tool = sandbox.id;
    let mut entries: Vec<Entry<'static>> = match sandbox.network {
        Network::None => Vec::new(),
        Network::Allow(entries) => entries.to_vec(),
        Network::Bridge => return Err(OverrideError::Bridge { setting: allowed[0].to_string(), tool }),
    };
    for setting in allowed {
        let text: &'static str = setting.entry.clone().leak();
        let entry = Entry::parse(text).expect("it was parsed before");
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    policy::check(&entries).map_err(|reason| OverrideError::TooMany { tool, reason })?;
    sandbox.network = Network::Allow(entries.leak());
    // Nix's build sandbox has no network to give.
    sandbox.executor = sandbox.executor.filter(|executor| !matches!(executor, Executor::Derivation));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::catalog::catalog;

    fn with(limits: &[&str], allowed: &[&str]) -> Result<Vec<Tool>, String> {
        let limits = limits.iter().map(|text| text.parse().unwrap()).collect();
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let mut tools = catalog().tools.to_vec();
        let applied = Overrides { limits, allowed }.apply(&mut tools, &["broken".to_owned()]);
        applied.map(|()| tools).map_err(|error| error.to_string())
    }

    fn sandbox<'a>(tools: &'a [Tool], id: &str) -> &'a Sandbox {
        &tools.iter().find(|tool| tool.sandbox.id == id).unwrap().sandbox
    }

    #[test]
    fn setting_changes_its_tool_and_no_other() {
        let tools = with(&["python.timeout=300", "python.timeout=200"], &["python=pypi.org:443"]).unwrap();
        for (tool, before) in tools.iter().zip(catalog().tools) {
            let (now, before) = (&tool.sandbox, &before.sandbox);
            if now.id == "python" {
                assert_eq!(now.timeout.as_secs(), 200, "the later one counts");
                assert!(matches!(now.network, Network::Allow([_])) && now.annotations().open_world);
                assert!(!now.annotations().read_only);
            } else {
                assert_eq!((now.timeout, now.network), (before.timeout, before.network));
            }
        }
    }

    #[test]
    fn setting_of_a_tool_that_was_left_out_has_no_effect() {
        assert!(with(&["broken.timeout=3"], &["broken=a.org:443"]).is_ok());
    }

    #[test]
    fn allowed_entries_add_up_and_are_listed_once() {
        let tools = with(&[], &["go=a.org:443", "go=b.org:443", "go=a.org:443"]).unwrap();
        let Network::Allow(entries) = sandbox(&tools, "go").network else { panic!("it has a list") };
        assert_eq!(entries.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.org:443", "b.org:443"]);
    }

    #[test]
    fn setting_that_does_not_fit_is_refused() {
        for (limits, allowed, error) in [
            (
                &["pyton.timeout=3"][..],
                &[][..],
                "cannot set pyton.timeout=3: there is no tool `pyton`; the nearest is `python`",
            ),
            (&[], &["perl=a.org:443"], "cannot set perl=a.org:443: there is no tool `perl`; there are `apisix`, "),
            (&["shell.disk=999"], &[], "cannot set shell.disk to 999 MB: files are kept in the tool's memory"),
            (&[], &["network-tools=a.org:443"], "the tool `network-tools` reaches every host already"),
        ] {
            let refused = with(limits, allowed).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
        let many: Vec<String> = (1..=65).map(|port| format!("go=a.org:{port}")).collect();
        let refused = with(&[], &many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        assert!(refused.contains("65 entries: 64 at most"), "{refused}");
    }

    #[test]
    fn setting_of_an_allow_list_is_checked() {
        for (text, error) in [
            ("python", "not TOOL=HOST:PORT"),
            ("=a.org:443", "not TOOL=HOST:PORT"),
            ("python=a.org", "has no port"),
            ("python=https://a.org", "is a URL"),
            ("python=127.0.0.1:80", "loopback"),
        ] {
            let refused = text.parse::<AllowSetting>().unwrap_err().to_string();
            assert!(refused.contains(error), "{refused}");
        }
    }
}
