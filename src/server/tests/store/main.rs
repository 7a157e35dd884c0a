//! Tests of derivations and of the daemon's protocol against a real Nix.

mod daemon;
mod derivation;
mod samples;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let tests = [derivation::tests(), daemon::tests()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
