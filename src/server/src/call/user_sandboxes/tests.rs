use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{WithUserSandboxes, add};
use crate::call::argument_error::ArgumentErrors;
use crate::call::arguments::{NamedFiles, RequestedOptions};
use crate::call::catalog::catalog;
use crate::call::config_finding::{ConfigFinding, Severity};
use crate::call::definition::{Network, Sandbox};
use crate::call::job::Job;
use crate::call::options::OfferedOptions;
use crate::call::packages::NoPackages;
use crate::call::tool::{Tool, ToolSource};

/// A directory of configuration.
struct Configuration(TempDir);

impl Configuration {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("make a directory"))
    }

    fn write(self, path: &str, content: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below")).expect("make a directory");
        fs::write(path, content).expect("write a file");
        self
    }

    fn sandbox(self, name: &str, config: &Value) -> Self {
        self.write(&format!("sandboxes/{name}/config.json"), &config.to_string())
    }

    fn load(&self) -> WithUserSandboxes {
        add(catalog().tools, Some(self.0.path()))
    }
}

/// The smallest config.
fn smallest() -> Value {
    json!({
        "id": "perl",
        "image": "sandbox-mcp/shell:latest",
        "entrypoint": "main.pl",
        "command": ["perl", "main.pl"],
    })
}

/// The config of the Docker-based server for a tool of one file, in other words.
fn original(id: &str, entrypoint: &str, command: &[&str], network: &str, read_only: bool) -> Value {
    json!({
        "id": id,
        "name": format!("Own {id}"),
        "description": "Runs code",
        "hints": {"isDestructive": false, "isIdempotent": true},
        "version": "0.2.0",
        "image": format!("sandbox-mcp/{id}:latest"),
        "user": "sandbox",
        "entrypoint": entrypoint,
        "timeout": 90,
        "command": command,
        "parameters": {"additionalFiles": true},
        "security": {
            "readOnly": read_only,
            "capDrop": ["all"],
            "securityOpt": ["no-new-privileges:true"],
            "network": network,
        },
        "resources": {"cpu": 1, "memory": 64, "processes": 64, "files": 96},
        "mount": {
            "workdir": "/sandbox",
            "tmpdirPrefix": "sandbox-mcp-",
            "scriptPerms": "0755",
            "readOnly": read_only,
        },
    })
}

fn tool<'a>(loaded: &'a WithUserSandboxes, id: &str) -> &'a Tool {
    loaded.tools.iter().find(|tool| tool.sandbox.id == id).unwrap_or_else(|| panic!("no {id}: {:?}", loaded.findings))
}

/// Changes the value at a pointer of the smallest config, and returns what is said of it.
fn findings(pointer: &str, value: Value) -> Vec<(Severity, String, String)> {
    let mut config = smallest();
    let (above, key) = pointer.rsplit_once('/').expect("a pointer");
    let mut place = &mut config;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        place = &mut place[part];
    }
    place[key] = value;
    let loaded = Configuration::new().sandbox("perl", &config).load();
    loaded.findings.into_iter().map(|ConfigFinding { key, reason, severity, .. }| (severity, key, reason)).collect()
}

#[test]
fn smallest_config_becomes_a_tool_of_its_environment() {
    let configuration = Configuration::new().sandbox("perl", &smallest());
    let loaded = configuration.load();
    assert_eq!((loaded.tools.len(), loaded.findings.len()), (catalog().tools.len() + 1, 0), "{:?}", loaded.findings);
    assert!(loaded.tools.is_sorted_by_key(|tool| tool.sandbox.id));
    let (tool, shell) = (tool(&loaded, "perl"), &Tool::by_name("shell").unwrap().sandbox);
    let file = configuration.0.path().join("sandboxes/perl/config.json");
    assert!(matches!(tool.source, ToolSource::File(path) if path == file));
    let Sandbox { name, environment_id, timeout, resources, network, command, .. } = tool.sandbox;
    assert_eq!((name, environment_id, command), ("perl", "shell", &["perl", "main.pl"][..]));
    assert_eq!((timeout, resources, network), (shell.timeout, shell.resources, Network::None));
    assert_eq!(tool.sandbox.variables, shell.variables);
    assert_eq!(tool.sandbox.host_programs, ["sh", "perl"]);
    let names: Vec<&str> = tool.sandbox.parameters.iter().map(|parameter| parameter.name).collect();
    let shell_names = shell.parameters.iter().map(|parameter| parameter.name);
    let options: Vec<&str> = shell_names.skip_while(|name| *name != "stdin").collect();
    assert_eq!(names, [vec!["main_pl"], options].concat());
    assert_eq!(tool.sandbox.parameters[0].description, "Code, saved as `main.pl` and run by `perl main.pl`");
}

#[test]
fn original_configs_take_the_place_of_built_in_tools() {
    let mut go = original("go", "main.go", &["go", "run", "main.go"], "none", false);
    go["parameters"]["files"] = json!([{"name": "go.mod", "description": "Go module file"}]);
    go["mount"]["workdir"] = json!("/sandbox/src");
    let mut apisix = original("apisix", "main.sh", &[], "bridge", false);
    apisix["before"] = json!(["docker-start"]);
    apisix["command"] =
        json!(["sh", "-c", "sleep 2 && mv -f apisix.yaml /usr/local/apisix/conf/apisix.yaml && sleep 2 && sh main.sh"]);
    apisix["parameters"]["files"] = json!([{"name": "apisix.yaml", "description": "Routes"}]);
    let loaded = Configuration::new()
        .sandbox("apisix", &apisix)
        .sandbox("go", &go)
        .sandbox("java", &original("java", "main.java", &["java", "--enable-preview", "main.java"], "none", false))
        .sandbox("javascript", &original("javascript", "index.js", &["node", "index.js"], "none", false))
        .sandbox("network-tools", &original("network-tools", "main.sh", &["sh", "main.sh"], "bridge", true))
        .sandbox("python", &original("python", "main.py", &["python", "main.py"], "none", false))
        .sandbox("rust", &original("rust", "main.rs", &["sh", "-c", "rustc -o main main.rs && ./main"], "none", false))
        .sandbox("shell", &original("shell", "main.sh", &["sh", "main.sh"], "none", true))
        .load();
    assert!(loaded.findings.iter().all(|finding| finding.severity != Severity::Broken), "{:?}", loaded.findings);
    let ids = |tools: &[Tool]| tools.iter().map(|tool| tool.sandbox.id).collect::<Vec<_>>();
    assert_eq!(ids(&loaded.tools), ids(catalog().tools));
    for tool in &loaded.tools {
        assert_ne!(tool.source, ToolSource::BuiltIn, "{}", tool.sandbox.id);
        let is_said = |severity| {
            let of = |finding: &&ConfigFinding| finding.file.ends_with(format!("{}/config.json", tool.sandbox.id));
            loaded.findings.iter().filter(of).any(|finding| finding.severity == severity)
        };
        assert!(
            is_said(Severity::Replaces) && is_said(Severity::Doubtful),
            "{}: {:?}",
            tool.sandbox.id,
            loaded.findings
        );
        assert_eq!(tool.sandbox.timeout.as_secs(), 90);
    }
    let files: Vec<_> = tool(&loaded, "go").sandbox.named_files().collect();
    assert_eq!(files, [("main_go", "main.go"), ("go_mod", "go.mod")]);
    let python = &tool(&loaded, "python").sandbox;
    assert_eq!(python.ahead, Tool::by_name("python").unwrap().sandbox.ahead, "its command is the environment's own");
    let gateway = &tool(&loaded, "apisix").sandbox;
    let own = &Tool::by_name("apisix").unwrap().sandbox;
    assert_eq!((gateway.services[0].command, gateway.command), (own.services[0].command, own.command));
    let (tools, shell) = (tool(&loaded, "network-tools").sandbox, tool(&loaded, "shell").sandbox);
    assert_eq!((tools.network, tools.annotations().open_world), (Network::Bridge, true));
    assert!(shell.read_only && shell.annotations().read_only && !python.annotations().read_only);
}

#[test]
fn hints_of_a_config_go_before_its_other_keys() {
    let mut config = smallest();
    config["hints"] =
        json!({"isReadOnly": false, "isDestructive": true, "isIdempotent": false, "isExternalInteraction": true});
    config["security"] = json!({"readOnly": true});
    let annotations = tool(&Configuration::new().sandbox("perl", &config).load(), "perl").sandbox.annotations();
    assert!(!annotations.read_only && annotations.destructive && !annotations.idempotent && annotations.open_world);
}

#[test]
fn call_of_a_config_tool_is_parsed_by_its_parameters() {
    let mut config = smallest();
    config["parameters"] = json!({"additionalFiles": true, "files": [{"name": "data.csv", "description": "Rows"}]});
    let loaded = Configuration::new().sandbox("perl", &config).load();
    let tool: &'static Tool = Box::leak(Box::new(*tool(&loaded, "perl")));
    let job = |arguments: Value| -> Result<Job, ArgumentErrors> {
        let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
        tool.job(arguments, OfferedOptions { executor: false, packages: Err(NoPackages::Unpinned) })
    };
    let given = json!({
        "files": [{"filename": "lib/a.pm", "content": "1"}],
        "data_csv": "1,2",
        "main_pl": "print 1",
    });
    let files = job(given).unwrap().files;
    let names: Vec<&Path> = files.iter().map(|file| file.name.as_path()).collect();
    assert_eq!(names, ["main.pl", "data.csv", "lib/a.pm"].map(Path::new));
    for (given, error) in [
        (json!({"main_pl": "1"}), "data.csv file is required"),
        (json!({"main_pl": "", "data_csv": "1"}), "main.pl file is required"),
        (
            json!({"main_pl": "1", "data_csv": "1", "timeout_seconds": 61}),
            "parameter `timeout_seconds` must be at most 60",
        ),
    ] {
        let refused = job(given).unwrap_err().to_string();
        assert!(refused.starts_with(error), "{refused}");
    }
}

#[test]
fn broken_config_is_reported_and_affects_no_other() {
    let loaded = Configuration::new()
        .sandbox("perl", &smallest())
        .write("sandboxes/broken/config.json", "{\n  \"id\": \"broken\",\n}")
        .write("sandboxes/empty/README", "no config")
        .write("sandboxes/.git/HEAD", "hidden")
        .write("sandboxes/file", "no directory")
        .load();
    assert_eq!(loaded.tools.len(), catalog().tools.len() + 1);
    let said: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    let [broken, empty] = said.as_slice() else { panic!("{said:?}") };
    assert!(
        broken.contains("sandboxes/broken/config.json: it is not valid JSON: ") && broken.contains("line 3"),
        "{broken}"
    );
    assert!(empty.contains("sandboxes/empty/config.json: cannot read it: No such file"), "{empty}");
}

#[test]
fn wrong_key_or_value_is_reported_by_its_path() {
    for (pointer, value, key, reason) in [
        ("/comand", json!(["sh"]), "comand", "unknown key; the nearest is `command`"),
        ("/security/readonly", json!(true), "security.readonly", "unknown key; the nearest is `readOnly`"),
        ("/parameters/files", json!([{"nam": "x"}]), "parameters.files[0].nam", "the nearest is `name`"),
        ("/parameters/files", json!([{}]), "parameters.files[0]", "missing field `name`"),
        ("/id", json!("Perl"), "id", "lower-case letters"),
        ("/id", json!(null), "id", "it is missing"),
        ("/entrypoint", json!("../main.pl"), "entrypoint", "is no file name"),
        ("/entrypoint", json!("src/main.pl"), "entrypoint", "is no file name"),
        ("/command", json!([]), "command", "must name a program"),
        ("/command", json!("perl"), "command", "invalid type"),
        ("/timeout", json!("60"), "timeout", "invalid type"),
        ("/timeout", json!(0), "timeout", "at least 1"),
        ("/image", json!("python:3"), "image", "names no pinned environment"),
        ("/image", json!("sandbox-mcp/python:3"), "image", "names no pinned environment"),
        ("/image", json!("sandbox-mcp/pyton:latest"), "image", "the nearest is `python`"),
        ("/image", json!(null), "image", "it is missing; write"),
        ("/resources/memory", json!(-1), "resources.memory", "invalid value"),
        ("/resources/disk", json!(1), "resources.disk", "unknown key"),
        ("/security/network", json!("host"), "security.network", "expected `none`, `bridge` or a list"),
        ("/security/capDrop", json!("all"), "security.capDrop", "list of strings"),
        ("/mount/workdir", json!("/work"), "mount.workdir", "/sandbox or a directory below"),
        ("/mount/scriptPerms", json!("rwx"), "mount.scriptPerms", "octal"),
        ("/mount/tmpdirPrefix", json!(7), "mount.tmpdirPrefix", "a string"),
        ("/parameters/files", json!([{"name": "main.pl"}]), "parameters.files", "which is taken"),
        ("/before", json!([7]), "before[0]", "invalid type"),
        ("/before", json!(["docker-start"]), "before", "this environment has none"),
        ("/name", json!("a\u{1b}[31mb"), "name", "control character"),
        ("/name", json!("x".repeat(201)), "name", "200 at most"),
        ("/description", json!("x".repeat(10_001)), "description", "10000 at most"),
        ("/command", json!(["sh", "-c", "x".repeat(200_000)]), "command", "use a file"),
        ("/resources/cpu", json!(4097), "resources.cpu", "from 1 to 4096"),
        ("/resources/processes", json!(3), "resources.processes", "from 4 to"),
        ("/resources/files", json!(8), "resources.files", "from 16 to"),
        ("/entrypoint", json!("args"), "entrypoint", "`args` is taken"),
        ("/entrypoint", json!("stdin.encoding"), "entrypoint", "is taken"),
        ("/entrypoint", json!("out"), "entrypoint", "is taken"),
        ("/parameters/files", json!([{"name": "executor"}]), "parameters.files", "is taken"),
        ("/mount/workdir", json!("/sandbox/out"), "mount.workdir", "are returned"),
    ] {
        let found = findings(pointer, value.clone());
        let [(Severity::Broken, found_key, found_reason)] = found.as_slice() else {
            panic!("{pointer} = {value}: {found:?}");
        };
        assert!(found_key == key && found_reason.contains(reason), "{pointer} = {value}: {found:?}");
    }
}

#[test]
fn shell_that_passes_on_no_arguments_has_no_parameter_for_them() {
    for (command, takes) in [(json!(["sh", "-c", "perl main.pl"]), false), (json!(["sh", "main.pl"]), true)] {
        let mut config = smallest();
        config["command"] = command;
        let loaded = Configuration::new().sandbox("perl", &config).load();
        let tool = tool(&loaded, "perl");
        assert_eq!(tool.sandbox.parameters.iter().any(|parameter| parameter.name == "args"), takes);
        let tool: &'static Tool = Box::leak(Box::new(*tool));
        let mut files = NamedFiles::default();
        files.add("main.pl".to_owned(), "1".into(), false);
        let options = RequestedOptions { args: vec!["a".to_owned()], ..RequestedOptions::default() };
        let refused = tool.job_of_files(files, options).err().map(|error| error.to_string());
        assert_eq!(refused.is_none(), takes);
        assert!(refused.is_none_or(|error| error.contains("passes on no arguments")));
    }
}

#[test]
fn key_that_is_there_twice_and_odd_files_are_refused() {
    let twice = smallest().to_string().replacen('{', "{\"id\": \"other\", ", 1);
    let configuration = Configuration::new().write("sandboxes/perl/config.json", &twice);
    let directory = configuration.0.path().join("sandboxes");
    fs::create_dir(directory.join("zero")).unwrap();
    symlink("/dev/zero", directory.join("zero/config.json")).unwrap();
    let loaded = configuration.load();
    let said: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    let [doubled, zero] = said.as_slice() else { panic!("{said:?}") };
    assert!(doubled.contains("the key `id` is there twice"), "{doubled}");
    assert!(zero.contains("not a regular file"), "{zero}");
    assert_eq!(loaded.left_out, ["perl", "perl", "zero"]);
}

#[test]
fn what_has_no_meaning_here_is_accepted_and_told() {
    for (pointer, value, key) in [
        ("/user", json!("1000:1000"), "user"),
        ("/user", json!("root"), "user"),
        ("/security/capDrop", json!(["net_raw"]), "security.capDrop"),
        ("/security/capDrop", json!([]), "security.capDrop"),
        ("/security/securityOpt", json!(["seccomp=unconfined"]), "security.securityOpt"),
        ("/resources/memory", json!(16), "resources"),
    ] {
        let found = findings(pointer, value.clone());
        let [(Severity::Doubtful, found_key, _)] = found.as_slice() else { panic!("{pointer} = {value}: {found:?}") };
        assert_eq!(found_key, key, "{value}");
    }
    for (pointer, value) in [
        ("/security/capDrop", json!(["ALL"])),
        ("/security/securityOpt", json!(["no-new-privileges:true"])),
        ("/$schema", json!("https://example.org/schema.json")),
        ("/security/network", json!(["example.org:443"])),
        ("/timeout", json!(null)),
    ] {
        assert_eq!(findings(pointer, value.clone()), [], "{pointer} = {value}");
    }
}

#[test]
fn two_configs_of_one_id_leave_the_first() {
    let loaded = Configuration::new().sandbox("a", &smallest()).sandbox("b", &smallest()).load();
    let said: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&said[..], [one] if one.contains("b/config.json: id: `perl` is the id of ") && one.contains("/a/")),
        "{said:?}"
    );
    assert!(matches!(tool(&loaded, "perl").source, ToolSource::File(path) if path.ends_with("a/config.json")));
}

#[test]
fn directory_that_is_named_like_the_sandbox_has_its_id() {
    let loaded = Configuration::new().sandbox("a", &smallest()).sandbox("perl", &smallest()).load();
    let said: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&said[..], [one] if one.contains("a/config.json: id: `perl` is the id of ") && one.contains("/perl/")),
        "{said:?}"
    );
    assert!(matches!(tool(&loaded, "perl").source, ToolSource::File(path) if path.ends_with("perl/config.json")));
}

#[test]
fn sandboxes_path_names_another_directory() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("perl")).unwrap();
    fs::write(elsewhere.path().join("perl/config.json"), smallest().to_string()).unwrap();
    let with = |config: &Value| {
        let mut other = smallest();
        other["id"] = json!("usual");
        Configuration::new().sandbox("usual", &other).write("config.json", &config.to_string()).load()
    };
    let has = |loaded: &WithUserSandboxes, id: &str| loaded.tools.iter().any(|tool| tool.sandbox.id == id);
    let loaded = with(&json!({"sandboxesPath": elsewhere.path()}));
    assert!(has(&loaded, "perl") && !has(&loaded, "usual") && loaded.findings.is_empty(), "{:?}", loaded.findings);
    for (config, reason) in [
        (json!({"sandboxesPath": "relative"}), "config.json: sandboxesPath: it must be the absolute path"),
        (json!({"sandboxPath": "/x"}), "config.json: sandboxPath: unknown key; the nearest is `sandboxesPath`"),
        (json!([]), "config.json: it must be an object"),
        (
            json!({"sandboxesPath": "/no/such/directory"}),
            "config.json: sandboxesPath: /no/such/directory is not a directory",
        ),
    ] {
        let loaded = with(&config);
        let said: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
        assert!(matches!(&said[..], [one] if one.contains(reason)), "{config}: {said:?}");
    }
    assert!(has(&with(&json!({})), "usual"));
}

#[test]
fn no_configuration_leaves_the_built_in_tools() {
    for configuration in [None, Some(Path::new("/no/such/directory"))] {
        let loaded = add(catalog().tools, configuration);
        assert_eq!((loaded.tools.len(), loaded.findings.len()), (catalog().tools.len(), 0));
    }
}
