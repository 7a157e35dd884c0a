//! Runs `checks/attacks/<group>.yaml` over the real server: each attack is a tool call that must not get anywhere.
//!
//! An attack is data: a program, and how it may end. The program prints how it was held (attack.py has the words for
//! it), so that one which is merely broken is not taken for one that was held. What it would harm or steal is made by
//! host.rs, and looked at afterwards from outside.
//!
//! All attacks run on every executor there is; as root both with a server of root's and with an ordinary user's.
//!
//! - `SANDBOX_MCP_BIN`: the server; by default, the one that cargo built.
//! - `SANDBOX_MCP_ATTACKS`: the directory of the attacks.
//! - `SANDBOX_MCP_EXECUTORS`: the executors to run them on, with commas between. Those that are named must work; of all
//!   others, what can't run here is shown as ignored, with the reason.

mod attack;
mod content;
mod host;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use attack::Attack;
use host::Host;
use libtest_mimic::{Arguments, Completion, Trial};
use target::{Target, User};

/// The group of attacks that use up memory, processes or time, and disturb each other.
pub const BOMBS: &str = "bombs";

/// A group's name, which is its file's, and its attacks.
type Group = (String, Vec<Attack>);

fn groups(directory: &Path) -> Vec<Group> {
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

/// The trial of one attack on one target, unless the attack is not meant for that.
fn trial(target: &Arc<Target>, groups: &Arc<Vec<Group>>, group: usize, index: usize) -> Option<Trial> {
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

/// Spreads the bombs evenly among the other attacks. Only one bomb runs at a time, and with all of them in a row every other
/// thread would wait for that one.
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
    let library = fs::read_to_string(directory.join("attack.py")).expect("the attacks' library is beside them");
    let groups = Arc::new(groups(&directory));
    let named = env::var("SANDBOX_MCP_EXECUTORS").ok();
    let executors: Vec<&str> = named.as_deref().unwrap_or("namespace,direct,derivation").split(',').collect();
    let host = Arc::new(Host::new());
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
    // The servers and what was made on the host end with their owners, which `exit` would not wait for.
    drop((targets, host));
    conclusion.exit();
}
