//! Reads a `.drv` file (ATerm). Whatever is accepted is the same after it was written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_store::derivation::Derivation;

fuzz_target!(|text: &str| {
    if let Ok(derivation) = Derivation::parse(text) {
        assert_eq!(Derivation::parse(&derivation.text()), Ok(derivation));
    }
});
