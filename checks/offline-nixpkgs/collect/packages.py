"""packages.toml -> the store, and lock.json, which units.nix reads."""

import json
import os
import tempfile
from pathlib import Path

import store
import wheels
from debian import Apt

PYPI = "pypi:"


def collect(spec, lock_file, state):
    lock = json.loads(lock_file.read_text()) if lock_file.exists() else {}
    # A mirror drops old versions: once one file is missing, all of them are chosen anew.
    if lock.get("spec") == spec and not absent(lock["packages"]):
        return len(lock["packages"]), 0

    apt = Apt(state, spec["suite"])
    packages = choose(apt, spec)
    missing = absent(packages)
    download(apt, {name: packages[name]["version"] for name in missing}, state)
    busybox = unpack_busybox(packages[spec["seed"]["busybox"]])
    lock_file.write_text(json.dumps({"spec": spec, "busybox": busybox, "packages": packages}, indent=1) + "\n")
    return len(packages), len(missing)


def choose(apt, spec):
    attributes = {**spec["attributes"], **spec["python-modules"]}
    roots = {name for names in attributes.values() for name in names}
    roots |= {spec["seed"]["busybox"], *spec["seed"]["patchelf"]}
    requirements = sorted(name.removeprefix(PYPI) for name in roots if name.startswith(PYPI))
    debs = sorted(name for name in roots if not name.startswith(PYPI))

    packages = apt.lock(debs) | wheels.lock(requirements)
    return needed(packages, debs + [PYPI + wheels.name_of(r) for r in requirements], set(spec["ignored"]))


def needed(packages, roots, ignored):
    """What `roots` depend on, when nothing depends on the `ignored` ones."""
    found, queue = {}, list(roots)
    while queue:
        name = queue.pop()
        if name not in found:
            depends = [other for other in packages[name]["depends"] if other not in ignored]
            found[name] = {**packages[name], "depends": depends}
            queue += depends
    return dict(sorted(found.items()))


def file_name(package):
    """The same as `file` in units.nix."""
    return package.removeprefix(PYPI) + (".whl" if package.startswith(PYPI) else ".deb")


def absent(packages):
    package_of = {file_name(name): name for name in packages}
    files = {file_name(name): package["sha256"] for name, package in packages.items()}
    return sorted(package_of[file] for file in store.absent(files))


def download(apt, versions, state):
    debs = {name: version for name, version in versions.items() if not name.startswith(PYPI)}
    from_pypi = {name.removeprefix(PYPI): version for name, version in versions.items() if name.startswith(PYPI)}
    with tempfile.TemporaryDirectory(dir=state) as directory:
        directory = Path(directory)
        if debs:
            apt.download(debs, directory)
        if from_pypi:
            wheels.download(from_pypi, directory)
        store.add(directory / file_name(name) for name in versions)


def unpack_busybox(package):
    """A static busybox in the store: the one program that a first builder can run, and that Nix can't unpack itself."""
    deb = store.path_of("busybox-static.deb", package["sha256"])
    with tempfile.TemporaryDirectory() as directory:
        store.run("dpkg-deb", "-x", deb, f"{directory}/deb")
        os.makedirs(f"{directory}/busybox/bin")
        os.rename(f"{directory}/deb/usr/bin/busybox", f"{directory}/busybox/bin/busybox")
        return store.add_directory(f"{directory}/busybox")
