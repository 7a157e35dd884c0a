"""Gives windows to matplotlib's backends that only write files: programs choose them for machines without a screen, and
expect `plt.show()` to do what it does without that choice. Also gives matplotlib its fonts (sandbox_fonts.py).

Imported by sandbox_figures.pth while the interpreter starts. Of matplotlib nothing is imported before the program does so.
"""

import os
import sys
from importlib.machinery import PathFinder

_WITHOUT_WINDOWS = {
    f"matplotlib.backends.backend_{name}" for name in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
}

# A program may set the variable for itself before it shows anything.
_OUT = os.path.abspath(os.environ.get("OUT", "/sandbox/out"))


class _Finder:
    """Waits for the modules of `_LOADERS`, each of which is executed by its function."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        load = _LOADERS.get(name)
        if load is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: load(module, execute)
        return spec


def _load_fonts(module, execute):
    import sandbox_fonts

    sandbox_fonts.before(sys.modules["matplotlib"])
    execute(module)
    sandbox_fonts.after(module)


def _load_registry(module, execute):
    execute(module)
    _wrap(module.backend_registry)


def _load_formulas(module, execute):
    import sandbox_fonts

    execute(module)
    sandbox_fonts.after_formulas(module)


_LOADERS = {
    "matplotlib._mathtext": _load_formulas,
    "matplotlib.backends.registry": _load_registry,
    "matplotlib.font_manager": _load_fonts,
}


def _wrap(registry):
    load = registry.load_backend_module

    def load_backend_module(backend):
        module = load(backend)
        is_without_windows = module.__name__ in _WITHOUT_WINDOWS
        if is_without_windows or module.__name__ == "sandbox_figures":
            import sandbox_figures

            sandbox_figures.directory = _OUT
            if is_without_windows:
                module = sandbox_figures.with_windows(module)
        return module

    registry.load_backend_module = load_backend_module


sys.meta_path.insert(0, _Finder)
