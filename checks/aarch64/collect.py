"""Debian packages, unpacked: a directory of tools for this machine, and one of an arm64 machine's programs and kernel.

    python3 checks/aarch64/collect.py DIRECTORY

makes DIRECTORY/tools, DIRECTORY/machine and DIRECTORY/vmlinuz. apt verifies what it downloads. Where they are there
already and of the same choice, nothing is looked up.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OFFLINE_SET = Path(__file__).resolve().parent.parent / "offline-nixpkgs"
sys.path.insert(0, str(OFFLINE_SET / "collect"))
from debian import Apt  # noqa: E402

# What each is made of: `packages` come with all that they depend on, `parts` without.
CHOICE = {
    "tools": {
        "architecture": "amd64",
        "packages": [
            "cargo-web", "rustc-web", "gcc", "libc6-dev",
            "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross",
            "qemu-system-arm", "coreutils", "cpio", "dash", "findutils",
        ],
        "parts": ["libstd-rust-web-dev:arm64"],
    },
    "machine": {
        "architecture": "arm64",
        "packages": ["linux-image-cloud-arm64", "coreutils", "dash", "grep", "mount", "python3", "util-linux"],
        "parts": [],
    },
}
# Links to those below /usr, on which packages rely, and which none of them makes.
MERGED = ("bin", "lib", "lib64", "sbin")
# What the emulated machine has no use for.
NEEDLESS = ("boot", "usr/lib/modules", "usr/share/doc", "usr/share/locale", "usr/share/man")


def main(directory):
    suite = tomllib.loads((OFFLINE_SET / "packages.toml").read_text())["suite"]
    stamp, wanted = directory / "collected.json", {"suite": suite, **CHOICE}
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return

    stamp.unlink(missing_ok=True)
    apt = Apt(directory / "apt", suite, ["amd64", "arm64"])
    apt("apt-get", "-q", "update")
    for name, choice in CHOICE.items():
        archives = directory / "archives"
        shutil.rmtree(archives, ignore_errors=True)
        download(apt, choice, archives)
        unpack(archives, directory / name)
        shutil.rmtree(archives)
    [kernel] = directory.glob("machine/boot/vmlinuz-*")
    kernel.rename(directory / "vmlinuz")
    for path in NEEDLESS:
        shutil.rmtree(directory / "machine" / path)
    stamp.write_text(json.dumps(wanted))


def download(apt, choice, archives):
    (archives / "partial").mkdir(parents=True)
    options = ["-q", "--yes", "-o", f"Dir::Cache::archives={archives}", "-o", f"APT::Architecture={choice['architecture']}"]
    apt("apt-get", *options, "--download-only", "install", *choice["packages"])
    if choice["parts"]:
        apt("apt-get", *options, "download", *choice["parts"], cwd=archives)


def unpack(archives, root):
    shutil.rmtree(root, ignore_errors=True)
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Consumed, so that a failure is raised.
        list(pool.map(lambda file: subprocess.run(["dpkg-deb", "-x", file, root], check=True), archives.glob("*.deb")))


try:
    main(Path(sys.argv[1]))
except subprocess.CalledProcessError as error:
    sys.exit(f"collect: {' '.join(map(str, error.cmd[:4]))} ... failed with status {error.returncode}")
