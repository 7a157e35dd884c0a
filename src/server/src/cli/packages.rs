//! The command `packages`: what calls may ask for.

use std::process::ExitCode;

use serde::Serialize;

use crate::call::catalog::catalog;
use crate::call::definition::PackageSet;
use crate::call::package_list;
use crate::cli::output::{print, print_json};
use crate::cli::server_info::ServerInfo;

/// What `packages --json` prints.
#[derive(Debug, Serialize)]
struct PackageLists {
    server: ServerInfo,
    sets: Vec<ListedSet>,
}

#[derive(Debug, Serialize)]
struct ListedSet {
    name: &'static str,
    description: &'static str,
    /// The tools whose calls may ask for these packages.
    tools: Vec<&'static str>,
    packages: Vec<ListedPackage>,
}

#[derive(Debug, Serialize)]
struct ListedPackage {
    name: &'static str,
    /// Empty if it is not known.
    version: &'static str,
    /// Empty if there is none.
    description: &'static str,
    /// Its store path.
    path: &'static str,
}

/// Prints the list. The status is 0 if there is a package in it.
pub fn run(is_json: bool) -> ExitCode {
    if is_json {
        let sets = catalog().package_sets.iter().map(|set| listed(set)).collect();
        print_json(&PackageLists { server: ServerInfo::of(catalog()), sets });
    }
    if package_list::is_empty() {
        eprintln!("This server has no packages: they come with pinned environments, and it was built without Nix.");
        return ExitCode::FAILURE;
    }
    if !is_json {
        print(&package_list::markdown());
    }
    ExitCode::SUCCESS
}

fn listed(set: &'static PackageSet) -> ListedSet {
    let packages = set.packages.iter().map(|package| ListedPackage {
        name: package.name,
        version: package.version,
        description: package.description,
        path: package.environment.out,
    });
    ListedSet {
        name: set.id,
        description: set.description,
        tools: package_list::tools_of(set),
        packages: packages.collect(),
    }
}
