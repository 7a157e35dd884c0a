//! Tests of run derivations against golden files and against a real Nix.
//!
//! Nix uses a store in a temporary directory, so that nothing is left in that of the machine. Any version of Nix on `PATH` will
//! do; without one, these tests are ignored.

mod golden;
mod nix;

use libtest_mimic::{Failed, Trial};
use test_support::own_store;

/// Returns the tests, those that cannot run here marked as ignored.
pub fn tests() -> Vec<Trial> {
    let nix = own_store::is_here();
    if !nix {
        eprintln!("Ignored the tests that compare with Nix: no nix-store on PATH can make a store.");
    }
    let shell = own_store::static_shell().is_some();
    if nix && !shell {
        eprintln!("Ignored the tests that build: there is no static shell (Debian: bash-static).");
    }
    let own_store = nix::derivations("/nix/store").next().is_some();
    if !own_store {
        eprintln!("Ignored the tests of the derivations in /nix/store: it has none.");
    }
    let plain = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    let judged = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!nix);
    let built = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!nix || !shell);
    vec![
        plain("sample_has_its_golden_derivation", golden::samples),
        plain("receipt_does_not_depend_on_the_order_of_files", golden::order),
        plain("receipt_depends_on_everything_the_program_sees", golden::distinct),
        plain("nonce_changes_only_the_path_and_the_output", golden::nonce),
        plain("many_or_odd_files_get_a_store_path", golden::inline),
        plain("derivation_in_the_store_has_the_computed_path", nix::whole_store).with_ignored_flag(!own_store),
        judged("nix_evaluates_to_the_same_derivation", nix::evaluated),
        judged("nix_gives_launcher_and_files_the_computed_paths", nix::added),
        judged("nix_imports_the_derivation_with_the_same_output", nix::imported),
        judged("nix_refuses_a_derivation_with_a_wrong_output", nix::forged),
        built("builder_finds_its_arguments_variables_and_files", nix::realised),
    ]
}
