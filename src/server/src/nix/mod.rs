//! A call as a derivation, and the use of the Nix store.

pub mod closure;
pub mod exported;
pub mod realise;
pub mod receipt;
pub mod run_derivation;
pub mod unpack;
