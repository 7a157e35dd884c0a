//! Tests of the derivations of calls against golden files, without Nix.

use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;
use nix_store::derivation::Derivation;
use nix_store::store_path::StorePath;
use sandbox_manifest::policy::{Entry, Pattern};
use sandbox_server::call::definition::{Environment, Network, Resources, Sandbox};
use sandbox_server::call::program_input::ProgramInput;
use sandbox_server::call::stored_inputs::StoredInputs;
use sandbox_server::nix::run_derivation::{DerivationInputs, RunDerivation, RunOptions};

use crate::samples::{self, builder, files, run};

/// The variable that makes the test write the golden files instead of comparing with them.
const RENEW: &str = "SANDBOX_MCP_RENEW_GOLDENS";

pub fn samples() -> Result<(), Failed> {
    let (none, packages) = (samples::packages(&[]), samples::packages(&["tabulate", "attrs"]));
    let script = Sandbox { command: &["sh", "-c", "exec python main.py \"$@\""], ..samples::SANDBOX };
    let nothing = ProgramInput::default();
    for (name, sandbox, files, packages, input) in [
        ("inline", &samples::SANDBOX, samples::inline(), &none, &nothing),
        ("apart", &samples::SANDBOX, samples::apart(), &none, &nothing),
        ("services", &samples::WITH_SERVICES, samples::inline(), &none, &nothing),
        ("packages", &samples::SANDBOX, vec![], &packages, &nothing),
        ("given", &samples::SANDBOX, samples::executable(), &none, &samples::input("ß\n".as_bytes())),
        ("given-apart", &script, samples::executable(), &none, &samples::input(b"\xff\0")),
    ] {
        let RunDerivation { path, text, .. } =
            DerivationInputs { sandbox, packages, input, ..run(&builder(), &files) }.derive()?.receipt()?;
        let golden = Path::new("tests/store/derivation").join(name).with_extension("golden");
        // The receipt's path in the first line, and the content of its .drv file below.
        let made = format!("{path}\n{text}\n");
        if std::env::var_os(RENEW).is_some() {
            fs::write(&golden, made)?;
        } else if fs::read_to_string(&golden).ok().as_ref() != Some(&made) {
            return Err(format!(
                "{} is not what the sample gives; if the change is meant, renew it (every earlier receipt changes):\n\n    \
                 {RENEW}=1 cargo test --test store\n\nMade:\n{made}",
                golden.display()
            )
            .into());
        }
    }
    Ok(())
}

pub fn order() -> Result<(), Failed> {
    for files in [samples::inline(), samples::apart()] {
        let reversed: Vec<_> = files.iter().rev().cloned().collect();
        assert_eq!(run(&builder(), &files).derive()?.receipt()?, run(&builder(), &reversed).derive()?.receipt()?);
    }
    Ok(())
}

const ALLOWED: [Entry; 2] =
    [Entry { to: Pattern::Name("a.org"), port: 443 }, Entry { to: Pattern::Below("a.org"), port: 443 }];

pub fn distinct() -> Result<(), Failed> {
    let (builder, other_builder) =
        (builder(), StorePath::parse("/nix/store/11111111111111111111111111111111-sandbox-launcher")?);
    let (files, more) = (samples::inline(), files(&[("main.py", ""), ("b", "")]));
    let base = run(&builder, &files);
    let other_environment =
        Environment { out: "/nix/store/11111111111111111111111111111111-x", ..samples::ENVIRONMENT };
    let packages = [samples::packages(&["attrs"]), samples::packages(&["attrs", "tabulate"])];
    let resources = samples::SANDBOX.resources;
    let sandboxes = [
        Sandbox { command: &["python", "-u", "main.py"], ..samples::SANDBOX },
        Sandbox { command: &["python", "main.py", ""], ..samples::SANDBOX },
        Sandbox { network: Network::Bridge, ..samples::SANDBOX },
        Sandbox { network: Network::Allow(&[]), ..samples::SANDBOX },
        Sandbox { network: Network::Allow(&ALLOWED[..1]), ..samples::SANDBOX },
        Sandbox { network: Network::Allow(&ALLOWED), ..samples::SANDBOX },
        Sandbox { resources: Resources { cpu: 2, ..resources }, ..samples::SANDBOX },
        Sandbox { resources: Resources { memory_mb: 2, disk_mb: 1, ..resources }, ..samples::SANDBOX },
        Sandbox { resources: Resources { processes: 2, ..resources }, ..samples::SANDBOX },
        Sandbox { resources: Resources { files: 2, ..resources }, ..samples::SANDBOX },
        Sandbox { workdir: "/sandbox/src", ..samples::SANDBOX },
        Sandbox { script_mode: 0o644, ..samples::SANDBOX },
        Sandbox { read_only: true, ..samples::SANDBOX },
        Sandbox { user: "me", ..samples::SANDBOX },
        Sandbox { variables: &[], ..samples::SANDBOX },
        samples::WITH_SERVICES,
        Sandbox { services: &samples::WITH_SERVICES.services[1..], ..samples::SANDBOX },
    ];
    let mut runs = vec![
        base,
        DerivationInputs { system: "aarch64-linux", ..base },
        DerivationInputs { environment: &other_environment, ..base },
        DerivationInputs { packages: &packages[0], ..base },
        DerivationInputs { packages: &packages[1], ..base },
        DerivationInputs { builder: &other_builder, ..base },
        DerivationInputs { files: &more, ..base },
        DerivationInputs { files: &more[..1], ..base },
    ];
    let input = |args: &[&str], env: &[(&str, &str)], stdin: &[u8]| ProgramInput {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        stdin: stdin.to_vec(),
    };
    let inputs = [
        input(&["a"], &[], b""),
        input(&["a", ""], &[], b""),
        input(&[], &[("A", "")], b""),
        input(&[], &[("A", "b")], b""),
        input(&[], &[], b"a"),
        input(&[], &[], b"\0"),
    ];
    let mut executable = files.clone();
    executable[0].executable = true;
    runs.push(DerivationInputs { files: &executable, ..base });
    runs.push(DerivationInputs { timeout: Duration::from_secs(59), ..base });
    runs.extend(inputs.iter().map(|input| DerivationInputs { input, ..base }));
    runs.extend(sandboxes.iter().map(|sandbox| DerivationInputs { sandbox, ..base }));
    let mut paths = Vec::new();
    let short = RunOptions { deadline: Duration::from_millis(1), nonce: None, remote: false };
    let derivations = runs.into_iter().map(|run| run.derive()?.receipt()).chain([base.derive()?.run(short)]);
    for run in derivations.collect::<Result<Vec<_>, _>>()? {
        let RunDerivation { path, out, .. } = run.clone();
        assert!(!paths.contains(&path) && !paths.contains(&out), "{run:?} has the receipt of another");
        paths.extend([path, out]);
    }
    Ok(())
}

pub fn nonce() -> Result<(), Failed> {
    let (builder, files) = (builder(), samples::inline());
    let receipt = run(&builder, &files).derive()?.receipt()?;
    let fresh = run(&builder, &files).derive()?.run(RunOptions {
        deadline: samples::SANDBOX.timeout,
        nonce: Some("1"),
        remote: false,
    })?;
    assert!(fresh.path != receipt.path && fresh.out != receipt.out);
    let mut fresh = Derivation::parse(&fresh.text)?;
    let receipt = Derivation::parse(&receipt.text)?;
    assert_eq!(fresh.environment.remove("nonce").as_deref(), Some("1"));
    fresh.environment.insert("out".into(), receipt.environment["out"].clone());
    fresh.outputs = receipt.outputs.clone();
    assert_eq!(fresh, receipt);
    Ok(())
}

pub fn inline() -> Result<(), Failed> {
    let many: Vec<(String, String)> = (0..65).map(|index| (index.to_string(), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, content)| (&**name, &**content)).collect();
    let (large, largest) = ("x".repeat((128 << 10) + 1), "x".repeat(128 << 10));
    let placeholder = format!("echo {}", nix_store::hash::placeholder("out"));
    for (given, inline) in [
        (&[("main.py", "")][..], true),
        (&[("a/b-ö.py", "ö\u{1}\u{7f}")], true),
        (&many[..64], true),
        (&[("main.py", &*largest)], true),
        (&many, false),
        (&[("main.py", &large)], false),
        (&[("main.py", "a\0b")], false),
        (&[("a b", "")], false),
        (&[("a=b", "")], false),
        (&[("a\nb", "")], false),
        (&[("main.sh", &placeholder)], false),
    ] {
        let given = files(given);
        assert_eq!(StoredInputs { files: &given, stdin: b"" }.fits_inline(), inline, "{:?}", given[0].name);
        let derivation = run(&builder(), &given).derive()?.receipt()?;
        let variables = Derivation::parse(&derivation.text)?.environment;
        assert_eq!(variables.contains_key("passAsFile"), inline);
        assert_eq!(variables.get("files").map(String::as_str), derivation.stored.as_ref().map(StorePath::as_str));
        assert_eq!(derivation.references.len(), if inline { 2 } else { 3 });
    }
    for (stdin, inline) in
        [("ß\n".as_bytes(), true), (b"\xff", false), (b"\0", false), (&[b'x'; (128 << 10) + 1], false)]
    {
        let (builder, given) = (builder(), files(&[("main.py", "")]));
        let derivation =
            DerivationInputs { input: &samples::input(stdin), ..run(&builder, &given) }.derive()?.receipt()?;
        let variables = Derivation::parse(&derivation.text)?.environment;
        assert_eq!((variables.contains_key("stdin"), variables.contains_key("inputs")), (inline, !inline));
    }
    Ok(())
}
