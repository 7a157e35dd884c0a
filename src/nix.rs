//! What this project says to Nix and how: store paths, archives and the daemon's protocol.

pub mod hash;
pub mod nar;
