//! The list of all packages that calls may ask for, as a text for models and people.

use std::fmt::Write;

use crate::call::catalog::catalog;
use crate::call::definition::{Package, PackageSet};
use crate::call::packages::find;

/// The URI of the list as a resource.
pub use sandbox_manifest::parameter::PACKAGES_URI as URI;
pub const NAME: &str = "packages";
pub const TITLE: &str = "Packages that a call may ask for";
pub const MIME: &str = "text/markdown";

/// Returns whether this server has no packages.
pub fn is_empty() -> bool {
    catalog().package_sets.iter().all(|set| set.packages.is_empty())
}

/// Returns the tools that have a package of this name.
pub fn tools_with(name: &str) -> Vec<&'static str> {
    tools(|set| find(set, name).is_some())
}

/// Returns the tools whose calls may ask for the packages of a set.
pub fn tools_of(set: &'static PackageSet) -> Vec<&'static str> {
    tools(|other| std::ptr::eq(set, other))
}

fn tools(is_meant: impl Fn(&'static PackageSet) -> bool) -> Vec<&'static str> {
    let takes = |sets: &[&'static PackageSet]| sets.iter().any(|set| is_meant(set));
    catalog().tools.iter().filter(|tool| takes(tool.sandbox.package_sets)).map(|tool| tool.sandbox.id).collect()
}

/// Returns the list in Markdown.
pub fn markdown() -> String {
    let mut text = format!(
        "# {TITLE}\n\nGive their names in the parameter `packages` of a call. They are added to the tool's environment for \
         that call only.\n"
    );
    for set in catalog().package_sets {
        let tools = tools_of(set);
        let tools = if tools.len() == catalog().tools.len() { "all tools".to_owned() } else { tools.join(", ") };
        // What is written to a string always succeeds.
        let _ = write!(text, "\n## {}, for {tools}\n\n", set.description);
        set.packages.iter().for_each(|package| text.push_str(&line(package)));
    }
    text
}

fn line(Package { name, version, description, .. }: &Package) -> String {
    let space = if version.is_empty() { "" } else { " " };
    let colon = if description.is_empty() { "" } else { ": " };
    format!("- `{name}`{space}{version}{colon}{description}\n")
}
