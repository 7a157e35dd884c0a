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
import warnings
from pathlib import Path
from types import ModuleType

from matplotlib import rcParams
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


# Where figures go. The hook sets it to what the variable said when the interpreter started.
directory = os.environ.get("OUT", "/sandbox/out")

# Of an image that is returned, as in src/server/src/call/artifacts: pixels of a side, and bytes.
_LONGEST_SIDE = 8000
_LARGEST_FILE = 3_000_000

# Dots per inch, below which letters can hardly be read.
_LOWEST_RESOLUTION = 30


class FigureManager(FigureManagerBase):
    _file = None

    def show(self):
        # A window that can't be drawn does not end its program either.
        try:
            picture = _picture(self.canvas.figure)
            if self._file is None:
                self._file = _unused_file()
            self._file.write_bytes(picture)
        except Exception as error:
            warnings.warn(f"figure {self.num} is not shown: {type(error).__name__}: {error}", stacklevel=2)

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
    bounds = _bounds_if_tight(figure)
    width, height = figure.get_size_inches() if bounds is None else bounds.size
    # Drawing it too large first could take more memory than there is.
    resolution = min(resolution, _LONGEST_SIDE / max(width, height))
    content = None
    while True:
        picture = io.BytesIO()
        try:
            # Some canvases have a way of their own to a PNG, by way of LaTeX.
            figure.savefig(picture, format="png", dpi=resolution, backend="agg", bbox_inches=bounds)
        except (RuntimeError, ValueError):
            # Letters can become too small to be drawn: then whoever gets the picture is told that it is too large.
            if content is None:
                raise
            return content
        content = picture.getvalue()
        # The header begins with the sides.
        longest_side = max(struct.unpack_from(">II", content, 16))
        excess = max(longest_side / _LONGEST_SIDE, math.sqrt(len(content) / _LARGEST_FILE))
        if excess <= 1:
            return content
        resolution *= 0.95 / excess


def _bounds_if_tight(figure):
    """What `savefig.bbox` saves of the figure, in inches: all that was drawn, unless that is too far outside."""
    if rcParams["savefig.bbox"] != "tight":
        return None
    figure.draw_without_rendering()
    everything = figure.get_tightbbox().padded(rcParams["savefig.pad_inches"])
    longest_side = max(everything.width, everything.height)
    is_legible = longest_side <= _LONGEST_SIDE / _LOWEST_RESOLUTION
    return everything if is_legible else figure.bbox_inches


def _unused_file():
    """Makes the first file that is not there yet: other processes may be at the same."""
    for number in itertools.count(1):
        file = Path(directory) / f"figure-{number}.png"
        try:
            file.touch(exist_ok=False)
            return file
        except FileExistsError:
            pass
