"""A backend of matplotlib for programs without a screen: each window is a file in $OUT, for whoever runs the program.

To the program it looks like a screen whose user closes all windows at once: `plt.show()` saves every open figure and closes
it, so that the next one begins afresh, in a file of its own. A window that is shown without waiting stays open, and being
shown again it replaces what was in its file.
"""

import io
import itertools
import math
import os
import struct
from pathlib import Path
from types import ModuleType

from matplotlib import rcParams
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


# Of an image that is returned, as in src/artifacts.rs: pixels of a side, and bytes.
_LONGEST_SIDE = 8000
_LARGEST_FILE = 3_000_000


class FigureManager(FigureManagerBase):
    _file = None

    def show(self):
        picture = _picture(self.canvas.figure)
        if self._file is None:
            self._file = _unused_file()
        self._file.write_bytes(picture)

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


def _picture(figure):
    """The figure as a PNG, at a lower resolution than its own if it would be too large."""
    resolution = rcParams["savefig.dpi"]
    if resolution == "figure":
        resolution = figure.dpi
    # Drawing it too large first could take more memory than there is.
    resolution = min(resolution, _LONGEST_SIDE / max(figure.get_size_inches()))
    content = None
    while True:
        picture = io.BytesIO()
        try:
            figure.savefig(picture, format="png", dpi=resolution)
        except (RuntimeError, ValueError):
            # Letters can become too small to be drawn: then whoever gets the picture is told that it is too large.
            if content is None:
                raise
            return content
        content = picture.getvalue()
        # The header begins with the sides, which `savefig.bbox` may have made other than the figure's.
        longest_side = max(struct.unpack_from(">II", content, 16))
        excess = max(longest_side / _LONGEST_SIDE, math.sqrt(len(content) / _LARGEST_FILE))
        if excess <= 1:
            return content
        resolution *= 0.95 / excess


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
