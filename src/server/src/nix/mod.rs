//! A call as a derivation, and the use of the Nix store.

pub(crate) mod build_users;
pub(crate) mod closure;
pub(crate) mod exported;
pub mod realise;
pub(crate) mod realise_log;
pub mod receipt;
pub mod roots;
pub mod run_derivation;
pub(crate) mod unpack;
