//! The directory of this program's configuration.

use std::env;
use std::path::{Path, PathBuf};

use crate::PROGRAM;

/// Returns the user's directory of configuration for this program, which may not exist. `None` without a home directory.
pub fn configuration() -> Option<PathBuf> {
    of(env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).as_deref(), env::var_os("HOME").map(PathBuf::from).as_deref())
}

/// A path that is not absolute is passed over, as the specification of these directories wants it.
fn of(configuration: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    let given = configuration.filter(|path| path.is_absolute()).map(Path::to_owned);
    let usual = || home.filter(|path| path.is_absolute()).map(|home| home.join(".config"));
    Some(given.or_else(usual)?.join(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_that_of_xdg_or_below_the_home() {
        let of = |configuration: &str, home: &str| {
            of(Some(Path::new(configuration)), Some(Path::new(home))).map(|path| path.display().to_string())
        };
        assert_eq!(of("/c", "/home/me").as_deref(), Some("/c/sandbox-mcp"));
        for none in ["", "relative"] {
            assert_eq!(of(none, "/home/me").as_deref(), Some("/home/me/.config/sandbox-mcp"));
        }
        assert_eq!(of("", "").as_deref(), None);
    }
}
