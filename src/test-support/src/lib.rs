//! Helpers that several tests and benches share.

#![forbid(unsafe_code)]

pub mod client;
pub mod daemon_fixture;
pub mod local_store;
pub mod measure;
pub mod nix_daemon;
pub mod own_store;
pub mod schema;
pub mod sleeper;
