//! A call as a derivation, and what is asked of the Nix store.

pub mod closure;
pub mod exported;
pub mod realise;
mod realise_log;
pub mod receipt;
pub mod run_derivation;
pub mod unpack;
