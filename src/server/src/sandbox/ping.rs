//! Whether programs can ping on the host's network: they have no raw sockets, and the kernel's ping sockets are for some groups
//! only.

use std::fs;

use crate::call::definition::Network;
use crate::sandbox::plan;

const RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";

/// Programs that do nothing without ping sockets or raw ones.
const PROGRAMS: [&str; 2] = ["mtr", "ping"];

/// Returns whether a program, which may be followed by a word of explanation, can do what it is for.
pub fn can_work(program: &str, network: Network) -> bool {
    let name = program.split(' ').next().unwrap_or_default();
    !PROGRAMS.contains(&name) || network == Network::Bridge && is_open()
}

/// Returns whether the group that programs have on the host may use ping sockets.
pub fn is_open() -> bool {
    let range = fs::read_to_string(RANGE).unwrap_or_default();
    includes(&range, plan::identity().host_gid)
}

/// Returns whether a range, as the kernel writes it, includes a group. `1 0` includes none.
fn includes(range: &str, group: u32) -> bool {
    let numbers: Vec<u64> = range.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    matches!(numbers[..], [first, last] if (first..=last).contains(&u64::from(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_that_ping_need_ping_sockets() {
        assert!(can_work("curl", Network::None) && can_work("http (HTTPie)", Network::Bridge));
        assert!(!can_work("ping", Network::None));
        assert_eq!(can_work("ping (of iputils)", Network::Bridge), is_open());
    }

    #[test]
    fn range_is_that_of_the_kernel() {
        for (range, group, is_included) in [
            ("1\t0\n", 0, false),
            ("1\t0\n", 1, false),
            ("0\t2147483647\n", 65_534, true),
            ("100\t100\n", 100, true),
            ("100\t200\n", 201, false),
            ("", 0, false),
        ] {
            assert_eq!(includes(range, group), is_included, "{range:?} {group}");
        }
    }
}
