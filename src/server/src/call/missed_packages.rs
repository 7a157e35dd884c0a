//! The packages that have what a program missed, as far as its errors tell: a command that was not found, or a module.

use std::collections::BTreeSet;

use crate::call::definition::{Package, PackageSet};
use crate::call::outcome::RunResult;
use crate::call::packages::Packages;

/// How many packages are named.
const MAX_NAMED: usize = 5;
/// The bytes of a line that are looked at, and the most lines of each stream.
const MAX_LINE_BYTES: usize = 4096;
const MAX_LINES: usize = 2000;
/// The variables that lead programs to commands and to Python modules.
const COMMANDS: &str = "PATH";
const MODULES: &str = "PYTHONPATH";

/// Something that a program missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed<'a> {
    Command(&'a str),
    /// With the packages that it is in, separated by dots.
    Module(&'a str),
}

/// The names of packages to ask for, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissedPackages(Vec<&'static str>);

impl MissedPackages {
    /// Returns the packages of `sets` that have what a program missed and were not among its call's packages, `given`.
    pub fn of(result: &RunResult, sets: &[&'static PackageSet], given: &Packages) -> Self {
        if sets.is_empty() {
            return Self::default();
        }
        let stderr = result.stderr.text();
        // Many scripts print the errors of their commands.
        let stdout = if result.succeeded() { String::new() } else { result.stdout.text() };
        let lines = [&stderr, &stdout].into_iter().flat_map(|text| text.lines().rev().take(MAX_LINES));
        let missed = lines.filter(|line| line.len() <= MAX_LINE_BYTES).filter_map(missed);
        let found: BTreeSet<&str> = missed.filter_map(|missed| find(missed, sets)).collect();
        let is_given = |name: &str| given.iter().any(|package| package.name == name);
        Self(found.into_iter().filter(|name| !is_given(name)).take(MAX_NAMED).collect())
    }

    /// Returns the sentence that names them; `None` if there are none.
    pub fn hint(&self) -> Option<String> {
        let quoted: Vec<String> = self.0.iter().map(|name| format!("\"{name}\"")).collect();
        let missing =
            if self.0.len() == 1 { "is what is missing: ask for it" } else { "are what is missing: ask for them" };
        if self.0.is_empty() {
            return None;
        }
        Some(format!("{} {missing} with \"packages\": [{}]", self.0.join(" and "), quoted.join(", ")))
    }
}

/// Returns the package that has it: one of that name if there is one, or else the first that provides it.
fn find(missed: Missed, sets: &[&'static PackageSet]) -> Option<&'static str> {
    let (name, variable) = match missed {
        Missed::Command(name) => (name, COMMANDS),
        Missed::Module(name) => (name.split('.').next().unwrap_or(name), MODULES),
    };
    let packages = || {
        let all = sets.iter().flat_map(|set| set.packages);
        all.filter(|package: &&Package| package.search_paths.iter().any(|(searched, _)| *searched == variable))
    };
    let provides = |package: &&Package| package.provides.contains(&name);
    let is_named = |package: &&Package| package.name == name || package.name.replace('-', "_") == name;
    // A package of several modules may be named like one that it does not have, and a command may be in two packages.
    let provider = packages().filter(provides).max_by_key(is_named);
    provider.or_else(|| packages().find(is_named)).map(|package| package.name)
}

/// Returns what a line of a program's errors says is missing.
fn missed(line: &str) -> Option<Missed<'_>> {
    let line = line.trim();
    missed_command(line).map(Missed::Command).or_else(|| missed_module(line).map(Missed::Module))
}

fn missed_command(line: &str) -> Option<&str> {
    fn last_word(text: &str) -> Option<&str> {
        text.rsplit(": ").next()
    }
    // bash: `main.sh: line 1: curl: command not found`; dash and busybox: `sh: 1: curl: not found`.
    let by_shell = [": command not found", ": not found"].iter().find_map(|end| line.strip_suffix(end)).map(last_word);
    // `./tool: /usr/bin/perl: bad interpreter: No such file or directory`
    let by_script = || line.strip_suffix(": bad interpreter: No such file or directory").map(last_word);
    // env, timeout, nice: `env: 'perl': No such file or directory`, `timeout: failed to run command 'curl': No such…`
    let by_wrapper = || {
        let rest = line.strip_suffix(": No such file or directory")?;
        let (wrapper, rest) = rest.split_once(": ")?;
        WRAPPERS.contains(&wrapper.rsplit('/').next()?).then(|| last_word(rest.rsplit(' ').next()?))
    };
    // `FileNotFoundError: [Errno 2] No such file or directory: 'pytest'`
    let by_python =
        || line.split_once("FileNotFoundError: [Errno 2] No such file or directory: ").map(|(_, name)| Some(name));
    // `Error: spawn curl ENOENT`, `spawnSync curl ENOENT`
    let by_node = || {
        let (_, rest) = line.split_once("spawn")?;
        let (name, _) = rest.strip_prefix("Sync").unwrap_or(rest).strip_prefix(' ')?.split_once(" ENOENT")?;
        Some(Some(name))
    };
    // `exec: "curl": executable file not found in $PATH`
    let by_go = || {
        let (rest, _) = line.split_once("\": executable file not found in $PATH")?;
        Some(rest.rsplit("exec: \"").next())
    };
    // `java.io.IOException: Cannot run program "curl": …`
    let by_java = || {
        let (_, rest) = line.split_once("Cannot run program \"")?;
        rest.contains("No such file").then(|| rest.split('"').next())
    };
    let name = by_shell
        .or_else(by_script)
        .or_else(by_wrapper)
        .or_else(by_python)
        .or_else(by_node)
        .or_else(by_go)
        .or_else(by_java)??;
    let name = name.trim_matches(['\'', '"', '`', '‘', '’']);
    // An absolute path is that of another system; the name of a file of the program's own has a directory or is unknown.
    let name = name.strip_prefix('/').map_or(name, |path| path.rsplit('/').next().unwrap_or(path));
    (!name.is_empty() && !name.contains([' ', '/'])).then_some(name)
}

/// Commands that run another one and print its name.
const WRAPPERS: [&str; 8] = ["env", "timeout", "nice", "nohup", "xargs", "stdbuf", "setsid", "time"];

fn missed_module(line: &str) -> Option<&str> {
    let quoted =
        ["ModuleNotFoundError: No module named '", "Missing optional dependency '", "ImportError: No module named '"];
    let by_import = quoted.iter().find_map(|begin| line.split_once(begin)?.1.split('\'').next());
    // `/usr/bin/python: No module named pytest`
    let by_option = || {
        let (program, name) = line.split_once(": No module named ")?;
        program.rsplit('/').next()?.starts_with("python").then_some(name)
    };
    // `docx requires the tabulate library`, and the like, are in too many words.
    let name = by_import.or_else(by_option)?;
    let is_name = |name: &str| name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-'));
    is_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::definition::Environment;
    use crate::call::outcome::Ending;
    use crate::testing;

    const fn package(
        name: &'static str,
        provides: &'static [&'static str],
        search_paths: &'static [(&str, &str)],
    ) -> Package {
        Package {
            name,
            version: "",
            description: "",
            provides,
            search_paths,
            environment: Environment { drv: "", out: "" },
        }
    }

    const PATH: &[(&str, &str)] = &[("PATH", "bin")];
    const BOTH: &[(&str, &str)] = &[("PATH", "bin"), ("PYTHONPATH", "lib")];

    static COMMANDS: PackageSet = PackageSet {
        id: "commands",
        description: "",
        packages: &[
            package("curl", &["curl"], PATH),
            package("perl", &["perl"], PATH),
            package("util-linux", &["column", "rev"], PATH),
        ],
    };
    static PYTHON: PackageSet = PackageSet {
        id: "python",
        description: "",
        packages: &[
            package("opencv", &["cv2"], BOTH),
            package("pytest", &["pytest"], BOTH),
            package("python-docx", &["docx"], BOTH),
            package("ruamel-yaml", &["ruamel"], BOTH),
        ],
    };

    fn hint(code: i32, stderr: &str) -> Option<String> {
        let result = testing::run_result(Ending::Exited { code }, stderr);
        MissedPackages::of(&result, &[&COMMANDS, &PYTHON], &Packages::default()).hint()
    }

    #[test]
    fn missing_command_or_module_is_found_in_its_package() {
        for (error, package) in [
            ("main.sh: line 1: curl: command not found", "curl"),
            ("main.sh: 3: rev: not found", "util-linux"),
            ("./x: /usr/bin/perl: bad interpreter: No such file or directory", "perl"),
            ("/usr/bin/env: ‘perl’: No such file or directory", "perl"),
            ("timeout: failed to run command 'column': No such file or directory", "util-linux"),
            ("xargs: curl: No such file or directory", "curl"),
            ("FileNotFoundError: [Errno 2] No such file or directory: 'pytest'", "pytest"),
            ("Error: spawn curl ENOENT", "curl"),
            ("Error: spawnSync curl ENOENT", "curl"),
            ("panic: exec: \"curl\": executable file not found in $PATH", "curl"),
            (
                "Exception: java.io.IOException: Cannot run program \"curl\": Exec failed, error: 2 (No such file or directory)",
                "curl",
            ),
            ("ModuleNotFoundError: No module named 'docx'", "python-docx"),
            ("ModuleNotFoundError: No module named 'ruamel.yaml'; 'ruamel' is not a package", "ruamel-yaml"),
            ("ImportError: Missing optional dependency 'docx'.  Use pip or conda to install docx.", "python-docx"),
            ("/nix/store/x-python3/bin/python3: No module named pytest", "pytest"),
            ("  ModuleNotFoundError: No module named 'cv2'", "opencv"),
        ] {
            let expected = format!("{package} is what is missing: ask for it with \"packages\": [\"{package}\"]");
            assert_eq!(hint(1, error), Some(expected), "{error}");
        }
        let two = hint(127, "a: line 1: curl: command not found\na: line 2: perl: command not found\n");
        assert_eq!(
            two.as_deref(),
            Some("curl and perl are what is missing: ask for them with \"packages\": [\"curl\", \"perl\"]")
        );
    }

    #[test]
    fn errors_about_anything_else_have_no_hint() {
        for error in [
            "main.sh: line 1: frobnicate: command not found",
            "cat: curl: No such file or directory",
            "FileNotFoundError: [Errno 2] No such file or directory: 'data/curl'",
            "ModuleNotFoundError: No module named 'curl'",
            "curl: (6) Could not resolve host: a",
            ": command not found",
            "ModuleNotFoundError: No module named ''",
        ] {
            assert_eq!(hint(1, error), None, "{error}");
        }
    }

    #[test]
    fn package_of_the_call_itself_is_not_asked_for() {
        let names = ["curl".to_owned()];
        let given = Packages::choose(&names, &[&COMMANDS], |_| Vec::new()).unwrap();
        let result = testing::run_result(Ending::Exited { code: 127 }, "a: curl: command not found");
        assert_eq!(MissedPackages::of(&result, &[&COMMANDS], &given), MissedPackages::default());
        assert_eq!(MissedPackages::of(&result, &[], &Packages::default()), MissedPackages::default());
    }
}
