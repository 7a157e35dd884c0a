//! A client of Nix: store paths, derivations, archives and the daemon's protocol.
//!
//! | module | what it reads or writes |
//! |---|---|
//! | [`store_path`], [`hash`], [`addressed`] | store paths, and how they follow from contents |
//! | [`derivation`] | `.drv` files (ATerm) |
//! | [`nar`], [`export`], [`archive`] | archives: of one path, of `nix-store --export`, and of all derivations of a server |
//! | [`wire`], [`protocol`], [`daemon`] | the daemon's protocol, from numbers to operations |
//! | [`endpoint`], [`reach`] | where a daemon is, and how this machine's Nix is reached |
//!
//! # Errors
//!
//! Everything that is read may be malformed, and then gives an error, never a panic; `checks/fuzz` holds the parsers to
//! that. Errors are shown to models and written to logs by `Display` only. So `Display` tells the whole cause, and
//! `source()` is
//! `None`: the field that holds a cause is called `cause`, and variants that only pass an error on are transparent.

#![forbid(unsafe_code)]

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
