//! Tests of the parts that are shown of toolchains outside of `/usr`.

use super::support::Home;

#[test]
fn toolchain_with_its_own_prefix_is_shown_whole() {
    let home = Home::new();
    home.program("sdk/node24/bin/node").file("sdk/node24/include/node/node.h", "").file("sdk/node22/VERSION", "");
    assert_eq!(home.shown("javascript", &["sdk/node24/bin"]), ["sdk/node24"]);
}

#[test]
fn shared_prefix_is_shown_only_in_part() {
    let home = Home::new();
    home.program(".local/bin/node").program(".local/bin/other").file(".local/lib/node_modules/npm", "");
    home.file(".local/share/keyrings/login.keyring", "secret");
    assert_eq!(home.shown("javascript", &[".local/bin"]), [".local/bin/node", ".local/lib/node_modules"]);
}

#[test]
fn program_in_the_bin_of_a_home_does_not_show_the_home() {
    let home = Home::new();
    home.program("bin/node").file("lib/node_modules/npm", "").file(".ssh/id", "secret");
    assert_eq!(home.shown("javascript", &["bin"]), ["bin/node", "lib/node_modules"]);
}

#[test]
fn program_in_a_project_does_not_show_the_project() {
    let home = Home::new();
    home.program("project/bin/node").file("project/src/secret", "");
    assert_eq!(home.shown("javascript", &["project/bin"]), ["project/bin/node"]);
    home.file("project/.git/config", "").file("project/lib/node_modules/npm", "");
    assert_eq!(home.shown("javascript", &["project/bin"]), ["project/bin/node", "project/lib/node_modules"]);
}

#[test]
fn program_with_another_name_gets_a_link() {
    let home = Home::new();
    home.program("tools/python3").program("tools/nodejs");
    let view = home.view("python", &["tools"]).unwrap();
    assert_eq!(home.path_of_home(&view), ["/run/host/bin", "tools"]);
    assert_eq!(home.links_of_home(&view), [("/run/host/bin/python".to_owned(), "tools/python3".to_owned())]);
    let view = home.view("javascript", &["tools"]).unwrap();
    assert_eq!(home.links_of_home(&view), [("/run/host/bin/node".to_owned(), "tools/nodejs".to_owned())]);
}

/// Makes a home with a Python at `base`, and a project with a venv of it.
fn project_with_venv(base: &str) -> Home {
    let home = Home::new();
    home.program(&format!("{base}/bin/python3.12")).link(&format!("{base}/bin/python3"), "python3.12");
    home.file(&format!("{base}/lib/python3.12/os.py"), "");
    home.file("project/.git/config", "").file("project/secret.py", "secret");
    let venv = "project/.venv";
    home.file(&format!("{venv}/pyvenv.cfg"), &format!("home = {}/bin\nversion = 3.12.1\n", home.at(base).display()));
    home.file(&format!("{venv}/lib/python3.12/site-packages/numpy/__init__.py"), "");
    home.file(&format!("{venv}/.env"), "secret");
    home.link(&format!("{venv}/bin/python3"), home.at(base).join("bin/python3"))
        .link(&format!("{venv}/bin/python"), "python3");
    home
}

#[test]
fn venv_shows_its_parts_and_base_but_not_the_project() {
    let home = project_with_venv("python");
    let view = home.view("python", &["project/.venv/bin"]).unwrap();
    let venv = ["bin", "lib", "pyvenv.cfg"].map(|part| format!("project/.venv/{part}"));
    assert_eq!(home.of_home(&view), [&venv[..], &["python".to_owned()]].concat());
    assert_eq!(home.path_of_home(&view), ["project/.venv/bin"], "its interpreter knows the venv by this place");
    assert_eq!(home.links_of_home(&view), []);
}

#[test]
fn links_between_a_venv_and_its_base_are_made_in_the_sandbox() {
    let home = project_with_venv("versions/3.12.1");
    home.link("current", "versions/3.12.1");
    home.file("project/.venv/pyvenv.cfg", &format!("home = {}/bin\n", home.at("current").display()));
    let view = home.view("python", &["project/.venv/bin"]).unwrap();
    assert!(home.of_home(&view).contains(&"versions/3.12.1".to_owned()));
    assert_eq!(home.links_of_home(&view), [("current".to_owned(), "versions/3.12.1".to_owned())]);
}

#[test]
fn venv_without_its_base_is_refused_with_the_path() {
    let home = project_with_venv("python");
    std::fs::remove_dir_all(home.at("python")).unwrap();
    // The venv's link is dangling, so that it is not even a candidate.
    assert!(home.error("python", &["project/.venv/bin"]).contains("`python`, which is not in"));
    home.program("project/.venv/bin/python3.12");
    std::fs::remove_file(home.at("project/.venv/bin/python3")).unwrap();
    home.link("project/.venv/bin/python3", "python3.12");
    let error = home.error("python", &["project/.venv/bin"]);
    assert!(error.contains(&home.at("python").display().to_string()), "{error}");
}
