//! Manifest → Rust source: what is generated, and what is refused with its key and reason.
//!
//! Each `<case>.json` is a manifest, and `<case>.rs` beside it is what must come of it.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use sandbox_manifest::{Manifest, codegen};
use serde_json::{Value, json};

/// Set to renew the golden files instead of comparing with them.
const RENEW: &str = "SANDBOX_MCP_RENEW_GOLDENS";
const CASES: &str = "tests/codegen";

/// The source that a manifest gives, or the error as build.rs prints it.
fn generate(manifest: &str) -> Result<String, String> {
    Manifest::parse(manifest).and_then(|manifest| codegen::generate(&manifest)).map_err(|error| error.to_string())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn manifest(case: &str) -> String {
    read(&Path::new(CASES).join(case).with_extension("json"))
}

#[test]
fn each_manifest_gives_its_golden_source() {
    let mut cases = 0;
    for entry in fs::read_dir(CASES).expect("the tests run in the repository's root") {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        cases += 1;
        let generated = generate(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = path.with_extension("rs");
        if std::env::var_os(RENEW).is_some() {
            fs::write(&golden, generated).unwrap();
        } else if fs::read_to_string(&golden).ok().as_ref() != Some(&generated) {
            panic!(
                "{} is not what {} gives; if the change is meant, renew it:\n\n    \
                    {RENEW}=1 cargo test --test codegen\n\nGenerated:\n{generated}",
                golden.display(),
                path.display()
            );
        }
    }
    assert!(cases > 0);
}

#[test]
fn key_order_of_manifest_does_not_change_the_source() {
    let pinned = manifest("pinned");
    let value: Value = serde_json::from_str(&pinned).unwrap();
    let [sandboxes, sets] = ["sandboxes", "packageSets"].map(|key| {
        let reversed: serde_json::Map<_, _> = value[key].as_object().unwrap().clone().into_iter().rev().collect();
        reversed
    });
    let [nixpkgs, system, archive] = ["nixpkgs", "system", "archive"].map(|key| &value[key]);
    let other = json!({
        "packageSets": sets, "sandboxes": sandboxes, "archive": archive, "nixpkgs": nixpkgs, "system": system, "format": 1
    });
    assert_eq!(generate(&pinned), generate(&other.to_string()));
}

/// Applies `change` to the value at `pointer` of the portable manifest and gives the error that it leads to.
fn refusal(case: &str, pointer: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(&manifest(case)).unwrap();
    change(value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not in {case}.json")));
    match generate(&value.to_string()) {
        Ok(_) => panic!("{case}.json was accepted with another {pointer}"),
        Err(error) => error,
    }
}

fn remove(key: &str) -> impl FnOnce(&mut Value) {
    move |object| drop(object.as_object_mut().unwrap().remove(key).unwrap())
}

#[test]
fn unknown_key_is_refused_by_its_path() {
    for (pointer, path) in [
        ("", "colour"),
        ("/sandboxes/shell", "sandboxes.shell.colour"),
        ("/sandboxes/shell/definition", "sandboxes.shell.definition.colour"),
        ("/sandboxes/shell/definition/security", "sandboxes.shell.definition.security.colour"),
        ("/sandboxes/shell/definition/hints", "sandboxes.shell.definition.hints.colour"),
    ] {
        let error = refusal("portable", pointer, |object| object["colour"] = json!("red"));
        assert!(error.starts_with(&format!("{path}: unknown field `colour`, expected")), "{error}");
    }
}

#[test]
fn missing_key_is_refused_by_its_name_and_place() {
    for (pointer, key, path) in [
        ("/sandboxes/shell", "definition", "sandboxes.shell"),
        ("/sandboxes/shell/definition", "timeout", "sandboxes.shell.definition"),
        ("/sandboxes/shell/definition/resources", "memory", "sandboxes.shell.definition.resources"),
    ] {
        let error = refusal("portable", pointer, remove(key));
        assert!(error.starts_with(&format!("{path}: missing field `{key}`")), "{error}");
    }
    let error = refusal("portable", "", remove("sandboxes"));
    assert!(error.starts_with("missing field `sandboxes`"), "{error}");
}

#[test]
fn value_of_wrong_type_or_size_is_refused() {
    for (key, value, reason) in [
        ("timeout", json!("60"), "invalid type: string \"60\", expected u32"),
        ("timeout", json!(-1), "invalid value: integer `-1`, expected u32"),
        ("timeout", json!(1.5), "invalid type: floating point `1.5`, expected u32"),
        ("resources.memory", json!(1_u64 << 40), "invalid value: integer `1099511627776`, expected u32"),
        ("command", json!("sh main.sh"), "invalid type: string \"sh main.sh\", expected a sequence"),
        ("command[1]", json!(7), "invalid type: integer `7`, expected a string"),
        ("hints.isReadOnly", json!("no"), "invalid type: string \"no\", expected a boolean"),
        ("security.network", json!(true), "invalid type: boolean `true`, expected `none`, `bridge` or a list"),
        ("security.network", json!(["a.org:1", "a.org:1"]), "`a.org:1` is listed twice: remove one"),
        (
            "security.network",
            json!("host"),
            "invalid value: string \"host\", expected `none`, `bridge` or a list of hosts and ports",
        ),
    ] {
        let pointer = format!("/sandboxes/shell/definition/{}", key.replace(['.', '['], "/").replace(']', ""));
        let error = refusal("portable", &pointer, |place| *place = value);
        assert!(error.starts_with(&format!("sandboxes.shell.definition.{key}: {reason}")), "{error}");
    }
}

#[test]
fn before_as_list_of_strings_is_one_service() {
    let mut value: Value = serde_json::from_str(&manifest("portable")).unwrap();
    value["sandboxes"]["shell"]["definition"]["before"] = json!(["nginx", "-p", "."]);
    let strings = generate(&value.to_string()).unwrap();
    value["sandboxes"]["shell"]["definition"]["before"] =
        json!([{ "name": "nginx", "command": ["nginx", "-p", "."], "deadline": 30 }]);
    assert!(strings.contains("Readiness::Returned"));
    assert_eq!(strings, generate(&value.to_string()).unwrap());
}

#[test]
fn ahead_with_services_is_refused() {
    let error = refusal("services", "/sandboxes/shell/definition/ahead", |place| *place = json!({"WAIT": "1"}));
    let reason = "a command with services in `before` cannot be started ahead of its call";
    assert!(error.starts_with(&format!("sandboxes.shell.definition.ahead: {reason}")), "{error}");
}

#[test]
fn wrong_service_is_refused_by_its_place() {
    for (key, value, reason) in [
        ("[0]", json!(7), "invalid type: integer `7`, expected a service, or an argument of the one command"),
        ("[1].ready", json!({ "prot": 1 }), "unknown field `prot`, expected `port` or `file`"),
        ("[2].deadline", json!(-1), "invalid value: integer `-1`, expected u32"),
    ] {
        let pointer = key.replace(['.', '['], "/").replace(']', "");
        let pointer = format!("/sandboxes/shell/definition/before{pointer}");
        let error = refusal("services", &pointer, |place| *place = value);
        assert!(error.starts_with(&format!("sandboxes.shell.definition.before{key}")), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn wrong_allow_list_entry_is_refused_with_its_path() {
    for (index, value, reason) in [
        (0, json!(443), "invalid type: integer `443`, expected a string"),
        (1, json!("example.org"), "network entry \"example.org\" has no port: write host:port"),
        (2, json!("10.0.0.1:443"), "network entry \"10.0.0.1:443\" names a private address (RFC 1918)"),
    ] {
        let pointer = format!("/sandboxes/shell/definition/security/network/{index}");
        let error = refusal("allow-list", &pointer, |place| *place = value);
        let place = format!("sandboxes.shell.definition.security.network[{index}]");
        assert!(error.starts_with(&format!("{place}: {reason}")), "{error}");
    }
}

#[test]
fn executor_that_no_definition_may_choose_is_refused() {
    for executor in ["direct", "derivation-cli"] {
        let error = refusal("allow-list", "/sandboxes/shell/definition", |definition| {
            definition["executor"] = json!(executor);
        });
        assert_eq!(error, "sandboxes.shell.definition.executor: it must be namespace or derivation");
    }
}

#[test]
fn sandbox_with_network_and_derivation_is_refused() {
    let error = refusal("allow-list", "/sandboxes/shell/definition", |definition| {
        definition["executor"] = json!("derivation");
    });
    assert_eq!(
        error,
        "sandboxes.shell.definition.executor: derivations run in Nix's build sandbox, which has no network: set `security.network` to \"none\""
    );
}

#[test]
fn unsupported_definition_is_refused_by_its_key() {
    for (key, value, reason) in [
        ("id", json!("bash"), "it is `bash`, but the sandbox is `shell`"),
        ("hostPrograms", json!(["sh", "/bin/sh"]), "a program is given by its name, without a directory"),
        ("hostPrograms", json!([""]), "a program is given by its name, without a directory"),
        ("security.capDrop", json!(["net_raw"]), "only [\"all\"] is offered"),
        ("security.capDrop", json!([]), "only [\"all\"] is offered"),
        ("security.securityOpt", json!([]), "only [\"no-new-privileges:true\"] is offered"),
        (
            "before",
            json!(["nginx", { "name": "a", "command": ["a"], "deadline": 1 }]),
            "services and arguments of a command cannot be mixed",
        ),
        (
            "before",
            json!([{ "name": "a", "command": [], "deadline": 1 }]),
            "a service needs a name and a program in its command",
        ),
        (
            "before",
            json!([{ "name": "a", "command": ["a"], "deadline": 0 }]),
            "the port and the deadline of a service must be at least 1",
        ),
        (
            "before",
            json!([{ "name": "a", "command": ["a"], "deadline": 1, "logs": ["log"] }]),
            "`logs` and `ready.file` of a service must be absolute paths",
        ),
        (
            "before",
            json!([{ "name": "a", "command": ["a"], "deadline": 1, "errors": [""] }]),
            "`errors` of a service holds an empty string",
        ),
        (
            "before",
            json!([{ "name": "a", "command": ["a"], "deadline": 1, "ready": { "port": 1, "file": "/a" } }]),
            "a service has `ready.port` or `ready.file`, not both",
        ),
        ("timeout", json!(0), "it must be at least 1"),
        ("resources.cpu", json!(0), "it must be at least 1"),
        ("resources.memory", json!(0), "it must be at least 1"),
        ("resources.processes", json!(0), "it must be at least 1"),
        ("resources.files", json!(0), "it must be at least 1"),
        ("user", json!("root:x:0:0\n"), "a user name has"),
        ("command", json!([]), "the first argument must name a program"),
        ("command", json!(["sh", "a\0b"]), "an argument holds a NUL character"),
        ("mount.workdir", json!("/home"), "it must be /sandbox or a directory below it"),
        ("mount.workdir", json!("/sandbox/../etc"), "it must be /sandbox or a directory below it"),
        ("mount.workdir", json!("/sandboxes"), "it must be /sandbox or a directory below it"),
        ("mount.scriptPerms", json!("4755"), "it must be an octal mode"),
        ("mount.scriptPerms", json!("+755"), "it must be an octal mode"),
        ("variables", json!({"A=B": ""}), "a name is empty or holds `=`"),
        ("ahead", json!({"A=B": ""}), "a name is empty or holds `=`"),
        (
            "entrypoint",
            json!("../main.sh"),
            "the file `../main.sh` gives the parameter `__/main_sh`, which is not an identifier",
        ),
        ("entrypoint", json!("files"), "the file `files` gives the parameter `files`, which is taken"),
    ] {
        let pointer = format!("/sandboxes/shell/definition/{}", key.replace('.', "/"));
        let error = refusal("portable", &pointer, |place| *place = value);
        assert!(error.starts_with(&format!("sandboxes.shell.definition.{key}: {reason}")), "{error}");
    }
}

#[test]
fn file_that_would_take_the_parameter_of_another_is_refused() {
    let error = refusal("portable", "/sandboxes/shell/definition/parameters/files", |files| {
        *files = json!([{ "name": "main_sh", "description": "" }]);
    });
    assert_eq!(
        error,
        "sandboxes.shell.definition.parameters.files: the file `main_sh` gives the parameter `main_sh`, which is taken"
    );
}

#[test]
fn manifest_of_another_format_is_refused_with_both_numbers() {
    let error = refusal("portable", "/format", |format| *format = json!(2));
    assert_eq!(error, "format: it is 2, but this version reads format 1");
}

#[test]
fn path_outside_the_store_is_refused_by_its_key() {
    let out = "/sandboxes/go/environment/out";
    for (path, reason) in [
        ("/usr", "`/usr` is not a store path: it does not start with /nix/store/"),
        ("/nix/store/short-go", "`/nix/store/short-go` is not a store path: its hash is not 32 digits"),
    ] {
        let error = refusal("pinned", out, |place| *place = json!(path));
        assert!(error.starts_with(&format!("sandboxes.go.environment.out: {reason}")), "{error}");
    }
}

#[test]
fn either_all_sandboxes_have_an_environment_or_none_has() {
    let reason = "every sandbox must have an environment if the manifest has a system, and none if not";
    let error = refusal("pinned", "/sandboxes/network-tools/environment", |place| *place = Value::Null);
    assert_eq!(error, format!("sandboxes.network-tools.environment: {reason}"));
    let error = refusal("pinned", "/system", |place| *place = Value::Null);
    assert_eq!(error, format!("sandboxes.go.environment: {reason}"));
    assert_eq!(refusal("portable", "/sandboxes", |place| *place = json!({})), "sandboxes: there must be at least one");
}

#[test]
fn manifest_has_an_archive_where_it_has_a_system() {
    let reason = "archive: a manifest must have both a system and an archive of its derivations, or neither";
    assert_eq!(refusal("pinned", "/archive", |place| *place = Value::Null), reason);
    assert_eq!(refusal("portable", "", |manifest| manifest["archive"] = json!("/archive")), reason);
}

#[test]
fn package_set_unknown_or_repeated_is_refused() {
    for (sets, reason) in [
        (json!(["commands", "perl"]), "unknown package set `perl`"),
        (json!(["commands", "commands"]), "`commands` is listed twice"),
    ] {
        let error = refusal("pinned", "/sandboxes/go/definition/packageSets", |place| *place = sets);
        assert_eq!(error, format!("sandboxes.go.definition.packageSets: {reason}"));
    }
}

#[test]
fn wrong_set_of_packages_is_refused_by_its_key() {
    let package = |out: &str| {
        let drv = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-jq.drv";
        json!({"version": "", "description": "", "environment": {"drv": drv, "out": out}})
    };
    let jq = package("/nix/store/zyxwvsrqpnmlkjihgfdcba9876543210-jq");
    for (key, value, error) in [
        ("searchPaths", json!({"PATH": "../bin"}), ".searchPaths.PATH: `../bin` must be a directory within a package"),
        ("searchPaths", json!({"PATH": "/bin"}), ".searchPaths.PATH: `/bin` must be a directory within a package"),
        ("searchPaths", json!({"A=B": "bin"}), ".searchPaths: a name is empty or holds `=`"),
        ("packages", json!({"a b": jq}), ".packages.a b: a name has letters, digits and `+-._` only"),
        ("packages", json!({"": jq}), ".packages.: a name has letters"),
        ("packages", json!({"jq": package("/usr")}), ".packages.jq.environment.out: `/usr` is not a store path"),
    ] {
        let found = refusal("pinned", &format!("/packageSets/commands/{key}"), |place| *place = value);
        assert!(found.starts_with(&format!("packageSets.commands{error}")), "{found}");
    }
}

#[test]
fn manifest_without_a_system_has_no_packages() {
    let sets = json!({"commands": {"description": "", "searchPaths": {}, "packages": {}}});
    let error = refusal("portable", "", |manifest| manifest["packageSets"] = sets);
    assert_eq!(error, "packageSets.commands: a manifest without a system has no packages");
}

/// The portable manifest with its sandbox under other ids.
fn renamed(ids: &[&str]) -> Result<String, String> {
    let mut value: Value = serde_json::from_str(&manifest("portable")).unwrap();
    let shell = value["sandboxes"]["shell"].take();
    value["sandboxes"] = json!({});
    for id in ids {
        value["sandboxes"][id] = shell.clone();
        value["sandboxes"][id]["definition"]["id"] = json!(id);
    }
    generate(&value.to_string())
}

#[test]
fn ids_whose_structs_would_meet_are_refused() {
    let error = renamed(&["a1", "a-1"]).unwrap_err();
    assert_eq!(error, "sandboxes.a1: its struct would be named A1Arguments, as that of `a-1` is: rename one");
}

#[test]
fn id_that_is_no_name_is_refused() {
    for id in ["", "Shell", "7zip", "a_b", "a b", "-a", &"a".repeat(65)] {
        let error = renamed(&[id]).unwrap_err();
        assert!(error.starts_with(&format!("sandboxes.{id}: an id has")), "{error}");
    }
}

#[test]
fn struct_names_differ_from_every_type_of_the_server() {
    let mut used = Vec::new();
    for case in ["pinned", "allow-list", "services"] {
        type_names(generate(&manifest(case)).unwrap().parse().unwrap(), &mut used);
    }
    assert!(used.contains(&"Sandbox".into()) && used.contains(&"GoArguments".into()), "{used:?}");
    used.retain(|name| name.ends_with("Arguments") && name != "Arguments");
    used.sort();
    used.dedup();
    assert_eq!(used, ["GoArguments", "NetworkToolsArguments", "ShellArguments"]);
}

#[test]
fn file_named_like_an_option_takes_the_place_of_the_option() {
    let mut value: Value = serde_json::from_str(&manifest("portable")).unwrap();
    value["sandboxes"]["shell"]["definition"]["parameters"]["files"] = json!([{ "name": "cache", "description": "" }]);
    let generated = generate(&value.to_string()).unwrap();
    assert_eq!(generated.matches("name: \"cache\"").count(), 1);
    assert!(generated.contains("cache: Default::default()") && generated.contains("(\"cache\", Some(self.cache))"));
}

/// All identifiers that begin with a capital letter.
fn type_names(tokens: TokenStream, names: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => type_names(group.stream(), names),
            TokenTree::Ident(ident) if ident.to_string().starts_with(|first: char| first.is_ascii_uppercase()) => {
                names.push(ident.to_string());
            }
            _ => {}
        }
    }
}
