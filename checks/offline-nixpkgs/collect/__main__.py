"""Brings what the offline stand-in for nixpkgs is made of into the Nix store.

    python3 checks/offline-nixpkgs/collect packages            Debian packages and wheels  -> lock.json
    python3 checks/offline-nixpkgs/collect crates LOCK_FILE... crates, by the cargo on PATH -> crates.json
    python3 checks/offline-nixpkgs/collect sources FILE...     which sources of GitHub the store has -> sources.json

Each file becomes the store path that a fixed-output derivation with the same hash finds built already: Nix never needs
to know where anything came from. The JSON files are generated, and belong to one machine's mirrors and store: git ignores them.
"""

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import crates
import packages
import sources

SET = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("packages")
    commands.add_parser("crates").add_argument("cargo_lock", type=Path, nargs="+")
    commands.add_parser("sources").add_argument("file", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "sources":
        total, found = sources.find(args.file, SET / "sources.json")
        print(f"sources: {total}, of them in the store: {found}")
        return

    spec = tomllib.loads((SET / "packages.toml").read_text())
    if args.command == "packages":
        state = CACHE / "sandbox-mcp" / "offline-nixpkgs"
        state.mkdir(parents=True, exist_ok=True)
        total, fetched = packages.collect(spec, SET / "lock.json", state)
    else:
        total, fetched = crates.collect(spec["crates"], SET / "crates.json", [lock.resolve() for lock in args.cargo_lock])
    print(f"{args.command}: {total}, of them fetched now: {fetched}")


try:
    main()
except subprocess.CalledProcessError as error:
    sys.exit(f"collect: {' '.join(error.cmd[:4])} ... failed with status {error.returncode}")
