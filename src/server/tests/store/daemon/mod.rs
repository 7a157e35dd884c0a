//! Tests of the client against a real Nix daemon, over a socket and over a child's pipes, which must behave the same.
//!
//! Each test has its own store, on which it starts the socket's daemon. The tests are ignored if no nix-daemon is on `PATH`.

mod bodies;
mod failures;

use libtest_mimic::{Failed, Trial};
use test_support::daemon_fixture::{DaemonKind, Fixture};
use test_support::own_store;

/// Returns the tests, those that cannot run here marked as ignored.
pub fn tests() -> Vec<Trial> {
    let nix = own_store::is_here();
    let shell = own_store::static_shell().is_some();
    if !nix {
        eprintln!("Ignored the tests that need a Nix daemon: no Nix on PATH can make a store.");
    } else if !shell {
        eprintln!("Ignored the tests that need a builder: there is no static shell (Debian: bash-static).");
    }
    let mut tests = Vec::new();
    for (kind, suffix) in [(DaemonKind::Socket, "socket"), (DaemonKind::Child, "child")] {
        let mut add = |name: &str, needs_shell: bool, body: fn(Fixture) -> Result<(), Failed>| {
            let test = move || body(Fixture::new(kind)?);
            let ignored = !nix || (needs_shell && !shell);
            tests.push(Trial::test(format!("{name}::{suffix}"), test).with_ignored_flag(ignored));
        };
        add("daemon_tells_its_nix_and_takes_options", false, bodies::handshake);
        add("added_path_is_the_computed_one", false, bodies::added);
        add("content_addressed_paths_are_added_together", false, bodies::added_all);
        add("path_info_tells_hash_size_and_references", false, bodies::path_info);
        add("text_with_an_invalid_reference_is_refused", false, bodies::refused);
        add("path_in_use_is_not_deleted", false, bodies::deleted);
        add("build_tells_its_log_line_by_line", true, bodies::built);
        add("failing_build_is_a_result_with_its_reason", true, bodies::failed);
        add("temporary_root_keeps_a_path", false, bodies::rooted);
        add("connections_build_at_the_same_time", true, bodies::side_by_side);
        add("connection_dropped_in_a_build_ends_the_builder", true, failures::dropped);
        add("connection_left_in_an_operation_takes_no_other", true, failures::out_of_step);
    }
    let mut add = |name: &str, ignored: bool, test: fn() -> Result<(), Failed>| {
        tests.push(Trial::test(name, test).with_ignored_flag(ignored));
    };
    add("untrusted_client_may_do_what_a_run_needs", !nix || !shell, failures::untrusted);
    add("untrusted_client_may_add_content_addressed_paths", !nix, || {
        bodies::added_all(Fixture::with_settings(DaemonKind::Socket, "trusted-users =\n")?)
    });
    add("daemon_killed_in_a_build_is_an_error", !nix || !shell, failures::killed);
    add("missing_daemon_is_named_with_the_reason", false, failures::no_daemon);
    add("other_program_is_refused_with_what_it_said", false, failures::other_programs);
    add("old_daemon_is_refused_with_the_needed_version", false, failures::too_old);
    add("garbage_of_a_daemon_is_an_error", false, failures::garbage);
    tests
}
