//! Runs the attacks of `checks/attacks/<group>.yaml` on a real server. Each attack is a tool call that must fail.
//!
//! An attack is data: a program, and how it may end. The program prints how it was held (the words are in attack.py),
//! so that a broken program is not mistaken for an attack that was held. host.rs makes the targets on the host, and
//! checks afterwards that none was harmed or stolen.
//!
//! All attacks run on every executor. If the tests run as root, they attack both a server of root and one of an
//! ordinary user.
//!
//! - `SANDBOX_MCP_BIN`: the server. The default is the one that cargo built.
//! - `SANDBOX_MCP_ATTACKS`: the directory of the attacks.
//! - `SANDBOX_MCP_EXECUTORS`: the executors to run them on, separated by commas. Executors that are named must work. By
//!   default, attacks that cannot run here are ignored, with a reason.

mod attack;
mod host;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use attack::Attack;
use host::AttackedHost;
use libtest_mimic::{Arguments, Completion, Trial};
use target::{Target, User};

/// The group of attacks that exhaust memory, processes or time, and disturb each other.
pub const BOMBS: &str = "bombs";

/// The name of a group, which is the stem of its file's name, and its attacks.
type AttackGroup = (String, Vec<Attack>);

/// Reads all attacks.
fn groups(directory: &Path) -> Vec<AttackGroup> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("list the attacks").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let attacks: Vec<Attack> =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        attacks.iter().for_each(|attack| attack.validate(&path));
        groups.push((path.file_stem().expect("a file has a name").to_string_lossy().into_owned(), attacks));
    }
    groups.sort_by(|one, other| one.0.cmp(&other.0));
    groups
}

/// Returns the trial of one attack on one target. `None` if the attack is not for the target's executor.
fn trial(target: &Arc<Target>, groups: &Arc<Vec<AttackGroup>>, group: usize, index: usize) -> Option<Trial> {
    let (group_name, attacks) = &groups[group];
    let attack = &attacks[index];
    if !attack.is_for(&target.executor) {
        return None;
    }
    let name = format!("{}::{}::{group_name}::{}", target.executor, target.user, attack.name);
    if let Some(reason) = attack.ignored.clone().or_else(|| target.missing(attack)) {
        return Some(Trial::ignorable_test(name, || Ok(Completion::ignored_with(reason))));
    }
    let (target, groups) = (target.clone(), groups.clone());
    Some(Trial::ignorable_test(name, move || {
        let (group_name, attacks) = &groups[group];
        target.carry_out(&attacks[index], group_name)
    }))
}

/// Spreads the bombs evenly among the other attacks. Only one bomb runs at a time, so a row of bombs would keep all
/// other threads waiting.
fn spread(bombs: Vec<Trial>, others: Vec<Trial>) -> Vec<Trial> {
    let gap = others.len() / (bombs.len() + 1);
    let (mut spread, mut others) = (Vec::new(), others.into_iter());
    for bomb in bombs {
        spread.push(bomb);
        spread.extend(others.by_ref().take(gap));
    }
    spread.extend(others);
    spread
}

fn main() {
    let arguments = Arguments::from_args();
    let directory = env::var_os("SANDBOX_MCP_ATTACKS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checks/attacks"), PathBuf::from);
    let library = fs::read_to_string(directory.join("attack.py")).expect("read the library of the attacks");
    let groups = Arc::new(groups(&directory));
    let named = env::var("SANDBOX_MCP_EXECUTORS").ok();
    let executors: Vec<&str> = named.as_deref().unwrap_or("namespace,direct,derivation").split(',').collect();
    let host = Arc::new(AttackedHost::new());
    let mut targets = Vec::new();
    for executor in executors {
        for user in User::all() {
            targets.push(Arc::new(Target::start(executor, user, &library, &host, named.is_some())));
        }
    }
    let (mut bombs, mut others) = (Vec::new(), Vec::new());
    for target in &targets {
        for (group, (name, attacks)) in groups.iter().enumerate() {
            let trials = if name == BOMBS { &mut bombs } else { &mut others };
            trials.extend((0..attacks.len()).filter_map(|index| trial(target, &groups, group, index)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, spread(bombs, others));
    // Dropped explicitly, because `exit` runs no destructors: the servers and the targets on the host would be left.
    drop((targets, host));
    conclusion.exit();
}
