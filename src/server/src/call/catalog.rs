//! What the manifest gives a server: the tools, the packages on demand, and the derivations of their environments.
//!
//! It is the one thing that this crate does not contain: the program's package generates it and installs it, so that this
//! crate is not compiled again when a sandbox changes.

use std::sync::OnceLock;

use crate::call::config_finding::ConfigFinding;
use crate::call::definition::PackageSet;
use crate::call::tool::Tool;

/// The tools and packages of a server, with what makes their environments.
#[derive(Debug)]
pub struct Catalog {
    /// The system that the environments are for; none if the server was built from the portable manifest.
    pub system: Option<&'static str>,
    /// The revision of nixpkgs that the environments are of, if Nix knew it.
    pub nixpkgs: Option<&'static str>,
    /// The hash of the manifest, in hexadecimal digits. Servers that have it in common, and the launcher too, give the same
    /// receipts.
    pub manifest_hash: &'static str,
    /// Every tool, sorted by name.
    pub tools: &'static [Tool],
    /// Every set of packages that calls may ask for, sorted by id.
    pub package_sets: &'static [&'static PackageSet],
    /// The derivations of all environments, as an [archive](nix_store::archive); empty in a portable server.
    pub archive: &'static [u8],
    /// What is to be said of the user's own sandboxes.
    pub findings: &'static [ConfigFinding],
}

static INSTALLED: OnceLock<&'static Catalog> = OnceLock::new();

impl Catalog {
    /// Makes this the catalog of the process, unless it has one. The program does so before anything else.
    pub fn install(&'static self) {
        INSTALLED.get_or_init(|| self);
    }
}

/// Returns the catalog of the process.
///
/// # Panics
///
/// Panics if none is installed.
#[cfg(not(test))]
pub fn catalog() -> &'static Catalog {
    INSTALLED.get().expect("the program installs its catalog first")
}

/// Returns the catalog of unit tests: the portable manifest's.
#[cfg(test)]
pub fn catalog() -> &'static Catalog {
    INSTALLED.get_or_init(|| &portable::CATALOG)
}

#[cfg(test)]
mod portable {
    use super::Catalog;

    mod table {
        include!(concat!(env!("OUT_DIR"), "/portable.rs"));
    }

    pub static CATALOG: Catalog = Catalog {
        system: table::SYSTEM,
        nixpkgs: table::NIXPKGS,
        manifest_hash: "of the tests",
        tools: table::TOOLS,
        package_sets: table::PACKAGE_SETS,
        archive: &[],
        findings: &[],
    };
}
