//! The users that Nix builds as. Where root has none, Nix can build nothing, although it answers everything else.

/// What to do where Nix names a group that does not do.
const REMEDY: &str = "set `build-users-group =` to nothing in /etc/nix/nix.conf or in the variable NIX_CONFIG, \
                      or make the group with users in it";

/// Returns the clause that names the remedy, if this is Nix's error about the group of build users.
pub fn remedy_of(error: &str) -> String {
    match error.contains("build-users-group") || error.contains("build users group") {
        true => format!("; {REMEDY}"),
        false => String::new(),
    }
}

/// Tells why Nix can build nothing for root in a store that root writes itself, and how to change that.
///
/// `settings` is what Nix says of its configuration, and `groups` the content of /etc/group.
///
/// # Errors
///
/// The group of build users does not exist, or it is empty.
pub fn check(settings: &str, groups: &str) -> Result<(), String> {
    let Some(group) = setting(settings, "build-users-group").filter(|group| !group.is_empty()) else { return Ok(()) };
    let members = groups.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [name, _, _, members] if name == group => Some(members),
        _ => None,
    });
    let reason = match members {
        None => "does not exist",
        Some("") => "has no users in it",
        Some(_) => return Ok(()),
    };
    Err(format!("Nix can build nothing: `build-users-group` names the group `{group}`, which {reason}; {REMEDY}"))
}

/// Returns the value of a setting, as `nix show-config` prints it.
pub fn setting<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\nnixbld:x:30000:nixbld1,nixbld2\nempty:x:7:\n";

    #[test]
    fn group_that_is_missing_or_empty_is_told_with_the_remedy() {
        for (group, reason) in [("other", "does not exist"), ("empty", "has no users"), ("nix", "does not exist")] {
            let told = check(&format!("sandbox = true\nbuild-users-group = {group}\n"), GROUPS).unwrap_err();
            assert!(told.contains(reason) && told.contains("`build-users-group =`"), "{told}");
        }
    }

    #[test]
    fn group_with_users_or_no_group_is_fine() {
        for settings in ["build-users-group = nixbld", "build-users-group = ", "build-users-group =", ""] {
            assert_eq!(check(settings, GROUPS), Ok(()), "{settings}");
        }
    }

    #[test]
    fn remedy_is_named_for_errors_about_the_group_alone() {
        assert!(remedy_of("the group 'nixbld' specified in 'build-users-group' does not exist").contains("nix.conf"));
        assert!(remedy_of("the build users group 'nixbld' has no members").contains("nix.conf"));
        assert_eq!(remedy_of("error: builder for '/nix/store/a.drv' failed"), "");
    }
}
