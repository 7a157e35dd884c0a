//! What is wrong with a call's arguments, and how serde's findings become that.

use serde::de::{self, Expected, Unexpected};

use crate::call::file::FileError;
use crate::call::lenient::{self, IgnoredParameter};
use crate::call::packages::PackageError;

/// Why arguments are refused; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A required file is missing, empty or no string.
    #[error("{file} file is required: parameter `{parameter}` must be a string that is not empty, but is {found}")]
    Required { file: String, parameter: String, found: &'static str },
    #[error("parameter `{parameter}` must be {expected}, but is {found}")]
    WrongValue { parameter: String, expected: String, found: &'static str },
    /// The tool takes no additional files.
    #[error("the tool does not take the file {file:?}: leave it out")]
    NoFiles { file: String },
    /// A command line names a program that is no text.
    #[error("file {file:?} is the program, and is not UTF-8 text")]
    NoText { file: String },
    /// Both the entrypoint and a file that is the program instead of it.
    #[error("parameter `{parameter}` and the file {file:?} are both the program: give only one of them")]
    TwoPrograms { parameter: String, file: String },
    #[error(
        "parameter `timeout_seconds` must be at most {longest} here, but is {seconds}: only the server's operator can allow \
         more"
    )]
    Timeout { seconds: u64, longest: u64 },
    /// The operator does not offer the option to clients.
    #[error(
        "parameter `{parameter}` is not offered by this server: leave it out, or ask its operator to start it with \
         `--call-options`"
    )]
    NotOffered { parameter: &'static str },
    /// The value is of the right type, but its own parser refuses it.
    #[error("{reason}")]
    Refused { parameter: String, reason: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Everything that is wrong with a call's arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.errors, .ignored))]
pub struct ArgumentErrors {
    /// At least one.
    pub errors: Vec<ArgumentError>,
    /// What may be misspelt, too.
    pub ignored: Vec<IgnoredParameter>,
}

fn lines(errors: &[ArgumentError], ignored: &[IgnoredParameter]) -> String {
    let errors = errors.iter().map(ToString::to_string);
    errors.chain(lenient::named(ignored)).collect::<Vec<_>>().join("\n")
}

/// What a deserializer found wrong with a value; the value's path is added by [`Mistake::at`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Mistake {
    #[error("it must be {expected}, but is {found}")]
    Wrong { expected: String, found: &'static str },
    #[error("`{field}` is missing")]
    Missing { field: &'static str },
    #[error("{0}")]
    Refused(String),
}

impl Mistake {
    /// Returns the error of the parameter at this path.
    pub(super) fn at(self, path: &serde_path_to_error::Path) -> ArgumentError {
        let parameter = path.to_string();
        match self {
            Self::Wrong { expected, found } => ArgumentError::WrongValue { parameter, expected, found },
            Self::Missing { field } => {
                let is_top = path.iter().next().is_none();
                let parameter = if is_top { field.to_owned() } else { format!("{parameter}.{field}") };
                ArgumentError::WrongValue { parameter, expected: "a string".into(), found: "missing" }
            }
            Self::Refused(reason) => ArgumentError::Refused { parameter, reason },
        }
    }
}

impl de::Error for Mistake {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Self::Refused(reason.to_string())
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::Wrong { expected: expected.to_string(), found: kind(found) }
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Str("") => "empty",
            Unexpected::Str(_) => "another string",
            other => kind(other),
        };
        Self::Wrong { expected: expected.to_string(), found }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing { field }
    }
}

/// Names the type of a value.
fn kind(value: Unexpected) -> &'static str {
    match value {
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}
