//! Reads the manifest and writes the tool table. Nix is never started here.

use std::path::{Path, PathBuf};
use std::process::exit;
use std::{env, fmt, fs};

use nix_store::archive::{Archive, Paths};
use sandbox_manifest::{Manifest, ManifestEnvironment, codegen};
use sha2::{Digest, Sha256};

/// The manifest to build from; without it, the portable one that holds no store paths.
const MANIFEST: &str = "SANDBOX_MCP_MANIFEST";
/// The number of bytes that are kept of the manifest's hash: servers are compared by it, also by people.
const HASH_BYTES: usize = 16;
const PORTABLE_MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nix/manifest.json");

fn main() {
    println!("cargo::rerun-if-env-changed={MANIFEST}");
    // For tests/build.rs, which runs this very program on other manifests.
    println!("cargo::rustc-env=SANDBOX_MCP_BUILD_SCRIPT={}", env::current_exe().unwrap_or_default().display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if let Err(error) = sandboxes(&out.join("table.rs"), &out.join("archive")) {
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
    println!("cargo::rustc-env=SANDBOX_MCP_MANIFEST_HASH={}", hash(&text));
    let source = codegen::generate(&manifest).map_err(|error| refuse(&error))?;
    let write =
        |to: &Path, bytes| fs::write(to, bytes).map_err(|error| format!("cannot write {}: {error}", to.display()));
    write(output, source.as_bytes())?;
    write(archive, &compressed)
}

/// Returns the hash of a manifest. It covers all that calls depend on except the launcher: the archive is named by what it is
/// made from.
fn hash(manifest: &str) -> String {
    Sha256::digest(manifest)[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
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
fn check_derivation(
    paths: &Paths,
    system: &str,
    environment: &ManifestEnvironment,
) -> Result<(), (&'static str, String)> {
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
