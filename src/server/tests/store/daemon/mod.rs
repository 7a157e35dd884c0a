//! The client of the Nix daemon, against the real one: over a socket and over a child's pipes, which differ in nothing.
//!
//! Each test has a store of its own, and the socket's daemon is one that the test starts on it. Where no nix-daemon is
//! on `PATH`, what needs one is ignored.

mod bodies;
mod failures;

use libtest_mimic::{Failed, Trial};
use test_support::daemon_fixture::{Fixture, Kind};
use test_support::own_store;

/// Returns the tests, those that cannot run here marked as ignored.
pub fn tests() -> Vec<Trial> {
    let nix = own_store::is_here();
    let shell = own_store::static_shell().is_some();
    if !nix {
        eprintln!("Ignored: what needs a Nix daemon, since no Nix on PATH makes a store.");
    } else if !shell {
        eprintln!("Ignored: what needs a builder, since there is no static shell (Debian: bash-static).");
    }
    let mut tests = Vec::new();
    for (kind, suffix) in [(Kind::Socket, "socket"), (Kind::Child, "child")] {
        let mut add = |name: &str, needs_shell: bool, body: fn(Fixture) -> Result<(), Failed>| {
            let test = move || body(Fixture::new(kind)?);
            let ignored = !nix || (needs_shell && !shell);
            tests.push(Trial::test(format!("{name}::{suffix}"), test).with_ignored_flag(ignored));
        };
        add("a_daemon_tells_which_nix_it_is_and_takes_options", false, bodies::handshake);
        add("what_is_added_gets_the_path_that_is_computed", false, bodies::added);
        add("what_is_named_by_its_content_is_added_together", false, bodies::added_all);
        add("the_store_tells_what_it_knows_of_a_path", false, bodies::path_info);
        add("a_text_with_a_reference_that_is_not_valid_is_refused_and_the_next_is_taken", false, bodies::refused);
        add("paths_are_deleted_alone_and_not_while_they_are_in_use", false, bodies::deleted);
        add("a_run_is_built_and_its_log_comes_line_by_line", true, bodies::built);
        add("a_derivation_that_is_not_in_the_store_is_built", true, bodies::built_without_drv);
        add("a_failing_build_is_a_result_with_its_reason", true, bodies::failed);
        add("building_again_tells_what_is_not_deterministic", true, bodies::checked);
        add("a_root_keeps_what_it_points_to", false, bodies::rooted);
        add("connections_build_side_by_side", true, bodies::side_by_side);
        add("a_connection_dropped_in_a_build_takes_the_builder_along", true, failures::dropped);
        add("an_operation_that_was_given_up_leaves_no_connection_to_go_on_with", true, failures::out_of_step);
    }
    let mut add = |name: &str, ignored: bool, test: fn() -> Result<(), Failed>| {
        tests.push(Trial::test(name, test).with_ignored_flag(ignored));
    };
    add("an_untrusted_client_may_do_what_a_run_needs", !nix || !shell, failures::untrusted);
    add("an_untrusted_client_may_add_what_is_named_by_its_content", !nix, || {
        bodies::added_all(Fixture::with_settings(Kind::Socket, "trusted-users =\n")?)
    });
    add("a_daemon_that_is_killed_in_a_build_is_an_error_and_the_next_one_serves", !nix || !shell, failures::killed);
    add("where_no_daemon_is_the_error_names_the_place_and_the_reason", false, failures::no_daemon);
    add("what_is_no_daemon_is_refused_with_what_it_said", false, failures::other_programs);
    add("a_daemon_that_is_too_old_is_refused_with_the_version_that_is_needed", false, failures::too_old);
    add("whatever_a_daemon_sends_is_an_error_at_worst", false, failures::garbage);
    tests
}
