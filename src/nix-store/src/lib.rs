//! What this project says to Nix and how: store paths, archives and the daemon's protocol.

pub mod addressed;
pub mod archive;
pub mod daemon;
pub mod derivation;
pub mod endpoint;
pub mod export;
pub mod hash;
pub mod nar;
pub mod protocol;
pub mod reach;
pub mod store_path;
pub mod wire;
