//! What the server says to Nix, with Nix itself as the judge: derivations, and the daemon's protocol.

mod daemon;
mod derivation;
mod samples;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let tests = [derivation::tests(), daemon::tests()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
