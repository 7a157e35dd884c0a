//! Measures the overhead of a build by Nix for each way to reach Nix: `cargo bench --bench daemon`. Compare only
//! figures of the same run: disks and Nix versions differ.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use test_support::daemon_fixture::{DaemonKind, Fixture, Script};
use test_support::own_store;

const RUNS: usize = 30;

/// Runs one build, and returns its time without the preparation. The number is unique to the build.
type MeasuredRun = fn(&Fixture, usize) -> Result<Duration, Failed>;

fn main() -> Result<(), Failed> {
    if !own_store::is_here() || own_store::static_shell().is_none() {
        println!("This benchmark needs Nix and a static shell.");
        return Ok(());
    }
    let ways: [(&str, DaemonKind, MeasuredRun); 5] = [
        ("nix-store --realise", DaemonKind::Socket, realise),
        ("socket", DaemonKind::Socket, |fixture, number| build(fixture, number, false)),
        ("socket, warm", DaemonKind::Socket, |fixture, number| build(fixture, number, true)),
        ("child", DaemonKind::Child, |fixture, number| build(fixture, number, false)),
        ("child, warm", DaemonKind::Child, |fixture, number| build(fixture, number, true)),
    ];
    let fixtures = ways.iter().map(|(_, kind, _)| Fixture::new(*kind)).collect::<Result<Vec<_>, _>>()?;
    let mut times = ways.map(|_| Vec::new());
    // The ways take turns, so that other load on the machine affects all of them.
    for number in 0..RUNS {
        for ((way, fixture), times) in ways.iter().zip(&fixtures).zip(&mut times) {
            times.push((way.2)(fixture, number)?);
        }
    }
    println!("{:>20}  {:>9}  {:>9}  of the first", "way", "median", "p95");
    let mut first = None;
    for ((name, ..), mut times) in ways.into_iter().zip(times) {
        times.sort();
        let (median, p95) = (times[RUNS / 2], times[RUNS * 95 / 100]);
        let ratio = median.as_secs_f64() / first.get_or_insert(median).as_secs_f64();
        println!("{name:>20}  {median:>9.1?}  {p95:>9.1?}  {ratio:.2}");
    }
    Ok(())
}

fn script(number: usize) -> String {
    format!("echo {number} > $out")
}

/// Adds and builds a derivation over a new connection, or over one that is already open.
fn build(fixture: &Fixture, number: usize, warm: bool) -> Result<Duration, Failed> {
    fixture.runtime.block_on(async {
        // The shell is in the store after the first run, like the launcher of the server.
        let prepared = Script::new(&mut fixture.connect().await?, &script(number)).await?;
        let text = prepared.derivation.text();
        let mut connection = None;
        if warm {
            connection = Some(fixture.connect().await?);
        }
        let begun = Instant::now();
        let mut connection = match connection {
            Some(connection) => connection,
            None => fixture.connect().await?,
        };
        connection.add_text("script.drv", &text, &prepared.references).await?;
        let result = connection.build(&prepared.path, &mut |_| {}).await?;
        assert!(result.status.succeeded(), "{}", result.message);
        Ok(begun.elapsed())
    })
}

/// Runs `nix-store --realise` on a derivation that is in the store already.
fn realise(fixture: &Fixture, number: usize) -> Result<Duration, Failed> {
    let added = fixture.runtime.block_on(async {
        let mut connection = fixture.connect().await?;
        Script::added(&mut connection, &script(number)).await
    })?;
    let begun = Instant::now();
    fixture.store.realise(&added.path)?;
    Ok(begun.elapsed())
}
