"""A backend of matplotlib for programs without a screen: each window is a file in $OUT, for whoever runs the program.

To the program it looks like a screen whose user closes all windows at once: `plt.show()` saves every open figure and closes
it, so that the next one begins afresh, in a file of its own. A window that is shown without waiting stays open, and being
shown again it replaces what was in its file.
"""

import io
import itertools
import os
from pathlib import Path
from types import ModuleType

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


class FigureManager(FigureManagerBase):
    _file = None

    def show(self):
        picture = io.BytesIO()
        self.canvas.figure.savefig(picture, format="png")
        if self._file is None:
            self._file = _unused_file()
        self._file.write_bytes(picture.getvalue())

    @classmethod
    def start_main_loop(cls):
        Gcf.destroy_all()


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager


def with_windows(module):
    """A backend that draws and writes files as `module` does, and shows figures as this one does."""
    backend = ModuleType(module.__name__, module.__doc__)
    backend.backend_version = getattr(module, "backend_version", "unknown")
    backend.FigureCanvas = type(
        module.FigureCanvas.__name__, (module.FigureCanvas,), {"manager_class": FigureManager}
    )
    return backend


def _unused_file():
    """Makes the first file that is not there yet: other processes may be at the same."""
    directory = Path(os.environ.get("OUT", "/sandbox/out"))
    for number in itertools.count(1):
        file = directory / f"figure-{number}.png"
        try:
            file.touch(exist_ok=False)
            return file
        except FileExistsError:
            pass
