//! The operator's settings: options before and after a command, the configuration file, and what is said of them.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::command_line::sandbox_mcp;
use crate::protocol::tools;
use test_support::client::{Server, configuration, program};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tool(server: &Server, name: &str) -> Value {
    let mut listed = tools(server).into_iter();
    listed.find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("{name} is not listed"))
}

fn description(server: &Server, name: &str) -> String {
    tool(server, name)["description"].as_str().expect("a description").to_owned()
}

/// Runs the program with files in its directory of configuration.
fn with_files(files: &[(&str, &str)], variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let configuration = configuration(files);
    let mut command = Command::new(program());
    command.args(arguments).env("XDG_CONFIG_HOME", configuration.path()).stdin(Stdio::null());
    command.envs(variables.iter().copied());
    command.output().expect("start it")
}

#[test]
fn limit_is_in_force_and_told_everywhere() {
    let server = Server::ready(&["--limit", "shell.timeout=1", "--limit", "shell.memory=100", "--limit=shell.cpu=2"]);
    let told = description(&server, "shell");
    assert!(told.contains(": 2 CPU cores, 100 MB RAM, 50 MB disk, ") && told.contains(", 1 seconds, "), "{told}");
    let reply = server.sh("echo begun; sleep 60");
    assert!(reply.is_error() && reply.text_content().contains("execution timeout after 1 seconds"), "{reply}");
    assert!(reply.text_content().contains("begun"), "{reply}");
    let listed = sandbox_mcp(&["list", "--limit", "shell.timeout=300"], "");
    assert!(text(&listed.stdout).contains("300 s"), "{listed:?}");
    let report = sandbox_mcp(&["--limit", "shell.timeout=300", "doctor"], "");
    assert!(text(&report.stdout).contains("shell.timeout=300"), "{report:?}");
}

#[test]
fn limit_may_be_higher_than_the_definition() {
    let server = Server::ready(&["--limit", "shell.timeout=300", "--limit", "shell.memory=1000"]);
    let told = description(&server, "shell");
    assert!(told.contains("1000 MB RAM") && told.contains(", 300 seconds, "), "{told}");
    // More than the definition lets it hold.
    let reply = server.sh("x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}");
    assert_eq!(reply.output(), "300000000\n");
    // `--timeout` bounds what `--limit` has raised.
    let server = Server::ready(&["--limit", "shell.timeout=300", "--timeout", "100"]);
    assert!(description(&server, "shell").contains(", 100 seconds, "));
}

#[test]
fn limit_of_the_disk_bounds_files() {
    let server = Server::ready(&["--limit", "shell.disk=5"]);
    let reply = server.sh("head -c 20000000 /dev/zero > /tmp/big; stat -c %s /tmp/big");
    // Without namespaces no file system is the sandbox's own.
    if reply.field("walls").to_string().contains("namespaces") || reply.field("executor") != "direct" {
        let size: u64 = reply.text_content().lines().next().and_then(|line| line.parse().ok()).expect("a size");
        assert!(size <= 5 << 20, "{reply}");
    }
}

#[test]
fn allowed_host_gives_a_tool_its_network() {
    if crate::is_by_nix() {
        return;
    }
    let server = Server::ready(&["--allow", "shell=allowed.example.org:443", "--allow=shell=*.example.net:80"]);
    let tool = tool(&server, "shell");
    let told = tool["description"].as_str().expect("a description");
    assert!(told.contains("network access only to `allowed.example.org:443` and `*.example.net:80`"), "{told}");
    assert_eq!(
        (&tool["annotations"]["openWorldHint"], &tool["annotations"]["readOnlyHint"]),
        (&json!(true), &json!(false))
    );
    let reply = server.sh("echo $SSL_CERT_FILE");
    if reply.field("environment") != "host" {
        let reply = server.sh("grep -c 'BEGIN CERTIFICATE' $SSL_CERT_FILE; ls /etc/ssl/certs");
        let (count, names) = reply.output().split_once('\n').expect("two lines");
        assert!(count.parse::<u32>().expect("a number") > 50, "{reply}");
        assert_eq!(names, "ca-bundle.crt\nca-certificates.crt\n");
    }
}

#[test]
fn setting_that_names_no_tool_is_refused_with_the_nearest() {
    for (arguments, error) in [
        (
            &["--limit", "pyton.timeout=3"][..],
            "cannot set pyton.timeout=3: there is no tool `pyton`; the nearest is `python`",
        ),
        (
            &["list", "--allow", "shel=a.org:443"],
            "cannot set shel=a.org:443: there is no tool `shel`; the nearest is `shell`",
        ),
        (&["--allow", "network-tools=a.org:443"], "reaches every host already"),
        (&["--limit", "shell.disk=9999"], "cannot set shell.disk to 9999 MB"),
    ] {
        let output = sandbox_mcp(arguments, "");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(
            text(&output.stderr).starts_with(&format!("sandbox-mcp: {error}")) || text(&output.stderr).contains(error)
        );
    }
}

#[test]
fn setting_stands_before_or_after_a_command() {
    for arguments in [
        &["--limit", "shell.timeout=1", "run", "shell", "-"][..],
        &["run", "--limit", "shell.timeout=1", "shell", "-"],
        &["--timeout", "1", "run", "shell", "-"],
        &["--timeout", "900", "run", "--timeout", "1", "shell", "-"],
        &["--limit", "shell.timeout=1", "run", "--limit", "python.timeout=900", "shell", "-"],
    ] {
        let output = sandbox_mcp(arguments, "sleep 60");
        assert_eq!(output.status.code(), Some(124), "{arguments:?}: {output:?}");
    }
    let output = sandbox_mcp(&["--executor", "nonsense", "run", "shell", "-"], "true");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn option_goes_before_variable_before_file() {
    let file = [("config.toml", "executor = \"docker\"")];
    let wrong = with_files(&file, &[], &["list"]);
    assert_eq!(wrong.status.code(), Some(125));
    let error = text(&wrong.stderr);
    assert!(error.contains("sandbox-mcp/config.toml: executor: the executors are auto"), "{error}");

    // With the executor `namespace`, a server without environments lists nothing, and others lack no toolchain.
    let file =
        [("config.toml", "executor = \"direct\"\ntimeout = 7\nlimit.shell.timeout = 300\nlimit.shell.memory = 99")];
    let said = |variables: &[(&str, &str)], arguments: &[&str]| text(&with_files(&file, variables, arguments).stdout);
    let from_file = said(&[("SANDBOX_MCP_EXECUTOR", "")], &["list"]);
    assert!(from_file.contains("7 s") && from_file.contains("99 MB"), "{from_file}");
    let doctor = |variables: &[(&str, &str)], arguments: &[&str]| said(variables, &[arguments, &["doctor"]].concat());
    let report = doctor(&[("SANDBOX_MCP_EXECUTOR", "")], &[]);
    assert!(report.contains("(executor `direct`)") && report.contains("sandbox-mcp/config.toml"), "{report}");
    let report = doctor(&[("SANDBOX_MCP_EXECUTOR", "namespace")], &[]);
    assert!(!report.contains("(executor `direct`)"), "{report}");
    let report = doctor(&[("SANDBOX_MCP_EXECUTOR", "namespace")], &["--executor", "direct"]);
    assert!(report.contains("(executor `direct`)"), "{report}");
    let listed = said(&[], &["--timeout", "5", "list", "--limit", "shell.memory=77"]);
    assert!(listed.contains("5 s") && listed.contains("77 MB") && !listed.contains("99 MB"), "{listed}");
}

#[test]
fn configuration_file_is_named_by_option_or_variable() {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("other.toml");
    std::fs::write(&file, "limit.shell.memory = 88").expect("write a file");
    let path = file.to_str().expect("a path of UTF-8");
    for (variables, arguments) in [
        (&[][..], &["--config", path, "list"][..]),
        (&[], &["list", "--config", path]),
        (&[("SANDBOX_MCP_CONFIG", path)], &["list"]),
        (&[("SANDBOX_MCP_CONFIG", "/no/such/file")], &["--config", path, "list"]),
    ] {
        let output = with_files(&[("config.toml", "limit.shell.memory = 99")], variables, arguments);
        assert!(text(&output.stdout).contains("88 MB"), "{arguments:?}: {output:?}");
    }
    let missing = sandbox_mcp(&["--config", "/no/such/file", "list"], "");
    assert_eq!(missing.status.code(), Some(125));
    assert!(text(&missing.stderr).contains("cannot read /no/such/file: "), "{missing:?}");
}

#[test]
fn limit_of_a_tool_whose_config_is_broken_stops_nothing() {
    let files = [("config.toml", "limit.broken.timeout = 7"), ("sandboxes/broken/config.json", "{")];
    let output = with_files(&files, &[], &["list"]);
    assert!(output.status.success() && text(&output.stderr).contains("is left out"), "{output:?}");
    let files = [("config.toml", "limit.other.timeout = 7"), files[1]];
    assert_eq!(with_files(&files, &[], &["list"]).status.code(), Some(125));
}

#[test]
fn receipt_has_the_time_that_the_operator_allows() {
    let script = tempfile::NamedTempFile::new().expect("make a file");
    let path = script.path().to_str().expect("a path of UTF-8");
    let receipt = |arguments: &[&str]| {
        let output = with_files(&[], &[], &[&["show-derivation", "shell", path], arguments].concat());
        output.status.success().then(|| text(&output.stdout))
    };
    let Some(usual) = receipt(&[]) else { return };
    assert!(usual.contains("(\"timeout\",\"60\")"), "{usual}");
    let bounded = receipt(&["--timeout", "3"]).expect("it has one, too");
    assert!(bounded.contains("(\"timeout\",\"3\")"), "{bounded}");
}

#[test]
fn help_groups_the_settings() {
    for arguments in [&["-h"][..], &["run", "-h"]] {
        let help = text(&sandbox_mcp(arguments, "").stdout);
        let (others, settings) = help.split_once("\nSettings:\n").expect("a heading");
        for option in ["--config <FILE>", "--limit <TOOL.KEY=VALUE>", "--executor <EXECUTOR>"] {
            assert!(settings.contains(option) && !others.contains(option), "{option}: {help}");
        }
        assert!(others.contains("--help") && !settings.contains("--help"), "{help}");
    }
}
