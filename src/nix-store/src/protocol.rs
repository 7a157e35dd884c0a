//! The vocabulary of the daemon's protocol: operations, what comes while one is worked on, and what comes of builds.

use std::{fmt, io};

use tokio::io::AsyncRead;

use crate::store_path::StorePath;
use crate::wire::{Reader, malformed};

/// What a client says first.
pub const CLIENT_MAGIC: u64 = 0x6e69_7863;
/// What a daemon answers first.
pub const DAEMON_MAGIC: u64 = 0x6478_696f;

/// The protocol that this client speaks; a newer daemon speaks it too.
pub const OWN_VERSION: Version = Version { major: 1, minor: 35 };
/// The oldest protocol that has all the operations used: that of Nix 2.8.
pub const OLDEST_VERSION: Version = Version { major: 1, minor: 34 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u8,
    pub minor: u8,
}

impl Version {
    pub fn from_wire(number: u64) -> Self {
        let [minor, major, ..] = number.to_le_bytes();
        Self { major, minor }
    }

    pub fn to_wire(self) -> u64 {
        u64::from(self.major) << 8 | u64::from(self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Connect = 0,
    AddToStore = 7,
    AddTempRoot = 11,
    AddIndirectRoot = 12,
    SetOptions = 19,
    CollectGarbage = 20,
    QueryPathInfo = 26,
    QueryValidPaths = 31,
    BuildDerivation = 36,
    AddMultipleToStore = 44,
    BuildPathsWithResults = 46,
}

impl fmt::Display for Operation {
    /// What is being done, to stand behind "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::AddToStore | Self::AddMultipleToStore => "add to the store",
            Self::AddTempRoot | Self::AddIndirectRoot => "keep a path from the garbage collector",
            Self::SetOptions => "set options",
            Self::CollectGarbage => "delete paths",
            Self::QueryPathInfo => "query a path",
            Self::QueryValidPaths => "query which paths are valid",
            Self::BuildDerivation | Self::BuildPathsWithResults => "build",
        })
    }
}

/// What a daemon tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line of Nix's own.
    Message(String),
    /// The beginning of some work, in Nix's words.
    Started { work: Work, text: String },
    /// A line that a builder wrote.
    Log(String),
}

/// What kind of work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Build,
    /// There is nothing to build with yet: another build has the build user, the remote builder or the lock of the output.
    Wait,
    Other,
}

impl Work {
    fn from_wire(kind: u64) -> Self {
        match kind {
            105 => Self::Build,
            111 => Self::Wait,
            _ => Self::Other,
        }
    }
}

/// How a stretch of events ends.
#[derive(Debug)]
pub enum End {
    /// The answer follows.
    Answer,
    /// There is none, because of this.
    Refused(String),
}

mod message {
    pub const NEXT: u64 = 0x6f6c_6d67;
    pub const READ: u64 = 0x6461_7461;
    pub const WRITE: u64 = 0x6461_7416;
    pub const LAST: u64 = 0x616c_7473;
    pub const ERROR: u64 = 0x6378_7470;
    pub const START_ACTIVITY: u64 = 0x5354_5254;
    pub const STOP_ACTIVITY: u64 = 0x5354_4f50;
    pub const RESULT: u64 = 0x5253_4c54;
}

/// The kind of a result that is a line of a build's log.
const BUILD_LOG_LINE: u64 = 101;

/// Reads events until the answer or the refusal.
pub async fn read_events<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    on_event: &mut (dyn FnMut(Event) + Send),
) -> io::Result<End> {
    loop {
        match reader.number().await? {
            message::LAST => return Ok(End::Answer),
            message::ERROR => return read_error(reader).await.map(End::Refused),
            message::NEXT => on_event(Event::Message(plain(&reader.string().await?))),
            message::START_ACTIVITY => {
                for _ in ["id", "level"] {
                    reader.number().await?;
                }
                let work = Work::from_wire(reader.number().await?);
                let text = reader.string().await?;
                read_fields(reader).await?;
                reader.number().await?; // its parent
                if !text.is_empty() {
                    on_event(Event::Started { work, text: plain(&text) });
                }
            }
            message::STOP_ACTIVITY => drop(reader.number().await?),
            message::RESULT => {
                reader.number().await?; // the activity
                let kind = reader.number().await?;
                let line = read_fields(reader).await?;
                if let (BUILD_LOG_LINE, Some(line)) = (kind, line) {
                    on_event(Event::Log(line));
                }
            }
            message::READ | message::WRITE => return Err(malformed("a request for data, which no operation makes")),
            other => return Err(malformed(format!("an unknown message {other:#x}"))),
        }
    }
}

/// Reads the fields of an activity or a result, and gives the first if it is text.
async fn read_fields<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> io::Result<Option<String>> {
    let mut first = None;
    for index in 0..reader.length().await? {
        match reader.number().await? {
            0 => drop(reader.number().await?),
            1 => {
                let text = reader.string().await?;
                if index == 0 {
                    first = Some(text);
                }
            }
            other => return Err(malformed(format!("a field of the unknown kind {other}"))),
        }
    }
    Ok(first)
}

async fn read_error<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> io::Result<String> {
    reader.string().await?; // always `Error`
    reader.number().await?; // its level
    reader.string().await?; // the name of its kind, which newer daemons leave out
    let text = reader.string().await?;
    reader.number().await?; // always 0: no place in a file
    for _ in 0..reader.length().await? {
        reader.number().await?;
        reader.string().await?;
    }
    Ok(plain(&text))
}

/// Without the colours that Nix puts into its messages, and without `error: ` before them.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // `[`, parameters, and a letter that ends the sequence.
        let end = part.find(|letter: char| letter.is_ascii_alphabetic()).map_or(part.len(), |end| end + 1);
        plain.push_str(if part.starts_with('[') { &part[end..] } else { part });
    }
    let plain = plain.trim();
    plain.strip_prefix("error:").unwrap_or(plain).trim_start().to_owned()
}

/// How a build is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildMode {
    /// What is valid is not built again.
    Normal = 0,
    /// What is valid is built again, and compared with what is there.
    Check = 2,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    pub status: BuildStatus,
    /// Nix's reason, if it did not succeed.
    pub message: String,
    /// When it began and ended, in seconds since 1970; both 0 if there was nothing to build.
    pub started: u64,
    pub stopped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStatus {
    Built,
    Substituted,
    AlreadyValid,
    PermanentFailure,
    InputRejected,
    OutputRejected,
    TransientFailure,
    TimedOut,
    MiscFailure,
    DependencyFailed,
    LogLimitExceeded,
    NotDeterministic,
    NoSubstituters,
    /// One that came after Nix 2.26.
    Unknown(u64),
}

impl BuildStatus {
    fn from_wire(number: u64) -> Self {
        match number {
            0 => Self::Built,
            1 => Self::Substituted,
            // 13: through another derivation, which is all the same to who wants the output.
            2 | 13 => Self::AlreadyValid,
            // 7: as it failed before.
            3 | 7 => Self::PermanentFailure,
            4 => Self::InputRejected,
            5 => Self::OutputRejected,
            6 => Self::TransientFailure,
            8 => Self::TimedOut,
            9 => Self::MiscFailure,
            10 => Self::DependencyFailed,
            11 => Self::LogLimitExceeded,
            12 => Self::NotDeterministic,
            14 => Self::NoSubstituters,
            other => Self::Unknown(other),
        }
    }

    /// Whether the outputs are valid now.
    pub fn succeeded(self) -> bool {
        matches!(self, Self::Built | Self::Substituted | Self::AlreadyValid)
    }
}

pub async fn read_build_result<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> io::Result<BuildResult> {
    let status = BuildStatus::from_wire(reader.number().await?);
    let message = plain(&reader.string().await?);
    reader.number().await?; // how often it was built
    reader.boolean().await?; // whether the times differed
    let (started, stopped) = (reader.number().await?, reader.number().await?);
    for _ in 0..reader.length().await? {
        reader.string().await?; // an output, by the hash of its derivation
        reader.string().await?; // what is known of it, as JSON
    }
    Ok(BuildResult { status, message, started, stopped })
}

/// What a store knows of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    pub deriver: Option<StorePath>,
    /// The SHA-256 of its archive, in base 16.
    pub nar_hash: String,
    pub references: Vec<StorePath>,
    /// When it became valid, in seconds since 1970.
    pub registered: u64,
    /// The size of its archive, in bytes.
    pub nar_size: u64,
}

pub async fn read_path_info<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> io::Result<PathInfo> {
    let info = PathInfo {
        deriver: reader.optional_path().await?,
        nar_hash: reader.string().await?,
        references: reader.paths().await?,
        registered: reader.number().await?,
        nar_size: reader.number().await?,
    };
    reader.boolean().await?; // whether it was built here
    reader.strings().await?; // its signatures
    reader.string().await?; // how its path follows from its content
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_the_word_error_are_left_out_of_messages() {
        assert_eq!(
            plain("\u{1b}[31;1merror:\u{1b}[0m path '\u{1b}[35;1m/nix\u{1b}[0m' is\nnot valid\n"),
            "path '/nix' is\nnot valid"
        );
        assert_eq!(plain("a\u{1b}"), "a");
        assert_eq!(plain("a\u{1b}[31"), "a");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn versions_are_ordered_and_travel_as_one_number() {
        assert_eq!(Version::from_wire(0x123), OWN_VERSION);
        assert_eq!(OWN_VERSION.to_wire(), 0x123);
        assert!(OLDEST_VERSION < OWN_VERSION && OWN_VERSION < Version { major: 2, minor: 0 });
    }
}
