//! What this project says to Nix and how: store paths, archives and the daemon's protocol.

pub mod addressed;
pub mod daemon;
pub mod endpoint;
pub mod export;
pub mod hash;
pub mod nar;
pub mod protocol;
pub mod reach;
pub mod wire;
