//! Machines that have no wall around something.

use super::support::{Setting, lacking};
use crate::executor::ExecutorError;
use crate::testing::Lacking::{Landlock, Seccomp, UserNamespaces};

#[track_caller]
fn refusal(setting: &Setting, tool: &str) -> String {
    match setting.try_run(tool, "echo ran").expect("every machine has a shell") {
        Err(error @ ExecutorError::Unconfined(_)) => error.to_string(),
        other => panic!("{setting:?}: {other:?}"),
    }
}

#[test]
fn call_without_landlock_is_refused_with_the_flag() {
    for setting in lacking(&[UserNamespaces, Landlock]) {
        for tool in ["shell", "network-tools"] {
            let error = refusal(&setting, tool);
            let parts = [
                &format!("`{tool}`"),
                "files",
                "namespaces: Operation not permitted",
                "Landlock",
                "--allow-unconfined-execution",
            ];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}

#[test]
fn call_without_seccomp_is_refused_with_the_reason() {
    for setting in lacking(&[UserNamespaces, Seccomp]) {
        assert!(refusal(&setting, "shell").contains("network"));
        assert!(refusal(&setting, "network-tools").contains("services"));
    }
}

#[test]
fn unconfined_call_is_allowed_by_the_flag_and_names_walls() {
    for (missing, stands) in [(&[UserNamespaces, Landlock][..], "seccomp"), (&[UserNamespaces, Seccomp], "landlock")] {
        for setting in lacking(missing) {
            let setting = Setting { allow_unconfined: true, ..setting };
            let outcome = setting.run("shell", "echo ran").unwrap();
            assert_eq!(outcome.stdout.text(), "ran\n");
            assert!(outcome.walls.contains(&stands) && outcome.walls.contains(&"no_new_privs"), "{:?}", outcome.walls);
            assert!(!outcome.walls.contains(&if stands == "seccomp" { "landlock" } else { "seccomp" }));
            assert!(outcome.notes.iter().any(|note| note.starts_with("No wall stood")), "{:?}", outcome.notes);
        }
    }
}

#[test]
fn with_namespaces_landlock_is_not_needed() {
    for setting in lacking(&[Landlock]) {
        assert_eq!(setting.sh("echo ran"), "ran\n");
    }
}
