"""list.py NAMES FONTS OUT: writes the list of fonts for which matplotlib would look through the machine at its first import.

Fonts that programs know from other systems are in the list by those names, too.
"""

import dataclasses
import json
import sys
from pathlib import Path

import matplotlib
from matplotlib.font_manager import FontManager, json_dump

names, fonts, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3])

manager = FontManager()
# Fonts of the machine that builds this, if its build sandbox shows any, are left out.
own = matplotlib.get_data_path()
manager.ttflist = [entry for entry in manager.ttflist if entry.fname.startswith(own)]
manager.afmlist = [entry for entry in manager.afmlist if entry.fname.startswith(own)]
for file in sorted(fonts.iterdir()):
    # Matplotlib draws no fonts of bitmaps.
    if file.is_file() and not file.is_symlink() and file.name != "NotoColorEmoji.ttf":
        manager.addfont(file)


def add(family, names):
    """Adds the fonts of a family by other names. Versions of a font put spaces into its own as they like."""
    entries = [entry for entry in manager.ttflist if entry.name.replace(" ", "") == family.replace(" ", "")]
    assert entries, family
    known = {entry.name for entry in entries}
    manager.ttflist += [dataclasses.replace(entry, name=name) for name in names if name not in known for entry in entries]


for family in names["fallback"]:
    add(family, [family])
for family, aliases in names["families"].items():
    add(family, aliases)

out.mkdir(parents=True)
json_dump(manager, out / f"fontlist-v{FontManager.__version__}.json")
assert len(list(out.iterdir())) == 1
