//! Tests of the search for programs, and of its errors.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::locate::output_within;
use super::super::{Host, toolchain, toolchains};
use super::support::{Home, sandbox};

#[test]
fn a_missing_toolchain_is_named_with_where_it_was_looked_for() {
    let home = Home::new();
    for (tool, program) in [("go", "go"), ("java", "java"), ("python", "python"), ("javascript", "node")] {
        let error = home.error(tool, &["a", "b"]);
        let directory = home.at("b").display().to_string();
        for part in [&format!("`{tool}`"), &format!("`{program}`"), &directory, "install it on this host"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn long_search_path_is_shortened_in_the_error() {
    let home = Home::new();
    let error = home.error("go", &["a", "b", "c", "d", "e", "f"]);
    assert!(error.contains("/d or 2 more directories") && !error.contains("/e"), "{error}");
    assert!(home.error("go", &[]).contains("an empty search path"));
}

#[test]
fn java_without_compiler_is_refused() {
    let home = Home::new();
    home.program("jre/bin/java").file("jre/lib/modules", "");
    let error = home.error("java", &["jre/bin"]);
    assert!(error.contains("needs a JDK") && error.contains("jre/bin/java has no javac"), "{error}");
}

#[test]
fn old_java_gets_a_source_option_or_is_refused() {
    let home = Home::new();
    let jdk = |version: &str| {
        home.program("jdk/bin/java").program("jdk/bin/javac").file("jdk/lib/modules", "");
        home.file("jdk/release", &format!("IMPLEMENTOR=\"X\"\nJAVA_VERSION=\"{version}\"\n"));
        home.view("java", &["jdk/bin"]).map(|view| view.launch.arguments).map_err(|error| error.to_string())
    };
    // The compiler of this JDK cannot compile the launcher's source.
    let source_option = |version: &str| Ok(vec!["--source".to_owned(), version.to_owned()]);
    assert_eq!(
        (jdk("17.0.15"), jdk("22"), jdk("23-ea"), jdk("25.0.5")),
        (source_option("17"), source_option("22"), Ok(vec![]), Ok(vec![]))
    );
    let error = jdk("1.8.0_402").unwrap_err();
    assert!(error.contains("needs Java 11 or newer") && error.contains("jdk/bin/java is 8"), "{error}");
}

#[test]
fn unsupported_shim_is_refused_with_its_nature() {
    let home = Home::new();
    home.link("a/node", "../b/node").link("b/node", "../a/node");
    home.program("snap/bin/snap").link("snap/bin/node", "snap");
    home.script("shims/node", "exec something else");
    // A loop of links is not a file, and so is not even a candidate.
    assert!(home.error("javascript", &["a"]).contains("is not in"));
    assert!(home.error("javascript", &["snap/bin"]).contains("a link to snap"));
    assert!(home.error("javascript", &["shims"]).contains("a script of an unknown version manager"));
}

#[test]
fn cyclic_shims_are_refused() {
    let home = Home::new();
    home.program("bin/volta-shim").link("bin/node", "volta-shim");
    home.script("bin/volta", &format!("echo {}", home.at("bin/node").display()));
    assert!(home.error("javascript", &["bin"]).contains("leads to itself"));
}

#[test]
fn unsupported_shim_does_not_hide_the_next_candidate() {
    let home = Home::new();
    home.script("shims/node", "exec something else").program("bin/node");
    assert_eq!(home.shown("javascript", &["shims", "bin"]), ["bin/node"]);
}

#[test]
fn inaccessible_toolchain_does_not_hide_an_accessible_one() {
    let home = Home::new();
    home.program("closed/versions/bin/node").link("shims/node", "../closed/versions/bin/node").program("open/node");
    std::fs::set_permissions(home.at("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    // The temporary directory around the home is closed to other users too.
    let around = home.path.parent().unwrap().parent().unwrap();
    std::fs::set_permissions(around, std::fs::Permissions::from_mode(0o755)).unwrap();
    let of = |for_others, search_path: &[&str]| {
        let host = Host { for_others, ..home.host(search_path) };
        toolchain(sandbox("javascript"), &host)
            .map(|found| home.of_home(&found.view()))
            .map_err(|error| error.to_string())
    };
    assert_eq!(of(false, &["shims", "open"]), Ok(vec!["closed/versions/bin/node".to_owned()]));
    assert_eq!(of(true, &["shims", "open"]), Ok(vec!["open/node".to_owned()]));
    assert!(of(true, &["shims"]).unwrap_err().contains("closed/versions/bin/node is in a directory that"));
}

#[test]
fn file_that_is_not_executable_is_skipped() {
    let home = Home::new();
    home.file("a/node", "").program("b/node");
    assert_eq!(home.shown("javascript", &["a", "b"]), ["b/node"]);
}

#[test]
fn python3_is_preferred_to_python() {
    let home = Home::new();
    home.program("a/python").program("b/python3");
    assert_eq!(home.shown("python", &["a", "b"]), ["b/python3"]);
}

#[test]
fn toolchains_lists_every_tool_with_programs_or_errors() {
    let home = Home::new();
    home.program("bin/sh").program("bin/rustc").program("bin/node");
    let found = toolchains(&home.host(&["bin"]));
    let tools = crate::call::catalog::catalog().tools;
    assert_eq!(found.len(), tools.len());
    let of = |id: &str| &found[tools.iter().position(|tool| tool.sandbox.id == id).unwrap()];
    let is_complete = |tool: &str| of(tool).iter().all(|(_, path)| path.is_ok());
    assert!(is_complete("shell") && is_complete("javascript") && !is_complete("go"));
    let programs: Vec<(&str, bool)> = of("rust").iter().map(|(name, path)| (*name, path.is_ok())).collect();
    assert_eq!(programs, [("sh", true), ("rustc", true), ("cc", false)]);
    assert_eq!(of("javascript")[0].1.as_ref().unwrap(), &home.at("bin/node"));
}

fn host(path: &str, home: Option<&Path>, variables: &[(&str, &str)]) -> Host {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Host::new(path.as_ref(), home.map(Path::to_owned), variables)
}

#[test]
fn search_path_has_absolute_directories_once() {
    let host = host(":.:bin:/opt/x/bin:/usr/bin:/opt/x/bin", None, &[]);
    let is_expected = |path: &&PathBuf| path.is_absolute();
    assert!(host.search_path.iter().all(|path| is_expected(&path)));
    assert_eq!(host.search_path[..2], [Path::new("/opt/x/bin"), Path::new("/usr/bin")]);
    assert_eq!(host.search_path.iter().filter(|path| *path == Path::new("/usr/bin")).count(), 1);
}

#[test]
fn minimal_path_is_extended_by_the_usual_directories() {
    let host = host("/bin", Some(Path::new("/home/user")), &[]);
    for place in ["/usr/local/bin", "/home/user/.cargo/bin", "/home/user/.pyenv/shims", "/usr/local/go/bin"] {
        assert!(host.search_path.contains(&PathBuf::from(place)), "{place}");
    }
}

#[test]
fn only_harmless_variables_of_version_managers_are_kept() {
    let given = [
        ("PYENV_VERSION", "3.12"),
        ("RUSTUP_TOOLCHAIN", "nightly"),
        ("MISE_GITHUB_TOKEN", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("LD_PRELOAD", "/x.so"),
    ];
    let host = host("", None, &given);
    assert_eq!(host.variables.keys().collect::<Vec<_>>(), ["PYENV_VERSION", "RUSTUP_TOOLCHAIN"]);
}

#[test]
fn newest_complete_node_of_nvm_is_found() {
    let home = Home::new();
    for version in ["v9.11.2", "v18.2.0", "v18.10.0"] {
        home.program(&format!(".nvm/versions/node/{version}/bin/node"));
        home.file(&format!(".nvm/versions/node/{version}/lib/node_modules/npm"), "");
    }
    home.file(".nvm/versions/node/v20.0.0/README", "");
    let of = |variables: &[(&str, &str)]| host("", Some(&home.path), variables).search_path;
    assert!(of(&[]).contains(&home.at(".nvm/versions/node/v18.10.0/bin")));
    home.program("nvm/versions/node/v22.0.0/bin/node");
    let moved = home.at("nvm").display().to_string();
    assert!(of(&[("NVM_DIR", &moved)]).contains(&home.at("nvm/versions/node/v22.0.0/bin")));
    assert_eq!(home.shown("javascript", &[".nvm/versions/node/v18.10.0/bin"]), [".nvm/versions/node/v18.10.0"]);
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn hanging_manager_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let script = format!("(sleep 1; touch {}) & sleep 900", mark.display());
    let error = output_within(sh(&script), Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!mark.exists(), "the background process was killed too");
}

#[test]
fn long_output_on_both_streams_does_not_block() {
    let answer =
        output_within(sh("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; echo end"), Duration::from_secs(60));
    assert!(answer.unwrap().ends_with("end\n"));
}

#[test]
fn failed_command_is_quoted_in_the_error() {
    let error = output_within(sh("echo out; echo why >&2; exit 3"), Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.ends_with("3: why"), "{error}");
}

#[test]
fn offered_programs_are_those_on_the_path() {
    let home = Home::new();
    home.program("bin/sh").program("bin/jq");
    let host = home.host(&["bin"]);
    let offered = toolchain(sandbox("network-tools"), &host).expect("it needs only a shell").offered;
    assert!(!offered.contains(&"no-such-program") && !offered.contains(&"http (HTTPie)"), "{offered:?}");
    let is_in_usr = |name: &str| Path::new("/usr/bin").join(name).exists();
    assert_eq!(offered.contains(&"curl"), is_in_usr("curl"), "{offered:?}");
}
