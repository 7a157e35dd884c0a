//! Run derivations: golden texts, random derivations written and read again, and Nix itself as the judge.
//!
//! Nix works on a store of its own in a temporary directory, so that nothing is left in the machine's. Which Nix is
//! found on `PATH` makes no difference; where there is none, these tests are ignored.

mod golden;
mod nix;
mod random;

use libtest_mimic::{Failed, Trial};
use test_support::own_store;

/// Returns the tests, those that cannot run here marked as ignored.
pub fn tests() -> Vec<Trial> {
    let nix = own_store::is_here();
    if !nix {
        eprintln!("Ignored: what Nix has to judge, since no nix-store on PATH makes a store.");
    }
    let shell = own_store::static_shell().is_some();
    if nix && !shell {
        eprintln!("Ignored: what has to be built, since there is no static shell (Debian: bash-static).");
    }
    let own_store = nix::derivations("/nix/store").next().is_some();
    if !own_store {
        eprintln!("Ignored: what is compared with the derivations in /nix/store, since there are none.");
    }
    let plain = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    let judged = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!nix);
    let built = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!nix || !shell);
    vec![
        plain("each_sample_gives_its_golden_derivation", golden::samples),
        plain("the_same_call_gives_the_same_receipt_in_whatever_order_its_files_come", golden::order),
        plain("whatever_decides_what_the_program_does_changes_the_receipt", golden::distinct),
        plain("a_nonce_changes_the_path_and_the_output_and_nothing_else", golden::nonce),
        plain("files_that_nix_would_change_or_that_are_many_go_into_a_path_of_their_own", golden::inline),
        plain("a_random_derivation_is_read_as_it_was_written", random::round_trip),
        plain("a_random_derivation_cut_short_or_with_one_byte_changed_never_panics", random::damaged),
        plain("every_derivation_in_the_store_is_read_and_has_the_path_that_is_computed", nix::whole_store)
            .with_ignored_flag(!own_store),
        judged("nix_evaluates_the_same_attributes_to_the_same_derivation", nix::evaluated),
        judged("nix_gives_the_launcher_and_the_files_the_paths_that_are_computed", nix::added),
        judged("nix_takes_the_derivation_into_its_store_and_tells_the_same_output", nix::imported),
        judged("nix_refuses_a_derivation_whose_output_is_another", nix::forged),
        built("a_builder_finds_its_arguments_variables_and_files", nix::realised),
    ]
}
