//! The vocabulary of the daemon's protocol: operations, the events of one that is under way, and the results of builds.

use std::{fmt, io};

use tokio::io::AsyncRead;

use crate::store_path::StorePath;
use crate::wire::{WireReader, malformed};

/// The first number that a client sends.
pub(crate) const CLIENT_MAGIC: u64 = 0x6e69_7863;
/// The first number that a daemon sends.
pub(crate) const DAEMON_MAGIC: u64 = 0x6478_696f;

/// The protocol that this client speaks; a newer daemon speaks it too.
pub(crate) const OWN_VERSION: ProtocolVersion = ProtocolVersion { major: 1, minor: 35 };
/// The oldest protocol that has all the operations used: that of Nix 2.8.
pub(crate) const OLDEST_VERSION: ProtocolVersion = ProtocolVersion { major: 1, minor: 34 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    pub major: u8,
    pub minor: u8,
}

impl ProtocolVersion {
    pub fn from_wire(number: u64) -> Self {
        let [minor, major, ..] = number.to_le_bytes();
        Self { major, minor }
    }

    pub fn to_wire(self) -> u64 {
        u64::from(self.major) << 8 | u64::from(self.minor)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a client can ask for, by its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Connect = 0,
    AddToStore = 7,
    AddTempRoot = 11,
    SetOptions = 19,
    CollectGarbage = 20,
    QueryPathInfo = 26,
    QueryValidPaths = 31,
    AddMultipleToStore = 44,
    BuildPathsWithResults = 46,
}

impl fmt::Display for Operation {
    /// Writes the operation as a verb phrase, to follow "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::AddToStore | Self::AddMultipleToStore => "add to the store",
            Self::AddTempRoot => "keep a path from the garbage collector",
            Self::SetOptions => "set options",
            Self::CollectGarbage => "delete paths",
            Self::QueryPathInfo => "query a path",
            Self::QueryValidPaths => "query which paths are valid",
            Self::BuildPathsWithResults => "build",
        })
    }
}

/// Something that a daemon tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line of Nix's own.
    Message(String),
    /// The beginning of some work, in Nix's words.
    Started { work: ActivityKind, text: String },
    /// A line that a builder wrote.
    Log(String),
}

/// The kind of work that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityKind {
    Build,
    /// Nix waits for a build user, for a remote builder or for the lock of the output, which another build has.
    Wait,
    Other,
}

impl ActivityKind {
    fn from_wire(kind: u64) -> Self {
        match kind {
            105 => Self::Build,
            111 => Self::Wait,
            _ => Self::Other,
        }
    }
}

/// The end of the events of an operation.
#[derive(Debug)]
pub enum EndOfEvents {
    /// The answer follows.
    Answer,
    /// There is no answer, for this reason.
    Refused(String),
}

/// The numbers that begin events.
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
///
/// # Errors
///
/// The connection ended, or what came is not of the protocol.
pub async fn read_events<R: AsyncRead + Unpin>(
    reader: &mut WireReader<R>,
    on_event: &mut (dyn FnMut(Event) + Send),
) -> io::Result<EndOfEvents> {
    loop {
        match reader.number().await? {
            message::LAST => return Ok(EndOfEvents::Answer),
            message::ERROR => return read_error(reader).await.map(EndOfEvents::Refused),
            message::NEXT => on_event(Event::Message(plain(&reader.string().await?))),
            message::START_ACTIVITY => {
                for _ in ["id", "level"] {
                    reader.number().await?;
                }
                let work = ActivityKind::from_wire(reader.number().await?);
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

/// Reads the fields of an activity or a result, and returns the first if it is text.
async fn read_fields<R: AsyncRead + Unpin>(reader: &mut WireReader<R>) -> io::Result<Option<String>> {
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

async fn read_error<R: AsyncRead + Unpin>(reader: &mut WireReader<R>) -> io::Result<String> {
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

/// Removes the colours that Nix puts into its messages, and a leading `error: `.
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

/// The result of a build.
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
    /// A status that was added after Nix 2.26.
    Unknown(u64),
}

impl BuildStatus {
    fn from_wire(number: u64) -> Self {
        match number {
            0 => Self::Built,
            1 => Self::Substituted,
            // 13 is ResolvesToAlreadyValid: valid through another derivation.
            2 | 13 => Self::AlreadyValid,
            // 7 is CachedFailure: it failed before.
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

    /// Returns whether the outputs are valid now.
    pub fn succeeded(self) -> bool {
        matches!(self, Self::Built | Self::Substituted | Self::AlreadyValid)
    }
}

/// Reads the result of a build.
///
/// # Errors
///
/// The connection ended, or what came is malformed.
pub async fn read_build_result<R: AsyncRead + Unpin>(reader: &mut WireReader<R>) -> io::Result<BuildResult> {
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

/// What a store knows about a path.
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

/// Reads what a store knows about a path.
///
/// # Errors
///
/// The connection ended, or what came is malformed.
pub async fn read_path_info<R: AsyncRead + Unpin>(reader: &mut WireReader<R>) -> io::Result<PathInfo> {
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

/// Returns whether a reason of Nix's is that a store path is not valid: that it was never in the store, or was collected.
///
/// The protocol has no code for it. Nix 2.8, the oldest that this client speaks to, and the current sources of Nix both
/// throw `InvalidPath` with the text "path '/nix/store/…' is not valid". `tests/store/daemon` of the server tests it
/// against the daemon of the machine.
pub fn is_invalid_path(reason: &str) -> bool {
    reason.contains("is not valid")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use tokio::runtime::Builder;

    use super::*;

    /// What a daemon may send: words of the protocol, small numbers and any bytes.
    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let word = select(vec![
            message::NEXT,
            message::LAST,
            message::ERROR,
            message::START_ACTIVITY,
            message::STOP_ACTIVITY,
            message::RESULT,
            BUILD_LOG_LINE,
        ]);
        let number = prop_oneof![word, 0..4_u64, any::<u64>()];
        let piece = prop_oneof![number.prop_map(|number| number.to_le_bytes().to_vec()), vec(any::<u8>(), 0..9)];
        vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_daemon_end_in_an_answer_or_an_error(bytes in any_bytes()) {
            Builder::new_current_thread().build().unwrap().block_on(async {
                let mut reader = WireReader::new(&bytes[..]);
                while read_events(&mut reader, &mut |_| {}).await.is_ok() {}
                let _ = read_build_result(&mut WireReader::new(&bytes[..])).await;
                let _ = read_path_info(&mut WireReader::new(&bytes[..])).await;
            });
        }
    }

    #[test]
    fn message_has_no_colours_and_no_leading_error() {
        assert_eq!(
            plain("\u{1b}[31;1merror:\u{1b}[0m path '\u{1b}[35;1m/nix\u{1b}[0m' is\nnot valid\n"),
            "path '/nix' is\nnot valid"
        );
        assert_eq!(plain("a\u{1b}"), "a");
        assert_eq!(plain("a\u{1b}[31"), "a");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn version_travels_as_one_number() {
        assert_eq!(ProtocolVersion::from_wire(0x123), OWN_VERSION);
        assert_eq!(OWN_VERSION.to_wire(), 0x123);
        assert!(OLDEST_VERSION < OWN_VERSION && OWN_VERSION < ProtocolVersion { major: 2, minor: 0 });
    }
}
