//! Tests of the compiled build script, run as cargo runs it, on valid and invalid manifests.
//!
//! The .drv files of pinned manifests are instantiated in this machine's store, but never built. The tests that need them are
//! ignored if there is no Nix.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use nix_store::nar::Node;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The path of the build script's binary, which build.rs exports.
const BUILD_SCRIPT: &str = env!("SANDBOX_MCP_BUILD_SCRIPT");
const SYSTEM: &str = "x86_64-linux";
const OTHER_SYSTEM: &str = "aarch64-linux";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let nix = has_nix();
    let built_here = Path::new(BUILD_SCRIPT).exists();
    if !built_here {
        eprintln!("Ignored: {BUILD_SCRIPT} no longer exists; these tests can only run where cargo built them.");
    } else if !nix {
        eprintln!("Ignored the tests that need a real .drv file: nix-instantiate finds no store here.");
    }
    let plain = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!built_here);
    let with_nix =
        |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!built_here || !nix);
    let tests = vec![
        plain("good_manifest_gives_the_tool_table", good_manifest),
        plain("hash_is_that_of_the_manifest_wherever_it_is", hash_of_content),
        plain("missing_manifest_is_an_error_that_names_it", missing_manifest),
        plain("invalid_json_is_an_error_that_names_the_line", no_json),
        plain("unknown_key_is_an_error_that_names_it_and_the_manifest", unknown_key),
        plain("invalid_store_path_is_an_error_that_names_its_key", bad_store_path),
        plain("missing_drv_is_an_error_that_names_it", missing_drv),
        plain("missing_archive_is_an_error_that_names_it", missing_archive),
        plain("broken_archive_is_an_error", broken_archive),
        plain("path_that_does_not_end_in_drv_is_refused", no_drv),
        plain("reason_is_shown_by_cargo_as_its_own_error", shown_by_cargo),
        with_nix("pinned_manifest_is_checked_and_carried_into_the_table", pinned),
        with_nix("drv_of_another_system_is_refused_with_both_systems", other_system),
        with_nix("drv_of_another_output_is_refused_with_both_paths", other_output),
        with_nix("output_of_another_name_is_refused_with_both_names", other_name),
        with_nix("drv_without_an_output_named_out_is_refused", no_output),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// A build directory like the one that cargo gives to a build script.
struct Build {
    directory: TempDir,
    manifest: PathBuf,
    archive: PathBuf,
}

impl Build {
    fn of(manifest: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("manifest.json");
        fs::write(&file, manifest).unwrap();
        Self { directory, manifest: file, archive: PathBuf::new() }
    }

    fn run(&self) -> Output {
        Command::new(BUILD_SCRIPT)
            .env("OUT_DIR", self.directory.path())
            .env("SANDBOX_MCP_MANIFEST", &self.manifest)
            .output()
            .unwrap()
    }

    /// Returns the error of a failed build, without the manifest's path at its beginning.
    fn refusal(&self) -> Result<String, Failed> {
        let output = self.run();
        let stdout = String::from_utf8(output.stdout)?;
        if output.status.success() {
            return Err(format!("the build script accepted it and printed {stdout}").into());
        }
        let errors: Vec<_> = stdout.lines().filter_map(|line| line.strip_prefix("cargo::error=")).collect();
        let expected = format!("manifest {}: ", self.manifest.display());
        match errors[..] {
            [error] => Ok(error.strip_prefix(&expected).ok_or_else(|| format!("no path in {error}"))?.to_owned()),
            _ => Err(format!("expected one line for cargo, but it printed {stdout}").into()),
        }
    }

    fn assert_refused(&self, error: &str) -> Result<(), Failed> {
        let refusal = self.refusal()?;
        if refusal.starts_with(error) { Ok(()) } else { Err(format!("expected {error}…\n     got {refusal}").into()) }
    }
}

fn portable() -> Value {
    serde_json::from_str(include_str!("../../manifest/tests/codegen/portable.json")).unwrap()
}

/// Returns the portable manifest with a pinned environment, and an archive that holds the .drv if the store has it.
fn manifest(drv: &str, out: &str) -> Build {
    with_archive(drv, out, &archive_of(drv))
}

fn with_archive(drv: &str, out: &str, archive: &[u8]) -> Build {
    let mut manifest = portable();
    manifest["system"] = json!(SYSTEM);
    manifest["sandboxes"]["shell"]["environment"] = json!({ "drv": drv, "out": out });
    let mut build = Build::of("");
    let file = build.directory.path().join("given");
    fs::write(&file, archive).unwrap();
    manifest["archive"] = json!(file);
    build.archive = file;
    fs::write(&build.manifest, manifest.to_string()).unwrap();
    build
}

fn archive_of(drv: &str) -> Vec<u8> {
    let content = fs::read(drv).unwrap_or_default();
    let entry = match drv.strip_prefix("/nix/store/") {
        Some(name) if !content.is_empty() => Some((name, Node::File { content: &content, executable: false })),
        _ => None,
    };
    let mut archive = Vec::new();
    let root = Node::Directory(entry.into_iter().map(|(name, node)| (name.as_bytes(), node)).collect());
    root.write(&mut archive).unwrap();
    compress_to_vec(&*archive, CompressionLevel::Fastest)
}

fn good_manifest() -> Result<(), Failed> {
    let build = Build::of(&portable().to_string());
    let output = build.run();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout)?;
    assert!(stdout.contains(&format!("cargo::rerun-if-changed={}\n", build.manifest.display())), "{stdout}");
    assert!(stdout.contains("cargo::rerun-if-env-changed=SANDBOX_MCP_MANIFEST\n"), "{stdout}");
    let table = fs::read_to_string(build.directory.path().join("table.rs"))?;
    assert_eq!(table, include_str!("../../manifest/tests/codegen/portable.rs"));
    assert!(fs::read(build.directory.path().join("archive"))?.is_empty());
    let hash = hash(&stdout)?;
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    Ok(())
}

/// Returns the manifest's hash, as the build script gives it to the compiler.
fn hash(stdout: &str) -> Result<String, Failed> {
    let line = stdout.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=SANDBOX_MCP_MANIFEST_HASH="));
    Ok(line.ok_or_else(|| format!("no hash in {stdout}"))?.to_owned())
}

fn hash_of_content() -> Result<(), Failed> {
    let hash_of = |manifest: &Value| hash(&String::from_utf8(Build::of(&manifest.to_string()).run().stdout)?);
    let mut manifest = portable();
    let first = hash_of(&manifest)?;
    // The directory is another one each time.
    assert_eq!(first, hash_of(&manifest)?);
    manifest["sandboxes"]["shell"]["definition"]["timeout"] = json!(61);
    assert_ne!(first, hash_of(&manifest)?);
    Ok(())
}

fn missing_manifest() -> Result<(), Failed> {
    let build = Build::of("");
    fs::remove_file(&build.manifest)?;
    let output = build.run();
    let expected = format!("cargo::error=cannot read the manifest {}: No such file", build.manifest.display());
    assert!(!output.status.success() && String::from_utf8(output.stdout)?.contains(&expected));
    Ok(())
}

fn no_json() -> Result<(), Failed> {
    Build::of("{\n\"format\": 1,\n}").assert_refused("trailing comma at line 3 column 1")
}

fn unknown_key() -> Result<(), Failed> {
    let mut manifest = portable();
    manifest["sandboxes"]["shell"]["definition"]["colour"] = json!("red");
    Build::of(&manifest.to_string()).assert_refused("sandboxes.shell.definition.colour: unknown field `colour`")
}

const HASH: &str = "0123456789abcdfghijklmnpqrsvwxyz";

fn bad_store_path() -> Result<(), Failed> {
    manifest("/home/me/shell.drv", &format!("/nix/store/{HASH}-shell"))
        .assert_refused("sandboxes.shell.environment.drv: `/home/me/shell.drv` is not a store path")
}

fn missing_drv() -> Result<(), Failed> {
    let drv = format!("/nix/store/{HASH}-shell.drv");
    manifest(&drv, &format!("/nix/store/{HASH}-shell"))
        .assert_refused(&format!("sandboxes.shell.environment.drv: the archive does not hold {drv}"))
}

fn missing_archive() -> Result<(), Failed> {
    let path = format!("/nix/store/{HASH}-shell");
    let build = with_archive(&format!("{path}.drv"), &path, b"");
    fs::remove_file(&build.archive)?;
    build.assert_refused(&format!("archive: cannot read {}: No such file", build.archive.display()))
}

fn broken_archive() -> Result<(), Failed> {
    let path = format!("/nix/store/{HASH}-shell");
    let good = archive_of(&path);
    for bad in [&b"none"[..], &good[..good.len() - 1]] {
        with_archive(&format!("{path}.drv"), &path, bad).assert_refused("archive: cannot unpack the archive: ")?;
    }
    Ok(())
}

fn no_drv() -> Result<(), Failed> {
    let path = format!("/nix/store/{HASH}-shell");
    manifest(&path, &path)
        .assert_refused(&format!("sandboxes.shell.environment.drv: {path} is not the path of a derivation"))
}

/// Returns what cargo prints for a package that has only this build script, which takes a second.
fn shown_by_cargo() -> Result<(), Failed> {
    let build = Build::of("{}");
    let package = build.directory.path();
    fs::write(
        package.join("Cargo.toml"),
        "[package]\nname = \"p\"\nedition = \"2024\"\nbuild = \"build.rs\"\n[workspace]\n",
    )?;
    fs::create_dir(package.join("src"))?;
    fs::write(package.join("src/lib.rs"), "")?;
    let script = format!(
        "use std::os::unix::process::CommandExt;\n\
         fn main() {{ panic!(\"{{}}\", std::process::Command::new({BUILD_SCRIPT:?}).exec()) }}\n"
    );
    fs::write(package.join("build.rs"), script)?;
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--target-dir"])
        .arg(package.join("target"))
        .current_dir(package)
        .env("SANDBOX_MCP_MANIFEST", &build.manifest)
        .output()?;
    let stderr = String::from_utf8(output.stderr)?;
    let expected = format!("manifest {}: missing field `format`", build.manifest.display());
    assert!(!output.status.success(), "{stderr}");
    assert!(stderr.lines().any(|line| line.starts_with("error: ") && line.contains(&expected)), "{stderr}");
    Ok(())
}

fn has_nix() -> bool {
    instantiate("sandbox-mcp-probe", SYSTEM, "out").is_ok()
}

/// Writes a .drv to the store without building it, and returns its path.
fn instantiate(name: &str, system: &str, output: &str) -> Result<String, Failed> {
    let expression = format!(
        "derivation {{ name = {name:?}; system = {system:?}; builder = \"/bin/sh\"; outputs = [ {output:?} ]; }}"
    );
    let run = Command::new("nix-instantiate").args(["--expr", &expression]).output()?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned().into());
    }
    let path = String::from_utf8(run.stdout)?;
    // nix-instantiate appends `!` and the name of an output that is not `out`.
    Ok(path.trim().split('!').next().unwrap_or_default().to_owned())
}

fn output_of(drv: &str) -> Result<String, Failed> {
    let run = Command::new("nix-store").args(["--query", "--outputs", drv]).output()?;
    Ok(String::from_utf8(run.stdout)?.trim().to_owned())
}

fn pinned() -> Result<(), Failed> {
    let drv = instantiate("shell", SYSTEM, "out")?;
    let out = output_of(&drv)?;
    let build = manifest(&drv, &out);
    let output = build.run();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout)?;
    assert!(stdout.contains(&format!("cargo::rerun-if-changed={}\n", build.archive.display())), "{stdout}");
    assert_eq!(fs::read(build.directory.path().join("archive"))?, fs::read(&build.archive)?);
    let table = fs::read_to_string(build.directory.path().join("table.rs"))?;
    assert!(table.contains(&format!("drv: \"{drv}\"")) && table.contains(&format!("out: \"{out}\"")), "{table}");
    Ok(())
}

fn other_system() -> Result<(), Failed> {
    let drv = instantiate("shell", OTHER_SYSTEM, "out")?;
    manifest(&drv, &output_of(&drv)?).assert_refused(&format!(
        "sandboxes.shell.environment.drv: {drv} is for {OTHER_SYSTEM}, but the manifest is for {SYSTEM}"
    ))
}

fn other_output() -> Result<(), Failed> {
    let drv = instantiate("shell", SYSTEM, "out")?;
    let other = format!("/nix/store/{HASH}-shell");
    manifest(&drv, &other).assert_refused(&format!(
        "sandboxes.shell.environment.out: it is {other}, but {drv} makes {}",
        output_of(&drv)?
    ))
}

fn other_name() -> Result<(), Failed> {
    let drv = instantiate("shell", SYSTEM, "out")?;
    let other = output_of(&drv)?.replace("-shell", "-bash");
    manifest(&drv, &other)
        .assert_refused(&format!("sandboxes.shell.environment.out: {other} is not named shell, as its derivation is"))
}

fn no_output() -> Result<(), Failed> {
    let drv = instantiate("shell", SYSTEM, "lib")?;
    manifest(&drv, &format!("/nix/store/{HASH}-shell"))
        .assert_refused(&format!("sandboxes.shell.environment.drv: {drv} has no output named out"))
}
