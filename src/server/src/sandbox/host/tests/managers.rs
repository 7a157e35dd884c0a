//! Tests of version managers, with homes laid out like theirs.

use super::support::Home;

/// Makes a home with rustup and toolchains of these names. The settings select one.
fn rustup(default: &str, toolchains: &[&str]) -> Home {
    let home = Home::new();
    home.program(".cargo/bin/rustup").link(".cargo/bin/rustc", "rustup").file(".cargo/credentials.toml", "secret");
    let settings = format!("version = \"12\"\ndefault_toolchain = \"{default}\"\n\n[overrides]\n\"/x\" = \"other\"\n");
    home.file(".rustup/settings.toml", &settings);
    for toolchain in toolchains {
        home.program(&format!(".rustup/toolchains/{toolchain}/bin/rustc"));
        home.file(&format!(".rustup/toolchains/{toolchain}/lib/rustlib/components"), "");
    }
    // rustc calls the linker by this name.
    home.program("tools/bin/cc").program("tools/bin/sh");
    home
}

const CARGO: &[&str] = &[".cargo/bin", "tools/bin"];

#[test]
fn rustup_shows_only_the_selected_toolchain() {
    let home = rustup(
        "stable-x86_64-unknown-linux-gnu",
        &["stable-x86_64-unknown-linux-gnu", "nightly-x86_64-unknown-linux-gnu"],
    );
    let view = home.view("rust", CARGO).unwrap();
    let toolchain = ".rustup/toolchains/stable-x86_64-unknown-linux-gnu";
    assert_eq!(home.of_home(&view), [toolchain, "tools/bin/cc", "tools/bin/sh"]);
    assert_eq!(home.path_of_home(&view), ["tools/bin".to_owned(), format!("{toolchain}/bin")]);
}

#[test]
fn rustup_short_name_selects_the_only_match() {
    let home = rustup("stable", &["stable-x86_64-unknown-linux-gnu", "stable-2024-01-01-x86_64-unknown-linux-gnu"]);
    assert!(home.shown("rust", CARGO).contains(&".rustup/toolchains/stable-x86_64-unknown-linux-gnu".to_owned()));
}

#[test]
fn rustup_is_run_when_a_short_name_is_ambiguous() {
    let home = rustup("stable", &["stable-x86_64-unknown-linux-gnu", "stable-x86_64-unknown-linux-musl"]);
    let musl = home.at(".rustup/toolchains/stable-x86_64-unknown-linux-musl/bin");
    home.script(".cargo/bin/rustup", &format!("[ \"$1\" = which ] && echo {}/$2", musl.display()));
    assert!(home.shown("rust", CARGO).contains(&".rustup/toolchains/stable-x86_64-unknown-linux-musl".to_owned()));
}

#[test]
fn rustup_variables_are_respected() {
    let mut home = rustup("stable-x86_64-unknown-linux-gnu", &["stable-x86_64-unknown-linux-gnu"]);
    home.program("elsewhere/toolchains/mine/bin/rustc").file("elsewhere/toolchains/mine/lib/rustlib/components", "");
    home.variables.insert("RUSTUP_HOME".to_owned(), home.at("elsewhere").display().to_string());
    home.variables.insert("RUSTUP_TOOLCHAIN".to_owned(), "mine".to_owned());
    assert_eq!(home.shown("rust", CARGO), ["elsewhere/toolchains/mine", "tools/bin/cc", "tools/bin/sh"]);
}

#[test]
fn rustup_hard_link_is_a_shim() {
    let home = rustup("stable-x", &["stable-x"]);
    std::fs::remove_file(home.at(".cargo/bin/rustc")).unwrap();
    std::fs::hard_link(home.at(".cargo/bin/rustup"), home.at(".cargo/bin/rustc")).unwrap();
    assert!(home.shown("rust", CARGO).contains(&".rustup/toolchains/stable-x".to_owned()));
}

/// Makes a home with pyenv and these versions of Python.
fn pyenv(versions: &[&str]) -> Home {
    let home = Home::new();
    let root = home.at(".pyenv").display().to_string();
    for shim in ["python", "python3"] {
        let text = format!("export PYENV_ROOT=\"{root}\"\nexec \"{root}/libexec/pyenv\" exec \"${{0##*/}}\" \"$@\"");
        home.script(&format!(".pyenv/shims/{shim}"), &text);
    }
    for version in versions {
        let prefix = format!(".pyenv/versions/{version}");
        home.program(&format!("{prefix}/bin/python3.12")).file(&format!("{prefix}/lib/python3.12/os.py"), "");
        home.link(&format!("{prefix}/bin/python3"), "python3.12").link(&format!("{prefix}/bin/python"), "python3");
    }
    home
}

const PYENV: &[&str] = &[".pyenv/shims"];

#[test]
fn pyenv_shows_the_version_in_its_file() {
    let home = pyenv(&["3.12.1", "3.11.7"]);
    home.file(".pyenv/version", "# chosen\n3.12.1\n");
    let view = home.view("python", PYENV).unwrap();
    assert_eq!(home.of_home(&view), [".pyenv/versions/3.12.1"]);
    assert_eq!(home.path_of_home(&view), [".pyenv/versions/3.12.1/bin"]);
    assert_eq!(home.links_of_home(&view), [], "the version has all names itself");
}

#[test]
fn pyenv_variable_selects_the_first_version_with_the_program() {
    let mut home = pyenv(&["3.12.1", "3.11.7"]);
    home.file(".pyenv/version", "3.12.1\n");
    home.variables.insert("PYENV_VERSION".to_owned(), "missing:3.11.7".to_owned());
    assert_eq!(home.shown("python", PYENV), [".pyenv/versions/3.11.7"]);
}

#[test]
fn pyenv_is_run_when_its_files_do_not_suffice() {
    let home = pyenv(&["3.12.1"]);
    home.file(".pyenv/version", "3.12\n");
    let answer = home.at(".pyenv/versions/3.12.1/bin/python3");
    home.script(".pyenv/bin/pyenv", &format!("[ \"$*\" = 'which python3' ] && echo {}", answer.display()));
    assert_eq!(home.shown("python", PYENV), [".pyenv/versions/3.12.1"]);
}

#[test]
fn manager_failure_is_quoted_in_the_error() {
    let home = pyenv(&[]);
    home.file(".pyenv/version", "3.12\n");
    home.script(".pyenv/bin/pyenv", "echo 'pyenv: version 3.12 is not installed' >&2; exit 1");
    let error = home.error("python", PYENV);
    for part in ["`python`", "pyenv which python3", "version 3.12 is not installed", "choose a version there"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn asdf_is_run_and_its_installation_shown() {
    let home = Home::new();
    home.program(".asdf/installs/nodejs/20.1.0/bin/node").file(".asdf/installs/nodejs/20.1.0/lib/node_modules/npm", "");
    home.script(".asdf/shims/node", "# asdf-plugin: nodejs 20.1.0\nexec asdf exec \"node\" \"$@\"");
    let answer = home.at(".asdf/installs/nodejs/20.1.0/bin/node");
    home.script("bin/asdf", &format!("[ \"$*\" = 'which node' ] && [ \"$HOME\" ] && echo {}", answer.display()));
    assert_eq!(home.shown("javascript", &[".asdf/shims", "bin"]), [".asdf/installs/nodejs/20.1.0"]);
}

#[test]
fn mise_is_run_for_a_shim_that_links_to_it() {
    let home = Home::new();
    let prefix = ".local/share/mise/installs/python/3.12.1";
    home.program(&format!("{prefix}/bin/python")).file(&format!("{prefix}/lib/python3.12/os.py"), "");
    let answer = home.at(prefix).join("bin/python");
    home.script(".local/bin/mise", &format!("[ \"$*\" = 'which python' ] && echo {}", answer.display()));
    home.link(".local/share/mise/shims/python", home.at(".local/bin/mise"));
    assert_eq!(home.shown("python", &[".local/share/mise/shims"]), [prefix]);
}

#[test]
fn volta_is_run_from_the_directory_of_its_shim() {
    let home = Home::new();
    let prefix = ".volta/tools/image/node/20.1.0";
    home.program(&format!("{prefix}/bin/node")).file(&format!("{prefix}/lib/node_modules/npm"), "");
    home.program(".volta/bin/volta-shim").link(".volta/bin/node", "volta-shim");
    home.script(
        ".volta/bin/volta",
        &format!("[ \"$*\" = 'which node' ] && echo {}/bin/node", home.at(prefix).display()),
    );
    assert_eq!(home.shown("javascript", &[".volta/bin"]), [prefix]);
}

#[test]
fn manager_answer_that_is_not_a_program_is_refused() {
    let home = Home::new();
    home.program(".volta/bin/volta-shim").link(".volta/bin/node", "volta-shim");
    home.script(".volta/bin/volta", "echo bin/node");
    let error = home.error("javascript", &[".volta/bin"]);
    assert!(error.contains("\"bin/node\" is not a program"), "{error}");
}

#[test]
fn sdkman_shows_the_version_that_its_link_points_to() {
    let home = Home::new();
    home.program(".sdkman/candidates/java/21/bin/java").program(".sdkman/candidates/java/21/bin/javac");
    home.file(".sdkman/candidates/java/21/lib/modules", "").file(".sdkman/etc/config", "");
    home.link(".sdkman/candidates/java/current", "21");
    assert_eq!(home.shown("java", &[".sdkman/candidates/java/current/bin"]), [".sdkman/candidates/java/21"]);
}

#[test]
fn homebrew_shows_programs_but_not_settings_or_data() {
    let home = Home::new();
    let cellar = "linuxbrew/Cellar/node/20.1.0";
    home.program(&format!("{cellar}/bin/node")).link("linuxbrew/bin/node", "../Cellar/node/20.1.0/bin/node");
    home.file("linuxbrew/opt/openssl@3/lib/libssl.so", "").file("linuxbrew/lib/libuv.so", "");
    home.file("linuxbrew/etc/my.cnf", "password").file("linuxbrew/var/data", "data");
    assert_eq!(home.shown("javascript", &["linuxbrew/bin"]), ["linuxbrew/Cellar", "linuxbrew/lib", "linuxbrew/opt"]);
}
