"""Wheels, by pip."""

import json
import re

from store import run

PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
TARGET = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.13"]
TARGET += [argument for platform in PLATFORMS for argument in ("--platform", platform)]
DEPENDS = ["libc6", "libstdc++6"]  # what a manylinux wheel may expect of a machine


def lock(requirements):
    """`requirements` are what pip takes: a name, perhaps with a version's range."""
    if not requirements:
        return {}
    report = run(
        "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--target", "/nonexistent", "--report", "-",
        *TARGET, *requirements,
    )
    return {
        f"pypi:{normal(item['metadata']['name'])}": {
            "version": item["metadata"]["version"],
            "description": item["metadata"].get("summary", ""),
            "sha256": item["download_info"]["archive_info"]["hashes"]["sha256"],
            "depends": DEPENDS,
        }
        for item in json.loads(report)["install"]
    }


def download(versions, directory):
    pins = (f"{name}=={version}" for name, version in versions.items())
    run("pip", "download", "--quiet", "--dest", str(directory), *TARGET, *pins)
    for file in list(directory.glob("*.whl")):
        file.rename(directory / (normal(file.name.split("-")[0]) + ".whl"))  # NAME-VERSION-TAGS.whl


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement):
    return normal(re.match(r"[\w.-]+", requirement)[0])
