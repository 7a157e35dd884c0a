//! Tests against a real Nix on a temporary store.

use std::fs;
use std::process::Output;

use libtest_mimic::Failed;
use nix_store::derivation::Derivation;
use nix_store::hash::{derivation_path, source_path};
use nix_store::nar::Node;
use nix_store::store_path::StorePath;
use sandbox_server::call::definition::{Environment, Sandbox};
use sandbox_server::call::file::File;
use sandbox_server::call::stored_inputs::StoredInputs;
use sandbox_server::nix::run_derivation::{DerivationInputs, RunDerivation, builder_node, builder_path};
use serde_json::{Value, json};

use crate::samples;
use test_support::own_store::{Store, said};

/// Returns the launcher in the store, an environment of one file, and the derivation of a call.
fn prepared(store: &Store, files: &[File]) -> Result<RunDerivation, Failed> {
    let builder = store.add("sandbox-launcher", &builder_node())?;
    let environment = environment(store)?;
    let inputs = StoredInputs { files, stdin: b"" };
    if !inputs.fits_inline() {
        store.add("sandbox-mcp-files", &inputs.node())?;
    }
    Ok(DerivationInputs { environment: &environment, ..samples::run(&builder, files) }.derive()?.receipt()?)
}

fn environment(store: &Store) -> Result<Environment, Failed> {
    let path = store.add("sandbox-mcp-python", &Node::File { content: b"an environment", executable: false })?;
    Ok(Environment { drv: samples::ENVIRONMENT.drv, out: path.to_string().leak() })
}

fn import_derivation(store: &Store, derivation: &RunDerivation) -> Result<Output, Failed> {
    let node = Node::File { content: derivation.text.as_bytes(), executable: false };
    store.import(&derivation.path, &node, &derivation.references.iter().collect::<Vec<_>>())
}

pub fn added() -> Result<(), Failed> {
    let store = Store::new();
    assert_eq!(store.add("sandbox-launcher", &builder_node())?, *builder_path());
    let files = samples::apart();
    let node = StoredInputs { files: &files, stdin: b"" }.node();
    assert_eq!(Some(store.add("sandbox-mcp-files", &node)?), prepared(&Store::new(), &files)?.stored);
    // Empty files and directories, and lengths around a multiple of eight.
    for length in 0..=9 {
        let content = vec![b'x'; length];
        let node = Node::File { content: &content, executable: length % 2 == 0 };
        let node = Node::Directory([(&b"b"[..], node), (&b"a"[..], Node::Directory([].into()))].into());
        let name = format!("tree-{length}");
        assert_eq!(store.add(&name, &node)?, source_path(&name, &node)?);
    }
    Ok(())
}

pub fn evaluated() -> Result<(), Failed> {
    for files in [samples::inline(), samples::apart()] {
        let store = Store::new();
        let ours = prepared(&store, &files)?;
        let Derivation { mut environment, arguments, .. } = Derivation::parse(&ours.text)?;
        environment.remove("out");
        let attributes = store.directory.path().join("attributes.json");
        fs::write(&attributes, json!({ "variables": environment, "args": arguments }).to_string())?;
        let expression = format!(
            "let
               given = builtins.fromJSON (builtins.readFile {});
               path = name: if given.variables ? ${{name}} then {{ ${{name}} = builtins.storePath given.variables.${{name}}; }} else {{ }};
             in derivation (given.variables // {{ inherit (given) args; }} // path \"builder\" // path \"environment\" // path \"files\")",
            attributes.display()
        );
        let theirs = store.run("nix-instantiate", &["--expr", &expression])?;
        assert_eq!(theirs.trim(), ours.path.as_str());
        assert_eq!(fs::read_to_string(store.physical(&ours.path))?, ours.text);
        assert_eq!(store.run("nix-store", &["--query", "--outputs", theirs.trim()])?.trim(), ours.out.as_str());
    }
    Ok(())
}

pub fn imported() -> Result<(), Failed> {
    for files in [samples::inline(), samples::apart()] {
        let store = Store::new();
        let derivation = prepared(&store, &files)?;
        said(import_derivation(&store, &derivation)?)?;
        let path = derivation.path.as_str();
        assert_eq!(store.run("nix-store", &["--query", "--outputs", path])?.trim(), derivation.out.as_str());
        let shown: Value = serde_json::from_str(&store.run("nix", &["show-derivation", path])?)?;
        let Derivation { environment, arguments, system, builder, .. } = Derivation::parse(&derivation.text)?;
        let shown = &shown[path];
        assert_eq!(shown["env"], json!(environment));
        assert_eq!(
            (&shown["args"], &shown["system"], &shown["builder"]),
            (&json!(arguments), &json!(system), &json!(builder))
        );
        assert_eq!(shown["inputSrcs"], json!(derivation.references.iter().map(StorePath::as_str).collect::<Vec<_>>()));
        assert_eq!(shown["outputs"]["out"]["path"], json!(derivation.out.as_str()));
    }
    Ok(())
}

pub fn forged() -> Result<(), Failed> {
    let store = Store::new();
    let mut derivation = prepared(&store, &samples::inline())?;
    derivation.text = derivation.text.replace("print", "Print");
    derivation.path = derivation_path("forged", &Derivation::parse(&derivation.text)?, &derivation.text)?;
    let refused = import_derivation(&store, &derivation)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("has incorrect output"), "{said}");
    Ok(())
}

/// Returns the .drv files of a store's directory with their texts, except those that are not UTF-8, which the server never
/// writes.
pub fn derivations(store: &str) -> impl Iterator<Item = (StorePath, String)> {
    fs::read_dir(store).into_iter().flatten().flatten().filter_map(|entry| {
        let path = StorePath::parse(entry.path().to_str()?).ok()?;
        path.name().ends_with(".drv").then_some(())?;
        Some((path, fs::read_to_string(entry.path()).ok()?))
    })
}

pub fn whole_store() -> Result<(), Failed> {
    // A Nix that is writing, or that was killed while it wrote, leaves the beginning of a file, which is not valid.
    for (path, text) in derivations("/nix/store").filter(|(_, text)| text.ends_with(')')) {
        let name = path.name().trim_end_matches(".drv");
        let derivation = Derivation::parse(&text).map_err(|error| format!("{path}: {error}"))?;
        assert_eq!(derivation.text(), text, "{path}");
        assert_eq!(derivation_path(name, &derivation, &text)?, path);
    }
    Ok(())
}

pub fn realised() -> Result<(), Failed> {
    let store = Store::new();
    let shell = fs::read(test_support::own_store::static_shell().unwrap())?;
    let shell = store.add("bash", &Node::File { content: &shell, executable: true })?;
    let environment = environment(&store)?;
    // Prints its arguments, its variables, and each file that a variable names, all terminated by NUL.
    const SHOW: &str = r#"
        printf '%s\0' "$0" "$@"
        mapfile -d '' -t variables < /proc/self/environ
        for variable in "${variables[@]}"; do
          printf '%s\0' "$variable"
          case $variable in file:*) read -r -d '' content < "${variable#*=}"; printf 'content:%s=%s\0' "${variable%%=*}" "$content" ;; esac
        done
    "#;
    let script: &str = format!("{{ {SHOW} }} > $out").leak();
    let sandbox = Sandbox { command: Vec::from(["-c", script, "a b", "", "ß\n"]).leak(), ..samples::SANDBOX };
    let files = samples::inline();
    let run = DerivationInputs { sandbox: &sandbox, environment: &environment, ..samples::run(&shell, &files) };
    let derivation = run.derive()?.receipt()?;
    said(import_derivation(&store, &derivation)?)?;
    store.realise(&derivation.path)?;
    let shown = fs::read_to_string(store.physical(&derivation.out))?;
    let shown: Vec<&str> = shown.split('\0').collect();
    assert_eq!(shown[..3], ["a b", "", "ß\n"]);
    let mut expected: Vec<String> = [
        &*format!("environment={}", environment.out),
        &format!("out={}", derivation.out),
        &format!("variable:PATH={}/bin", environment.out),
        &format!("variable:PYTHONPATH={}/lib\t\"here\"", environment.out),
        "variable:HOME=/sandbox",
        "timeout=60",
        "resources.memory=1024",
        "mount.scriptPerms=0755",
        "mount.readOnly=",
        "security.network=none",
    ]
    .map(str::to_owned)
    .into();
    expected.extend(files.iter().map(|file| {
        let content = String::from_utf8_lossy(&file.content);
        format!("content:file:{}Path={content}", file.name.as_path().display())
    }));
    for line in &expected {
        // The shell's `read` drops white space at the end of what it reads.
        assert!(shown.iter().any(|shown| shown.trim_end() == line.trim_end()), "no {line:?} in {shown:#?}");
    }
    Ok(())
}
