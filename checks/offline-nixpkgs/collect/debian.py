"""Debian packages: apt chooses and verifies them, with a state of its own, so the machine's packages play no part."""

import re

from store import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Apt:
    def __init__(self, state, suite, architectures=("amd64",)):
        for directory in ("lists/partial", "cache/archives/partial"):
            (state / directory).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        (state / "debian.sources").write_text(
            f"Types: deb\nURIs: {mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
        )
        self.conf = state / "apt.conf"
        self.conf.write_text(f"""
            #clear APT::Update::Post-Invoke;
            Dir::State "{state}";
            Dir::State::status "{state}/status";
            Dir::Cache "{state}/cache";
            Dir::Cache::pkgcache "pkgcache.bin";
            Dir::Etc::sourcelist "{state}/debian.sources";
            Dir::Etc::sourceparts "/dev/null";
            Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
            APT::Sandbox::User "root";
            APT::Architecture "{architectures[0]}";
            APT::Architectures {{ {" ".join(f'"{name}";' for name in architectures)} }};
            APT::Install-Recommends "false";
        """)

    def __call__(self, tool, *args, **options):
        return run(tool, "-c", str(self.conf), *args, **options)

    def lock(self, roots):
        """Everything that installing `roots` would install: name -> version, hash and dependencies."""
        self("apt-get", "update")
        chosen = re.findall(r"^Inst (\S+) \((\S+)", self("apt-get", "-s", "install", *roots), re.M)
        shown = self("apt-cache", "show", *(f"{name}={version}" for name, version in chosen))
        records = [dict(re.findall(r"^([\w-]+): (.*)$", record, re.M)) for record in shown.split("\n\n") if record]

        chosen_by = {record["Package"]: record["Package"] for record in records}
        for record in records:
            for [virtual] in parse_relations(record.get("Provides", "")):
                chosen_by.setdefault(virtual, record["Package"])

        return {
            record["Package"]: {
                "version": record["Version"],
                "description": record.get("Description-en") or record.get("Description", ""),
                "sha256": record["SHA256"],
                "depends": depends(record, chosen_by),
            }
            for record in records
        }

    def download(self, versions, directory):
        self("apt-get", "download", *(f"{name}={version}" for name, version in versions.items()), cwd=directory)
        for file in list(directory.glob("*.deb")):
            file.rename(directory / (file.name.split("_")[0] + ".deb"))  # NAME_VERSION_ARCH.deb


def mirror():
    """The mirror that this machine's own apt uses."""
    uris = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    return next(uri for uri in uris if uri.rstrip("/").endswith("/debian"))


def depends(record, chosen_by):
    groups = parse_relations(record.get("Pre-Depends", "")) + parse_relations(record.get("Depends", ""))
    met = (next((chosen_by[name] for name in group if name in chosen_by), None) for group in groups)
    return sorted({name for name in met if name} - {record["Package"]})


def parse_relations(field):
    """'a (>= 1) | b:any, c' -> [[a, b], [c]]"""
    groups = [group for group in field.split(",") if group.strip()]
    return [[re.match(r"\s*([^\s:(]+)", name)[1] for name in group.split("|")] for group in groups]
