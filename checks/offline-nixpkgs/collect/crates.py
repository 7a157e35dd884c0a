"""Crates, by cargo: those of the project's Cargo.lock files, and those of the programs that are built from their crate."""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from pathlib import Path

import store


def collect(spec, lock_file, project_locks):
    """`spec` and `lock_file` are the programs' ([crates] in packages.toml, crates.json)."""
    lock = json.loads(lock_file.read_text()) if lock_file.exists() else {}
    if {program: {"name": p["name"], "version": p["version"]} for program, p in lock.items()} != spec:
        lock = {program: lock_program(**crate) for program, crate in spec.items()}
        lock_file.write_text(json.dumps(lock, indent=1) + "\n")

    crates = {}
    for project_lock in project_locks:
        crates |= dependencies(project_lock.read_text())
    for program in lock.values():
        crates |= dependencies(program["cargoLock"])
        crates[program["name"], program["version"]] = program["checksum"]

    missing = store.absent({file_name(*crate): checksum for crate, checksum in crates.items()})
    if missing:
        for project_lock in project_locks:
            cargo_fetch(project_lock.with_name("Cargo.toml"))
        for program in lock.values():
            fetch_program(program["name"], program["version"])
        with tempfile.TemporaryDirectory() as directory:
            for crate in crates:
                if file_name(*crate) in missing:
                    shutil.copyfile(downloaded(*crate), f"{directory}/{file_name(*crate)}")
            store.add(f"{directory}/{file}" for file in missing)
    return len(crates), len(missing)


def file_name(name, version):
    """The same as `crate` in build/rust.nix."""
    return f"crate-{name}-{version}.tar.gz"


def dependencies(cargo_lock):
    """{(name, version): checksum} of a Cargo.lock's text, without what comes by path."""
    return {(p["name"], p["version"]): p["checksum"] for p in tomllib.loads(cargo_lock)["package"] if "checksum" in p}


def lock_program(name, version):
    """A program's crate, with the Cargo.lock that it carries."""
    checksum, cargo_lock = fetch_program(name, version)
    return {"name": name, "version": version, "checksum": checksum, "cargoLock": cargo_lock}


def fetch_program(name, version):
    """Downloads a crate and all that its own Cargo.lock names."""
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        # Cargo fetches dependencies only, so there must be a package that depends on it.
        (directory / "Cargo.toml").write_text(
            f'[package]\nname = "fetch"\nversion = "0.0.0"\n[lib]\npath = "lib.rs"\n[dependencies]\n{name} = "={version}"\n'
        )
        (directory / "lib.rs").touch()
        cargo_fetch(directory / "Cargo.toml", locked=False)
        checksum = dependencies((directory / "Cargo.lock").read_text())[name, version]
        with tarfile.open(downloaded(name, version)) as crate:
            crate.extractall(directory)
        manifest = directory / f"{name}-{version}" / "Cargo.toml"
        cargo_fetch(manifest)
        return checksum, manifest.with_name("Cargo.lock").read_text()


def cargo_fetch(manifest, locked=True):
    subprocess.run(
        ["cargo", "fetch", "--quiet", *["--locked"] * locked, "--manifest-path", str(manifest)], check=True
    )


def downloaded(name, version):
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    return next(home.glob(f"registry/cache/*/{name}-{version}.crate"))
