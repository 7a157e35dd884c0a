//! Tests of successful operations, over a socket and over pipes.

use std::collections::BTreeSet;
use std::fs;

use libtest_mimic::Failed;
use nix_store::addressed::Addressed;
use nix_store::daemon::DaemonError;
use nix_store::derivation::{Derivation, DerivationOutput};
use nix_store::hash::{derivation_path, fill_outputs, flat_path, source_path, text_path};
use nix_store::nar::Node;
use nix_store::protocol::{BuildStatus, Event, is_invalid_path};
use sandbox_server::call::stored_inputs::StoredInputs;
use sandbox_server::nix::run_derivation::{builder_node, builder_path};

use crate::samples;
use test_support::daemon_fixture::{Fixture, Script};

fn ignore(_: Event) {}

pub fn handshake(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let connection = fixture.connect().await?;
        let version = fixture.store.run("nix-daemon", &["--version"])?;
        assert!(version.trim().ends_with(&format!(" {}", connection.nix_version())), "{version}");
        // Nix before 2.14 does not say whether it trusts a client.
        assert!(matches!(connection.trusted(), None | Some(true)));
        Ok(())
    })
}

pub fn added(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let builder = connection.add_files("sandbox-launcher", &builder_node()).await?;
        assert_eq!(builder, *builder_path());
        let files = samples::apart();
        let node = StoredInputs { files: &files, stdin: b"" }.node();
        let tree = connection.add_files("tree", &node).await?;
        assert_eq!(tree, source_path("tree", &node)?);
        for file in &files {
            let there = fs::read(fixture.store.physical(&tree).join(file.name.as_path()))?;
            assert_eq!(there, file.content);
        }
        let references = BTreeSet::from([builder, tree]);
        for text in ["", "a\0ß\n", &"x".repeat(10_000_000)] {
            let path = connection.add_text("text", text, &references).await?;
            assert_eq!(path, text_path("text", text, &references)?);
            assert_eq!(fs::read_to_string(fixture.store.physical(&path))?, text);
        }
        Ok(())
    })
}

/// Adds files, a text that refers to them, and a derivation in one request.
pub fn added_all(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let content = Node::File { content: b"content", executable: false };
        let link = Node::Link { target: b"file" };
        let tree = Node::Directory([(&b"file"[..], content.clone()), (b"link", link)].into());
        let (none, name) = (BTreeSet::new(), "tree");
        let source = Addressed::new(&source_path(name, &tree)?, &tree, none.clone()).ok_or("it is a source")?;
        let flat = Addressed::new(&flat_path("flat", b"content")?, &content, none.clone()).ok_or("it is a file")?;
        let references = BTreeSet::from([source.path.clone(), flat.path.clone()]);
        let text = Node::File { content: b"text", executable: false };
        let path = text_path("text", "text", &references)?;
        let text = Addressed::new(&path, &text, references.clone()).ok_or("it is a text")?;
        let mut derivation = Derivation {
            outputs: [("out".to_owned(), DerivationOutput::input_addressed(String::new()))].into(),
            input_derivations: [].into(),
            input_sources: [path.clone()].into(),
            system: "x86_64-linux".to_owned(),
            builder: path.to_string(),
            arguments: Vec::new(),
            environment: [].into(),
        };
        fill_outputs("made", &mut derivation)?;
        let (of_drv, drv) = (derivation.text(), derivation_path("made", &derivation, &derivation.text())?);
        let node = Node::File { content: of_drv.as_bytes(), executable: false };
        let drv = Addressed::new(&drv, &node, [path.clone()].into()).ok_or("it is a derivation")?;

        // A path whose content does not match its address is refused, and so is one with missing references.
        let mut connection = fixture.connect().await?;
        let forged = Addressed { archive: content_of(b"another"), ..flat.clone() };
        for refused in [forged, text.clone()] {
            let error = fixture.connect().await?.add_all(&[refused]).await.unwrap_err();
            assert!(matches!(error, DaemonError::Refused { .. }), "{error}");
        }
        let all = [source, flat, text, drv];
        connection.add_all(&all).await?;
        connection.add_all(&[]).await?;
        let paths = all.clone().map(|added| added.path);
        assert_eq!(connection.valid_paths(&paths).await?.len(), paths.len());
        let [source, _, text, drv] = &paths;
        assert_eq!(connection.path_info(text).await?.map(|info| info.references.len()), Some(2));
        assert_eq!(fs::read_to_string(fixture.store.physical(drv))?, of_drv);
        assert_eq!(fs::read_to_string(fixture.store.physical(source).join("link"))?, "content");
        Ok(())
    })
}

fn content_of(content: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    Node::File { content, executable: false }.write(&mut archive).expect("writing to memory does not fail");
    archive
}

pub fn path_info(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let a = connection.add_text("a", "", &BTreeSet::new()).await?;
        let b = connection.add_text("b", "12345678", &BTreeSet::from([a.clone()])).await?;
        let info = connection.path_info(&b).await?.expect("it was added");
        assert_eq!((info.references, info.nar_size, info.deriver), (vec![a.clone()], 120, None));
        assert_eq!(info.nar_hash.len(), 64);
        let unknown = text_path("c", "", &BTreeSet::new())?;
        assert_eq!(connection.path_info(&unknown).await?, None);
        let mut valid = connection.valid_paths(&[b.clone(), unknown, a.clone()]).await?;
        valid.sort();
        assert_eq!(valid, Vec::from_iter(BTreeSet::from([a, b])));
        Ok(())
    })
}

pub fn refused(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let missing = text_path("missing", "", &BTreeSet::new())?;
        for size in [1, 5_000_000] {
            let error =
                connection.add_text("a", &"x".repeat(size), &BTreeSet::from([missing.clone()])).await.unwrap_err();
            let DaemonError::Refused { reason, .. } = &error else { return Err(error.into()) };
            assert!(reason.contains(missing.as_str()) && is_invalid_path(reason), "{reason}");
            assert!(!reason.contains('\u{1b}'), "{reason:?}");
            connection.add_text("a", "", &BTreeSet::new()).await?;
        }
        Ok(())
    })
}

pub fn deleted(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let [a, b] = [
            connection.add_text("a", "1", &BTreeSet::new()).await?,
            connection.add_text("b", "2", &BTreeSet::new()).await?,
        ];
        let mut other = fixture.connect().await?;
        let in_use = other.delete(std::slice::from_ref(&a)).await.unwrap_err();
        assert!(matches!(&in_use, DaemonError::Refused { reason, .. } if reason.contains(a.as_str())), "{in_use}");
        drop(connection);
        // The daemon notices the end of a connection a little later.
        let mut tries = 0;
        while other.delete(std::slice::from_ref(&a)).await.is_err() && tries < 200 {
            tries += 1;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(other.valid_paths(&[a.clone(), b.clone()]).await?, [b]);
        assert!(!fixture.store.physical(&a).exists());
        Ok(())
    })
}

pub fn built(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let script = "echo one >&2; echo two; printf 'thr\\377ee' >&2; echo done > $out";
        let script = Script::added(&mut connection, script).await?;
        let mut log = Vec::new();
        let result = connection
            .build(&script.path, &mut |event| {
                if let Event::Log(line) = event {
                    log.push(line);
                }
            })
            .await?;
        assert_eq!((result.status, &*result.message), (BuildStatus::Built, ""));
        assert!(result.started > 0 && result.stopped >= result.started);
        assert_eq!(log, ["one", "two", "thr\u{fffd}ee"]);
        assert_eq!(fs::read_to_string(fixture.store.physical(&script.out))?, "done\n");
        assert_eq!(connection.path_info(&script.out).await?.unwrap().deriver, Some(script.path.clone()));
        let again = connection.build(&script.path, &mut ignore).await?;
        assert_eq!(again.status, BuildStatus::AlreadyValid);
        Ok(())
    })
}

pub fn failed(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        for (script, reason) in [
            ("echo no; exit 7", "exit code 7"),
            ("kill -9 $$", "builder for"),
            ("true", "failed to produce output path"),
        ] {
            let script = Script::added(&mut connection, script).await?;
            let result = connection.build(&script.path, &mut ignore).await?;
            assert!(!result.status.succeeded() && result.message.contains(reason), "{result:?}");
            assert!(connection.valid_paths(&[script.out]).await?.is_empty());
        }
        Ok(())
    })
}

pub fn rooted(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        let kept = connection.add_text("a", "1", &BTreeSet::new()).await?;
        let mut other = fixture.connect().await?;
        let lost = other.add_text("b", "2", &BTreeSet::new()).await?;
        drop(other);
        // A connection also keeps the paths that it has added, so this uses another one.
        drop(std::mem::replace(&mut connection, fixture.connect().await?));
        connection.add_temporary_root(&kept).await?;
        let collected =
            || fixture.store.run("nix-store", &["--gc"]).is_ok_and(|_| !fixture.store.physical(&lost).exists());
        test_support::daemon_fixture::wait_until("what nothing keeps is collected", collected)?;
        assert!(fixture.store.physical(&kept).exists());
        Ok(())
    })
}

pub fn side_by_side(fixture: Fixture) -> Result<(), Failed> {
    fixture.runtime.block_on(async {
        let builds = [0, 1, 2, 3].map(async |number| {
            let mut connection = fixture.connect().await?;
            let script = Script::added(&mut connection, &format!("echo {number} > $out")).await?;
            let result = connection.build(&script.path, &mut ignore).await?;
            assert_eq!(result.status, BuildStatus::Built, "{}", result.message);
            assert_eq!(fs::read_to_string(fixture.store.physical(&script.out))?, format!("{number}\n"));
            Ok::<_, Failed>(())
        });
        let [a, b, c, d] = builds;
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        a.and(b).and(c).and(d)
    })
}
