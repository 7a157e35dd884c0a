"""Gives matplotlib the environment's list of fonts, and has it look for a glyph in all of them.

A program that chooses a font for its title in Chinese chooses one of its author's machine.
"""

import os
from pathlib import Path

# Made by ../fonts/list.py.
_LIST = Path("@share@/fonts")
_FALLBACK = "@fallback@".split(",")


def before(matplotlib):
    """Puts the list where matplotlib looks for the one that it made before."""
    for file in _LIST.iterdir():
        try:
            os.symlink(file, Path(matplotlib.get_cachedir()) / file.name)
        except OSError:
            # The program has its own, or matplotlib makes one.
            pass


def after(font_manager):
    """Appends the fonts of other scripts to those that a text asks for."""
    manager = font_manager.FontManager
    find = getattr(manager, "_find_fonts_by_props", None)
    if find is None:
        return

    def _find_fonts_by_props(self, prop, fontext="ttf", *arguments, **options):
        found = find(self, prop, fontext, *arguments, **options)
        if fontext != "ttf":
            return found
        weight = font_manager.FontProperties._from_any(prop).get_weight()
        return found + [file for file in _fallback(font_manager, self, weight) if file not in found]

    manager._find_fonts_by_props = _find_fonts_by_props


def after_formulas(mathtext):
    """Finds letters of other scripts in a text that has a formula, where matplotlib knows fonts for formulas only, and
    letters that the program's own font lacks, such as the Latin ones in a font of one script."""
    from matplotlib import font_manager

    fonts = getattr(mathtext, "UnicodeFonts", None)
    get = getattr(fonts, "_get_glyph", None)
    if get is None:
        return

    def _get_glyph(self, fontname, font_class, sym):
        if len(sym) == 1 and (_is_of_other_script(ord(sym)) or _lacks(self, fontname, ord(sym))):
            for file in _fallback(font_manager, font_manager.fontManager, "normal"):
                font = font_manager.get_font(file)
                if font.get_char_index(ord(sym)) != 0:
                    return font, ord(sym), False
        return get(self, fontname, font_class, sym)

    fonts._get_glyph = _get_glyph


def _lacks(fonts, name, code):
    """Whether the font of the text around a formula has no such glyph."""
    return name in ("default", "regular") and fonts._get_font(name).get_char_index(code) == 0


def _fallback(font_manager, manager, weight):
    """The files of the fonts in which a glyph is looked for at last."""
    for family in _FALLBACK:
        properties = font_manager.FontProperties(family=family, weight=weight)
        try:
            yield manager.findfont(properties, fallback_to_default=False, rebuild_if_missing=False)
        except ValueError:
            pass


def _is_of_other_script(code):
    """Whether no formula has it: from Hebrew on, without the blocks of symbols and of letters for formulas."""
    return code >= 0x590 and not 0x1D00 <= code < 0x2E80 and not 0x1D400 <= code < 0x1D800
