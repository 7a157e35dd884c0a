"""Files that name sources of GitHub -> sources.json: which of them are in the store."""

import base64
import json

import store


def find(files, found_file):
    sources = [source for file in files for source in json.loads(file.read_text()).values()]
    hashes = {store.path_of_tree("source", to_hex(source["hash"])): source["hash"] for source in sources}
    found = sorted(hashes[path] for path in hashes.keys() - store.invalid(hashes))
    found_file.write_text(json.dumps(found, indent=1) + "\n")
    return len(hashes), len(found)


def to_hex(hash):
    return base64.b64decode(hash.removeprefix("sha256-")).hex()
