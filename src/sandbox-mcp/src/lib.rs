//! The tools of this server, which build.rs generates from the manifest.
//!
//! Everything else is [`sandbox_server`], which does not depend on the manifest: after a change of a sandbox, no more than
//! this package is compiled.

#![forbid(unsafe_code)]

use sandbox_server::call::catalog::Catalog;

pub mod table {
    //! The arguments of every tool, and the tables of tools and packages.
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

/// What the manifest gives this server.
pub static CATALOG: Catalog = Catalog {
    system: table::SYSTEM,
    nixpkgs: table::NIXPKGS,
    manifest_hash: env!("SANDBOX_MCP_MANIFEST_HASH"),
    tools: table::TOOLS,
    package_sets: table::PACKAGE_SETS,
    archive: include_bytes!(concat!(env!("OUT_DIR"), "/archive")),
    findings: &[],
};
