//! Store paths as a type: a path that passes the parser is safe to bind, to name and to print.

use std::fmt;

use thiserror::Error;

/// The directory of the store. In a store with another directory every hash is different.
pub const STORE: &str = "/nix/store";

/// The digits of Nix's base 32, which lacks `e`, `o`, `t` and `u`.
pub const BASE32: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// The characters that Nix allows in a name in addition to letters and digits.
const NAME_SYMBOLS: &[u8] = b"+-._?=";

/// A path of the form `/nix/store/<32 base-32 digits>-<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(String);

/// A text that is not a store path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{path}` is not a store path: {reason}")]
pub struct StorePathError {
    path: String,
    reason: &'static str,
}

impl StorePath {
    /// Parses a store path without anything below it.
    ///
    /// # Errors
    ///
    /// The text is not such a path.
    pub fn parse(path: &str) -> Result<Self, StorePathError> {
        let refuse = |reason| Err(StorePathError { path: path.to_owned(), reason });
        let Some(base) = path.strip_prefix(STORE).and_then(|rest| rest.strip_prefix('/')) else {
            return refuse("it does not start with /nix/store/");
        };
        let Some((hash, name)) = base.split_once('-') else {
            return refuse("it has no `-` between hash and name");
        };
        if hash.len() != 32 || !hash.bytes().all(|byte| BASE32.contains(&byte)) {
            return refuse("its hash is not 32 digits of Nix's base 32");
        }
        if name.is_empty() || name.len() > 211 {
            return refuse("its name is empty or longer than 211 characters");
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || NAME_SYMBOLS.contains(&byte)) {
            return refuse("its name has a character that Nix does not allow");
        }
        Ok(Self(path.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part after the hash.
    pub fn name(&self) -> &str {
        &self.0[STORE.len() + 1 + 32 + 1..]
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASH: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-bash-5.3";

    #[test]
    fn store_path_gives_its_name() {
        let path = StorePath::parse(BASH).unwrap();
        assert_eq!((path.as_str(), path.name()), (BASH, "bash-5.3"));
    }

    #[test]
    fn other_path_is_refused_with_the_reason() {
        for (path, reason) in [
            ("/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-bash", "does not start with"),
            ("/nix/store/0123456789abcdfghijklmnpqrsvwxyz", "no `-`"),
            ("/nix/store/e123456789abcdfghijklmnpqrsvwxyz-bash", "base 32"),
            ("/nix/store/0123-bash", "base 32"),
            ("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-", "empty"),
            ("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a/../../etc", "does not allow"),
            ("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a\n", "does not allow"),
        ] {
            let error = StorePath::parse(path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(&path[..11]), "{path}: {error}");
        }
    }
}
