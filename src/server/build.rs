//! Provides the launcher, which the server embeds, and the tool table of unit tests.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

use sandbox_manifest::{Manifest, codegen};

/// Where the workspace is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A launcher to embed that was built already; without it, it is built here.
const LAUNCHER: &str = "SANDBOX_MCP_LAUNCHER";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={LAUNCHER}");
    // For tests/build_script.rs, which runs this very program with other launchers.
    println!("cargo::rustc-env=SANDBOX_MCP_BUILD_SCRIPT={}", env::current_exe().unwrap_or_default().display());
    println!("cargo::rustc-env=SANDBOX_MCP_TARGET={}", env::var("TARGET").expect("cargo sets TARGET"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if let Err(error) = launcher(&out.join("launcher")).and_then(|()| portable_table(&out.join("portable.rs"))) {
        // One line, so that cargo shows it whole as the error of this package.
        println!("cargo::error={}", error.replace('\n', " "));
        exit(1);
    }
}

/// Writes the tool table of the portable manifest, for unit tests. Nothing else depends on a manifest, so where the manifest
/// is missing, as in the derivation that compiles this crate for many manifests, no more than these tests is.
fn portable_table(output: &Path) -> Result<(), String> {
    let path = format!("{ROOT}/nix/manifest.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    println!("cargo::rerun-if-changed={path}");
    let source = Manifest::parse(&text).and_then(|manifest| codegen::generate(&manifest));
    let source = source.map_err(|error| format!("manifest {path}: {error}"))?;
    fs::write(output, source).map_err(|error| format!("cannot write {}: {error}", output.display()))
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
