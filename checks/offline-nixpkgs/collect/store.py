"""The Nix store: which fixed-output files it holds, and adding them."""

import hashlib
import subprocess

BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
FILES_PER_CALL = 500  # keeps the command line within its limit


def run(*argv, **options):
    return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def path_of(name, sha256):
    """Where Nix keeps a flat file of this name and content."""
    inner = hashlib.sha256(f"fixed:out:sha256:{sha256}:".encode()).hexdigest()
    return path("output:out", name, inner)


def path_of_tree(name, sha256):
    """Where Nix keeps a tree of this name and content."""
    return path("source", name, sha256)


def path(kind, name, sha256):
    whole = hashlib.sha256(f"{kind}:sha256:{sha256}:/nix/store:{name}".encode()).digest()
    folded = bytearray(20)
    for i, byte in enumerate(whole):
        folded[i % 20] ^= byte
    number = int.from_bytes(folded, "little")
    digits = "".join(BASE32[number >> 5 * i & 31] for i in reversed(range(32)))
    return f"/nix/store/{digits}-{name}"


def absent(files):
    """The names of {name: sha256} whose file the store lacks."""
    names = {path_of(name, sha256): name for name, sha256 in files.items()}
    return {names[path] for path in invalid(names)}


def invalid(paths):
    """Those of the paths that the store lacks."""
    return set(run("nix-store", "--check-validity", "--print-invalid", *paths).split())


def add(files):
    files = [str(file) for file in files]
    for start in range(0, len(files), FILES_PER_CALL):
        run("nix-store", "--add-fixed", "sha256", *files[start : start + FILES_PER_CALL])


def add_directory(directory):
    """Adds a directory and returns the hash that its fixed-output derivation declares."""
    run("nix-store", "--add-fixed", "--recursive", "sha256", directory)
    return run("nix-hash", "--type", "sha256", directory).strip()
