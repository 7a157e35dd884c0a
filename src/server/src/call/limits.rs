//! The limits of a tool that its operator can set, and how a setting names them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use sandbox_plan::plan::{Resources, default_disk_mb};

use crate::call::definition::Sandbox;
use crate::call::nearest;

/// The most cores that a sandbox can be given.
const MAX_CORES: u32 = 4096;
/// The most processes: those that a kernel can number, less those of its own.
const MAX_PROCESSES: u32 = (1 << 22) - 4096;
/// The fewest processes: the program, a service or child of it, and what starts them.
const MIN_PROCESSES: u32 = 4;
/// The fewest open files with which a program can be confined and started.
const MIN_FILES: u32 = 16;

/// A limit of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKey {
    Timeout,
    Memory,
    Disk,
    Processes,
    Cpu,
    Files,
}

impl LimitKey {
    pub const ALL: [Self; 6] = [Self::Timeout, Self::Memory, Self::Disk, Self::Processes, Self::Cpu, Self::Files];

    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Processes => "processes",
            Self::Cpu => "cpu",
            Self::Files => "files",
        }
    }

    /// Returns what the number of this limit counts.
    fn unit(self) -> &'static str {
        match self {
            Self::Timeout => "seconds",
            Self::Memory | Self::Disk => "megabytes",
            Self::Processes => "processes",
            Self::Cpu => "cores",
            Self::Files => "open files",
        }
    }

    /// Returns the numbers that the limit can have.
    fn range(self) -> RangeInclusive<u32> {
        match self {
            Self::Cpu => 1..=MAX_CORES,
            Self::Processes => MIN_PROCESSES..=MAX_PROCESSES,
            Self::Files => MIN_FILES..=u32::MAX,
            Self::Timeout | Self::Memory | Self::Disk => 1..=u32::MAX,
        }
    }

    /// Checks that a number is one that the limit can have.
    pub fn check(self, value: u32) -> Result<u32, LimitError> {
        let refuse = || LimitError::Value { key: self, given: value.to_string() };
        self.range().contains(&value).then_some(value).ok_or_else(refuse)
    }

    fn parse_value(self, text: &str) -> Result<u32, LimitError> {
        match text.parse() {
            Ok(value) => self.check(value),
            Err(_) => Err(LimitError::Value { key: self, given: text.to_owned() }),
        }
    }
}

impl FromStr for LimitKey {
    type Err = LimitError;

    fn from_str(name: &str) -> Result<Self, LimitError> {
        let known = Self::ALL.into_iter().find(|key| key.name() == name);
        known.ok_or_else(|| LimitError::Key { name: name.to_owned() })
    }
}

/// One limit of one tool, as a setting names it: `python.timeout=300`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSetting {
    pub tool: String,
    pub key: LimitKey,
    pub value: u32,
}

/// The reason why a setting of a limit is refused, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("it is not TOOL.KEY=VALUE; write one such as python.timeout=300")]
    Form,
    #[error("there is no limit `{name}`; {}", nearest::remedy(name, &LimitKey::ALL.map(LimitKey::name)))]
    Key { name: String },
    #[error("`{given}` is not a valid number of {}; write a whole number from {} to {}", key.unit(), key.range().start(), key.range().end())]
    Value { key: LimitKey, given: String },
}

impl FromStr for LimitSetting {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (place, value) = text.split_once('=').ok_or(LimitError::Form)?;
        let (tool, key) = place.rsplit_once('.').filter(|(tool, _)| !tool.is_empty()).ok_or(LimitError::Form)?;
        let key: LimitKey = key.parse()?;
        Ok(Self { tool: tool.to_owned(), key, value: key.parse_value(value)? })
    }
}

impl fmt::Display for LimitSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.tool, self.key.name(), self.value)
    }
}

/// The limits that are set for one tool. Each that is not is the definition's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToolLimits([Option<u32>; LimitKey::ALL.len()]);

impl ToolLimits {
    pub fn set(&mut self, key: LimitKey, value: u32) {
        self.0[key as usize] = Some(value);
    }

    fn get(&self, key: LimitKey) -> Option<u32> {
        self.0[key as usize]
    }

    /// Puts the limits in force. The size of files stays half of the memory unless it is set itself.
    ///
    /// # Errors
    ///
    /// Files would take more than the memory that they are kept in. The error is the size of both, in megabytes.
    pub fn apply(&self, sandbox: &mut Sandbox) -> Result<(), (u64, u64)> {
        let given = |key, usual: u64| self.get(key).map_or(usual, u64::from);
        let Resources { cpu, memory_mb, disk_mb, processes, files } = sandbox.resources;
        let memory = given(LimitKey::Memory, memory_mb);
        let usual_disk = if memory == memory_mb { disk_mb } else { default_disk_mb(memory) };
        let disk = given(LimitKey::Disk, usual_disk);
        if disk > memory {
            return Err((disk, memory));
        }
        if let Some(seconds) = self.get(LimitKey::Timeout) {
            sandbox.timeout = Duration::from_secs(seconds.into());
        }
        sandbox.resources = Resources {
            cpu: self.get(LimitKey::Cpu).unwrap_or(cpu),
            memory_mb: memory,
            disk_mb: disk,
            processes: given(LimitKey::Processes, processes),
            files: given(LimitKey::Files, files),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tool::Tool;

    #[test]
    fn setting_of_a_limit_is_parsed() {
        for text in ["python.timeout=300", "network-tools.processes=4", "go.cpu=4096", "a.files=4294967295"] {
            assert_eq!(text.parse::<LimitSetting>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn setting_that_is_wrong_is_refused_with_the_remedy() {
        for (text, error) in [
            ("", "not TOOL.KEY=VALUE"),
            ("python", "not TOOL.KEY=VALUE"),
            ("timeout=3", "not TOOL.KEY=VALUE"),
            (".timeout=3", "not TOOL.KEY=VALUE"),
            ("python.timeout", "not TOOL.KEY=VALUE"),
            ("python.timout=3", "no limit `timout`; the nearest is `timeout`"),
            ("python.mem=3", "the nearest is `memory`"),
            ("python.colour=3", "there are `timeout`, `memory`, `disk`, `processes`, `cpu`, `files`"),
            ("python.timeout=", "`` is not a valid number of seconds"),
            ("python.timeout=5m", "`5m` is not a valid number of seconds; write a whole number from 1 to"),
            ("python.timeout=0", "`0` is not a valid number of seconds"),
            ("python.memory=-1", "`-1` is not a valid number of megabytes"),
            ("python.memory=1.5", "`1.5` is not a valid number of megabytes"),
            ("python.memory=99999999999", "not a valid number of megabytes"),
            ("python.cpu=5000", "from 1 to 4096"),
        ] {
            let refused = text.parse::<LimitSetting>().unwrap_err().to_string();
            assert!(refused.contains(error), "{text}: {refused}");
        }
    }

    #[test]
    fn limits_are_put_in_force_and_files_stay_half_of_memory() {
        let python = Tool::by_name("python").unwrap().sandbox;
        let with = |settings: &[(LimitKey, u32)]| {
            let (mut limits, mut sandbox) = (ToolLimits::default(), python);
            settings.iter().for_each(|(key, value)| limits.set(*key, *value));
            limits.apply(&mut sandbox).map(|()| sandbox)
        };
        assert_eq!(with(&[]).unwrap().resources, python.resources);
        let sandbox = with(&[(LimitKey::Timeout, 300), (LimitKey::Memory, 4096), (LimitKey::Cpu, 2)]).unwrap();
        let expected = Resources { cpu: 2, memory_mb: 4096, disk_mb: 2048, ..python.resources };
        assert_eq!((sandbox.timeout, sandbox.resources), (Duration::from_secs(300), expected));
        let sandbox = with(&[(LimitKey::Disk, 1000), (LimitKey::Processes, 9), (LimitKey::Files, 8)]).unwrap();
        assert_eq!(sandbox.resources, Resources { disk_mb: 1000, processes: 9, files: 8, ..python.resources });
        assert_eq!(with(&[(LimitKey::Disk, 1025)]).unwrap_err(), (1025, 1024));
    }
}
