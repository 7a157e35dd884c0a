//! Reads the manifest, writes the tool table and builds the launcher. Nix is never started here.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fmt, fs};

use nix_store::archive::{Archive, Paths};
use sandbox_manifest::{Environment, Manifest, codegen};

/// Where the workspace is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The manifest to build from; without it, the portable one that holds no store paths.
const MANIFEST: &str = "SANDBOX_MCP_MANIFEST";
/// A launcher to embed that was built already; without it, it is built here.
const LAUNCHER: &str = "SANDBOX_MCP_LAUNCHER";
const PORTABLE_MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nix/manifest.json");

fn main() {
    println!("cargo::rerun-if-env-changed={MANIFEST}");
    println!("cargo::rerun-if-env-changed={LAUNCHER}");
    // For checks/build.rs, which runs this very program on other manifests.
    println!("cargo::rustc-env=SANDBOX_MCP_BUILD_SCRIPT={}", env::current_exe().unwrap_or_default().display());
    println!("cargo::rustc-env=SANDBOX_MCP_TARGET={}", env::var("TARGET").expect("cargo sets TARGET"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let result =
        sandboxes(&out.join("sandboxes.rs"), &out.join("archive")).and_then(|()| launcher(&out.join("launcher")));
    if let Err(error) = result {
        // One line, so that cargo shows it whole as the error of this package.
        println!("cargo::error={}", error.replace('\n', " "));
        exit(1);
    }
}

/// Writes the tool table that the manifest gives, and the archive of the derivations that it names.
fn sandboxes(output: &Path, archive: &Path) -> Result<(), String> {
    let path = env::var_os(MANIFEST).map_or(PORTABLE_MANIFEST.into(), PathBuf::from);
    println!("cargo::rerun-if-changed={}", path.display());
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read the manifest {}: {error}", path.display()))?;
    let refuse = |error: &dyn fmt::Display| format!("manifest {}: {error}", path.display());
    let manifest = Manifest::parse(&text).map_err(|error| refuse(&error))?;
    let compressed = match &manifest.archive {
        Some(file) => {
            println!("cargo::rerun-if-changed={}", file.display());
            fs::read(file).map_err(|error| refuse(&format!("archive: cannot read {}: {error}", file.display())))?
        }
        None => Vec::new(),
    };
    if let Some(system) = &manifest.system {
        check_derivations(&manifest, system, &compressed).map_err(|error| refuse(&error))?;
    }
    let source = codegen::generate(&manifest).map_err(|error| refuse(&error))?;
    let write =
        |to: &Path, bytes| fs::write(to, bytes).map_err(|error| format!("cannot write {}: {error}", to.display()));
    write(output, source.as_bytes())?;
    write(archive, &compressed)
}

fn check_derivations(manifest: &Manifest, system: &str, compressed: &[u8]) -> Result<(), String> {
    let unpacked = Archive::unpack(compressed).map_err(|error| format!("archive: {error}"))?;
    let paths = unpacked.paths().map_err(|error| format!("archive: {error}"))?;
    for (id, sandbox) in &manifest.sandboxes {
        if let Some(environment) = &sandbox.environment {
            check_derivation(&paths, system, environment)
                .map_err(|(field, reason)| format!("sandboxes.{id}.environment.{field}: {reason}"))?;
        }
    }
    for (id, set) in &manifest.package_sets {
        for (name, package) in &set.packages {
            check_derivation(&paths, system, &package.environment)
                .map_err(|(field, reason)| format!("packageSets.{id}.packages.{name}.environment.{field}: {reason}"))?;
        }
    }
    Ok(())
}

/// Checks that the archive has the .drv and that it makes what the manifest says: the same output for the same system.
fn check_derivation(paths: &Paths, system: &str, environment: &Environment) -> Result<(), (&'static str, String)> {
    let drv = environment.drv.as_str();
    let Some(name) = environment.drv.name().strip_suffix(".drv") else {
        return Err(("drv", format!("{drv} is not the path of a derivation: it does not end in .drv")));
    };
    let derivation = paths.derivation(&environment.drv).map_err(|error| ("drv", error.to_string()))?;
    if derivation.system != system {
        return Err(("drv", format!("{drv} is for {}, but the manifest is for {system}", derivation.system)));
    }
    if environment.out.name() != name {
        return Err(("out", format!("{} is not named {name}, as its derivation is", environment.out)));
    }
    match derivation.outputs.get("out") {
        Some(output) if output.path == environment.out.as_str() => Ok(()),
        Some(output) => Err(("out", format!("it is {}, but {drv} makes {}", environment.out, output.path))),
        None => Err(("drv", format!("{drv} has no output named out"))),
    }
}

/// Provides the launcher, which the server embeds: the one that `SANDBOX_MCP_LAUNCHER` names, or one that is built here.
fn launcher(output: &Path) -> Result<(), String> {
    let binary = match env::var_os(LAUNCHER) {
        Some(given) => {
            println!("cargo::rerun-if-changed={}", given.display());
            given.into()
        }
        None => build_launcher(output)?,
    };
    let bytes = fs::read(&binary).map_err(|error| format!("cannot read the launcher {}: {error}", binary.display()))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(format!(
            "cannot embed the launcher {}: it is not a program; set {LAUNCHER} to a built sandbox-launcher, or unset it",
            binary.display()
        ));
    }
    fs::write(output, bytes).map_err(|error| format!("cannot write {}: {error}", output.display()))
}

/// Builds the launcher as a static binary, and returns where it is.
///
/// It is built by a cargo of its own because only this one binary is static: `+crt-static` for the whole build would
/// break procedural macros, and cargo cannot set it for one package. It is static so that it runs where its file is
/// all there is: in a sandbox, or as the builder of a derivation.
fn build_launcher(output: &Path) -> Result<PathBuf, String> {
    for file in ["Cargo.toml", "Cargo.lock", "src/launcher", "src/plan"] {
        println!("cargo::rerun-if-changed={ROOT}/{file}");
    }
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let target_dir = output.with_file_name("launcher-target");
    // Optimising it as for a release takes a minute, which every edit of it would cost.
    let profile =
        if env::var("PROFILE").is_ok_and(|profile| profile == "release") { "launcher" } else { "launcher-debug" };
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo
        .args(["build", "--locked", "--package", "sandbox-launcher", "--bin", "sandbox-launcher"])
        .args(["--profile", profile])
        .args(["--target", &target, "--target-dir"])
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    // These describe the outer build (clippy's wrapper, its flags, its profile) and would change the inner one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PROFILE_")
            || ["RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"].contains(&&*name)
        {
            cargo.env_remove(name);
        }
    }
    let built = cargo.output().map_err(|error| format!("cannot start cargo to build the launcher: {error}"))?;
    if !built.status.success() {
        let log = String::from_utf8_lossy(&built.stderr).into_owned();
        let hint = if log.contains("cannot find -lc") || log.contains("libc.a") {
            "the static C library is missing (Debian: libc6-dev, Fedora: glibc-static, Nix: glibc.out before glibc.static); "
        } else {
            ""
        };
        return Err(format!("the launcher does not build: {hint}{}", log.trim()));
    }
    Ok(target_dir.join(target).join(profile).join("sandbox-launcher"))
}
