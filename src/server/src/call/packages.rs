//! Packages on demand: from the names in a call's arguments to packages of the sets that its tool takes from.
//!
//! The sets are fixed when the server is compiled, as the environments are. A name stands for a derivation that Nix
//! evaluated then; a call only has it realised.

use std::collections::BTreeSet;
use std::iter;

use crate::call::definition::{Package, PackageSet};
use crate::call::nearest::nearest;
use crate::call::package_list;

/// How many packages one call may ask for.
pub const MAX_PACKAGES: usize = 16;

/// How many characters of an unknown name are repeated.
const MAX_SHOWN_CHARACTERS: usize = 64;

/// The packages of one call, each once, in a fixed order, so that the same packages give the same derivation.
#[derive(Debug, Clone, Default)]
pub struct Packages(Vec<&'static Package>);

impl PartialEq for Packages {
    fn eq(&self, other: &Self) -> bool {
        self.outs().eq(other.outs())
    }
}

impl Eq for Packages {}

/// The reason why packages are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    #[error(
        "parameter `packages`: this tool has no package {}{}{}", shortened(.name), others(.elsewhere),
        suggestion(.nearest, .elsewhere)
    )]
    Unknown {
        name: String,
        /// The tools that have a package of this name.
        elsewhere: Vec<&'static str>,
        nearest: Vec<&'static str>,
    },
    #[error("parameter `packages` names {count} packages: {MAX_PACKAGES} at most")]
    TooMany { count: usize },
    /// The server offers no packages.
    #[error("parameter `packages`: there are none to add, because {0}: leave the parameter out")]
    None(NoPackages),
}

/// The reason why a server adds no packages to a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPackages {
    /// It was built without pinned environments.
    #[error("it was built without Nix, and packages come with `nix build`")]
    Unpinned,
    /// Its operator has chosen the toolchains of the host.
    #[error("it was started with `--executor direct`, and packages can only be added to pinned environments")]
    Direct,
    /// The tool runs on the toolchains of the host, because its environment cannot be used.
    #[error(
        "packages can only be added to pinned environments, and this machine cannot use the tool's: `sandbox-mcp doctor` tells why"
    )]
    OnHost,
    /// Its operator does not offer them.
    #[error("its operator has switched them off with `--no-packages` or `--no-call-options`")]
    SwitchedOff,
}

/// Quotes a name, and truncates it if it is long.
fn shortened(name: &str) -> String {
    let shown: String = name.chars().take(MAX_SHOWN_CHARACTERS).collect();
    let more = if shown.len() < name.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the clause that names the other tools that have a package.
fn others(tools: &[&str]) -> String {
    if tools.is_empty() { String::new() } else { format!(", only {} has", quoted(tools)) }
}

/// Returns the clause that tells which package to name instead, or where the names are listed.
fn suggestion(nearest: &[&str], elsewhere: &[&str]) -> String {
    match (nearest, elsewhere) {
        ([], []) => format!("; `sandbox-mcp packages` and the resource {} list the packages", package_list::URI),
        ([], _) => String::new(),
        (nearest, _) => format!("; the nearest names are {}", quoted(nearest)),
    }
}

impl Packages {
    /// Returns the packages of these names. A name that several sets have selects the package of each, such as a Python
    /// module and the program that it drives. `elsewhere` returns the tools that have a name which these sets lack.
    ///
    /// # Errors
    ///
    /// Fails if there are too many names, or if one is unknown.
    pub fn choose(
        names: &[String],
        sets: &[&'static PackageSet],
        elsewhere: impl Fn(&str) -> Vec<&'static str>,
    ) -> Result<Self, PackageError> {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        if names.len() > MAX_PACKAGES {
            return Err(PackageError::TooMany { count: names.len() });
        }
        let mut chosen = Vec::new();
        for name in names {
            let before = chosen.len();
            chosen.extend(sets.iter().filter_map(|set| find(set, name)));
            if chosen.len() == before {
                let mut known: Vec<&str> =
                    sets.iter().flat_map(|set| set.packages).map(|package| package.name).collect();
                known.sort_unstable();
                known.dedup();
                let nearest = nearest(name, &known);
                return Err(PackageError::Unknown { name: name.to_owned(), elsewhere: elsewhere(name), nearest });
            }
        }
        Ok(Self(chosen))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &'static Package> {
        self.0.iter().copied()
    }

    /// Returns their output paths.
    pub(crate) fn outs(&self) -> impl Iterator<Item = &'static str> {
        self.iter().map(|package| package.environment.out)
    }

    /// Returns what each package adds to environment variables that list directories.
    pub fn search_paths(&self) -> impl Iterator<Item = (&'static str, String)> {
        let of = |package: &'static Package| iter::repeat(package.environment.out).zip(package.search_paths);
        self.iter().flat_map(of).map(|(out, (variable, directory))| (*variable, format!("{out}/{directory}")))
    }
}

/// Returns the package of this name.
pub fn find(set: &'static PackageSet, name: &str) -> Option<&'static Package> {
    let index = set.packages.binary_search_by_key(&name, |package| package.name).ok()?;
    Some(&set.packages[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::definition::Environment;

    const fn package(name: &'static str, out: &'static str, search_paths: &'static [(&str, &str)]) -> Package {
        Package {
            name,
            version: "",
            description: "",
            provides: &[],
            search_paths,
            environment: Environment { drv: "", out },
        }
    }

    const PATH: &[(&str, &str)] = &[("PATH", "bin")];
    const MODULES: &[(&str, &str)] = &[("PYTHONPATH", "lib/modules")];

    static COMMANDS: PackageSet = PackageSet {
        id: "commands",
        description: "",
        packages: &[
            package("graphviz", "/c-graphviz", PATH),
            package("imagemagick", "/c-imagemagick", PATH),
            package("lua", "/c-lua", PATH),
            package("ripgrep", "/c-ripgrep", PATH),
        ],
    };
    static PYTHON: PackageSet = PackageSet {
        id: "python",
        description: "",
        packages: &[
            package("graphviz", "/p-graphviz", MODULES),
            package("python-docx", "/p-python-docx", MODULES),
            package("ruamel-yaml", "/p-ruamel-yaml", MODULES),
            package("scikit-learn", "/p-scikit-learn", MODULES),
        ],
    };

    fn choose(names: &[&str], sets: &[&'static PackageSet]) -> Result<Packages, PackageError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Packages::choose(&names, sets, |name| find(&PYTHON, name).map(|_| "python").into_iter().collect())
    }

    fn outs(names: &[&str], sets: &[&'static PackageSet]) -> Vec<&'static str> {
        choose(names, sets).expect("the names are known").outs().collect()
    }

    #[test]
    fn package_names_in_any_order_are_the_same_packages() {
        let given = choose(&["ripgrep", "lua"], &[&COMMANDS]).unwrap();
        assert_eq!(given, choose(&["lua", "ripgrep", "lua"], &[&COMMANDS]).unwrap());
        assert_ne!(given, choose(&["lua"], &[&COMMANDS]).unwrap());
        assert_eq!(outs(&["ripgrep", "lua"], &[&COMMANDS]), ["/c-lua", "/c-ripgrep"]);
        assert!(choose(&[], &[&COMMANDS]).unwrap().is_empty());
    }

    #[test]
    fn package_name_in_two_sets_selects_both() {
        assert_eq!(outs(&["graphviz"], &[&COMMANDS, &PYTHON]), ["/c-graphviz", "/p-graphviz"]);
        assert_eq!(outs(&["graphviz"], &[&COMMANDS]), ["/c-graphviz"]);
    }

    #[test]
    fn search_paths_are_directories_of_the_packages() {
        let packages = choose(&["lua", "graphviz"], &[&COMMANDS, &PYTHON]).unwrap();
        let expected = [("PATH", "/c-graphviz/bin"), ("PYTHONPATH", "/p-graphviz/lib/modules"), ("PATH", "/c-lua/bin")];
        let found: Vec<_> = packages.search_paths().collect();
        assert_eq!(found, expected.map(|(variable, directory)| (variable, directory.to_owned())));
    }

    #[test]
    fn unknown_name_is_refused_with_the_nearest() {
        for (name, nearest) in [
            ("ripgrpe", "`ripgrep`"),
            ("Image_Magick", "`imagemagick`"),
            ("ruamel.yaml", "`ruamel-yaml`"),
            ("sklearn", "`scikit-learn`"),
            ("rip-and-grep", "`ripgrep`"),
            ("docx", "`python-docx`"),
            ("lua5", "`lua`"),
        ] {
            let error = choose(&[name], &[&COMMANDS, &PYTHON]).unwrap_err().to_string();
            assert!(error.contains(&format!("no package {name:?}; the nearest names are {nearest}")), "{error}");
        }
    }

    #[test]
    fn unknown_package_without_neighbours_names_the_list() {
        let error = choose(&["xyzzy"], &[&COMMANDS]).unwrap_err().to_string();
        assert!(
            error.contains("\"xyzzy\"; `sandbox-mcp packages` and the resource sandbox-mcp://packages list"),
            "{error}"
        );
    }

    #[test]
    fn name_that_only_another_tool_has_is_refused_with_that_tool() {
        let error = choose(&["scikit-learn"], &[&COMMANDS]).unwrap_err().to_string();
        assert!(error.contains("no package \"scikit-learn\", only `python` has"), "{error}");
    }

    #[test]
    fn too_many_names_are_refused_with_the_number_that_is_allowed() {
        let names: Vec<String> = (0..=MAX_PACKAGES).map(|index| index.to_string()).collect();
        let error = Packages::choose(&names, &[&COMMANDS], |_| Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "parameter `packages` names 17 packages: 16 at most");
    }

    #[test]
    fn unknown_name_without_end_is_shortened_in_the_error() {
        let error = choose(&[&"é".repeat(100_000)], &[&COMMANDS]).unwrap_err().to_string();
        assert!(error.len() < 300, "{} bytes", error.len());
    }
}
