//! What a command line gives the program of a call in addition to files.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;

use crate::call::arguments::RequestedOptions;
use crate::call::encoding::Encoding;

/// The most bytes of standard input that are passed on, which is also what a client can send.
const MAX_STDIN_BYTES: u64 = 32 << 20;

/// The arguments, variables and limits of a program, which all commands that take a call share.
#[derive(Debug, Clone, Default, Args)]
pub struct Given {
    /// An environment variable for the program. Can be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Seconds that the program may run, as a part of the call. The tool's own limit cannot be exceeded.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_seconds: Option<u64>,
    /// Arguments for the program. It also gets standard input, unless that is a terminal or was read for `-`.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("it must be NAME=VALUE".to_owned()),
    }
}

impl Given {
    /// Returns the options of a call with these packages, and with this process's standard input if `reads_stdin`.
    ///
    /// # Errors
    ///
    /// Fails if standard input cannot be read, or has more than [`MAX_STDIN_BYTES`].
    pub fn options(&self, packages: &[String], reads_stdin: bool) -> io::Result<RequestedOptions> {
        let mut stdin = Vec::new();
        let input = io::stdin();
        if reads_stdin && !input.is_terminal() {
            read(input.lock(), &mut stdin)?;
        }
        let (stdin_encoding, stdin) = Encoding::encode(stdin);
        Ok(RequestedOptions {
            packages: packages.to_vec(),
            stdin: Some(stdin),
            stdin_encoding,
            args: self.args.clone(),
            env: BTreeMap::from_iter(self.env.iter().cloned()),
            timeout_seconds: self.timeout_seconds,
            ..RequestedOptions::default()
        })
    }
}

fn read(from: impl Read, into: &mut Vec<u8>) -> io::Result<()> {
    match from.take(MAX_STDIN_BYTES + 1).read_to_end(into) {
        Ok(count) if count as u64 > MAX_STDIN_BYTES => Err(io::Error::other(format!(
            "it has more than {} MiB: pass it as a file, or close it with `< /dev/null`",
            MAX_STDIN_BYTES >> 20
        ))),
        Ok(_) => Ok(()),
        // The parent process closed it.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The name that stands for standard input among files.
pub const STDIN: &str = "-";

/// Returns whether one of the files is read from standard input.
pub fn reads_a_file_from_stdin(files: &[PathBuf]) -> bool {
    files.iter().any(|file| file.as_os_str() == STDIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_input_is_refused() {
        let error = read(io::repeat(0), &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("32 MiB") && error.contains("/dev/null"), "{error}");
    }

    #[test]
    fn variable_is_split_at_the_first_equals_sign() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("A").is_err());
    }
}
