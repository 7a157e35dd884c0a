//! What a call gives its program in addition to files: arguments, environment variables and standard input.

use std::collections::{BTreeMap, BTreeSet};

use nix_store::hash::placeholder;
use sandbox_plan::plan::VARIABLES;

use crate::call::argument_error::ArgumentError;
use crate::call::arguments::RequestedOptions;
use crate::call::definition::{Network, Sandbox};
use crate::call::packages::Packages;

/// The most bytes of one argument or variable; the kernel takes 128 KiB with the name.
pub const MAX_STRING_BYTES: usize = 120 << 10;
/// The most bytes of all arguments and variables of a call; the kernel takes a quarter of the stack, which is 8 MiB.
const MAX_STRINGS_BYTES: usize = 1 << 20;

/// The bytes that the kernel counts for a text in addition to its own, at least.
const POINTER_BYTES: usize = 9;

/// The variable that names certificates, in a sandbox with network access.
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// The arguments, environment variables and standard input of a program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramInput {
    /// Follow the arguments of the sandbox's command.
    pub args: Vec<String>,
    /// Environment variables, none of which is one of the sandbox's own.
    pub env: BTreeMap<String, String>,
    pub stdin: Vec<u8>,
}

impl ProgramInput {
    /// Takes out of a call's options what its program is given.
    ///
    /// # Errors
    ///
    /// Fails if the standard input is not in its encoding, if a variable's name is none or is taken, and if a text is too long,
    /// or cannot be passed to a program.
    pub(super) fn of(
        options: &mut RequestedOptions,
        sandbox: &Sandbox,
        packages: &Packages,
    ) -> Result<Self, ArgumentError> {
        let refuse = |parameter: String, reason: &str| {
            let reason = format!("parameter `{parameter}` {reason}");
            Err(ArgumentError::Refused { parameter, reason })
        };
        let args = std::mem::take(&mut options.args);
        let env = std::mem::take(&mut options.env);
        let own = own_variables(sandbox, packages);
        for name in env.keys() {
            if !is_name(name) {
                let reason =
                    "is not a valid variable name: use letters, digits and underscores, and no digit at the beginning";
                return refuse(format!("env.{}", name.escape_debug()), reason);
            }
            if name.starts_with("LD_") || own.contains(name.as_str()) {
                return refuse(format!("env.{name}"), "is a variable that the sandbox sets: leave it out");
            }
        }
        let in_args = args.iter().enumerate().map(|(index, text)| (format!("args[{index}]"), text));
        let in_env = env.iter().map(|(name, text)| (format!("env.{name}"), text));
        let mut total = 0;
        for (parameter, text) in in_args.chain(in_env) {
            total += parameter.len().max(POINTER_BYTES) + text.len();
            if text.contains('\0') {
                return refuse(parameter, "holds a NUL character: remove it");
            }
            if text.contains(&placeholder("out")) {
                return refuse(parameter, "holds Nix's placeholder of an output: put it into `stdin` or a file");
            }
            if text.len() > MAX_STRING_BYTES || total > MAX_STRINGS_BYTES {
                return refuse(parameter, "is too long: put it into `stdin` or a file");
            }
        }
        let stdin = options.stdin_encoding.decode(options.stdin.take().unwrap_or_default());
        match stdin {
            Ok(stdin) => Ok(Self { args, env, stdin }),
            Err(error) => refuse("stdin".to_owned(), &format!("is not base64: {error}")),
        }
    }
}

/// Returns the names of the variables that the sandbox sets itself.
pub(crate) fn own_variables(sandbox: &Sandbox, packages: &Packages) -> BTreeSet<&'static str> {
    let defined = sandbox.variables.iter().chain(sandbox.ahead).map(|(name, _)| *name);
    let certificates = (sandbox.network != Network::None).then_some(CERTIFICATES);
    VARIABLES
        .into_iter()
        .chain(certificates)
        .chain(defined)
        .chain(packages.search_paths().map(|(name, _)| name))
        .collect()
}

fn is_name(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.chars().all(is_part) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::encoding::Encoding;
    use crate::call::tool::Tool;

    fn of(options: RequestedOptions) -> Result<ProgramInput, String> {
        let sandbox = &Tool::by_name("python").expect("the tool exists").sandbox;
        ProgramInput::of(&mut { options }, sandbox, &Packages::default()).map_err(|error| error.to_string())
    }

    fn env(name: &str) -> RequestedOptions {
        RequestedOptions { env: [(name.to_owned(), "x".to_owned())].into(), ..RequestedOptions::default() }
    }

    #[test]
    fn input_is_taken_as_it_was_given() {
        let args: Vec<String> = ["", "-n", "a b"].map(str::to_owned).into();
        let (stdin, stdin_encoding) = (Some("AP8=".to_owned()), Encoding::Base64);
        let given = of(RequestedOptions { args: args.clone(), stdin, stdin_encoding, ..env("LC_ALL") }).unwrap();
        assert_eq!((given.args, given.stdin, given.env.len()), (args, vec![0, 255], 1));
        assert_eq!(of(RequestedOptions::default()), Ok(ProgramInput::default()));
    }

    #[test]
    fn variable_of_the_sandbox_or_without_a_name_is_refused() {
        for name in ["PATH", "HOME", "OUT", "TMPDIR", "LD_PRELOAD", "MPLCONFIGDIR", "SANDBOX_MCP_AHEAD"] {
            let error = of(env(name)).unwrap_err();
            assert!(error.contains(&format!("`env.{name}`")) && error.contains("leave it out"), "{error}");
        }
        for name in ["", "1A", "A-B", "A B", "A=B", "É", "A\0"] {
            assert!(of(env(name)).unwrap_err().contains("not a valid variable name"), "{name:?}");
        }
        for name in ["A", "_", "a1", "PATHS", "TZ", "SSL_CERT_FILE"] {
            assert!(of(env(name)).is_ok(), "{name}");
        }
        let online = Tool::by_name("network-tools").expect("the tool exists").sandbox;
        assert!(own_variables(&online, &Packages::default()).contains("SSL_CERT_FILE"));
    }

    #[test]
    fn text_that_no_program_can_get_is_refused() {
        for text in ["a\0b", &"x".repeat(200 << 10), &placeholder("out")] {
            let error =
                of(RequestedOptions { args: vec![text.to_owned()], ..RequestedOptions::default() }).unwrap_err();
            assert!(error.starts_with("parameter `args[0]` "), "{error}");
        }
        for many in [vec!["x".repeat(100 << 10); 11], vec!["x".to_owned(); 1 << 20]] {
            assert!(
                of(RequestedOptions { args: many, ..RequestedOptions::default() }).unwrap_err().contains("too long")
            );
        }
    }
}
