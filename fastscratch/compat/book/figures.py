"""A matplotlib backend for machines without a screen: ``plt.show()`` writes PNG files.

It is chosen by name, ``MPLBACKEND=module://fastscratch.compat.book.figures``, as any other.
"""

import os
import sys
from pathlib import Path
from typing import Any

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

FOLDER_VARIABLE = "FASTSCRATCH_FIGURES"
"""Names the folder; ``figures`` in the working folder otherwise."""


class FigureManager(FigureManagerBase):
    """Shows figures by saving them, and closes them, as closing their windows would."""

    _saved = 0

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """What ``plt.show()`` does."""
        folder = Path(os.environ.get(FOLDER_VARIABLE) or "figures")
        stem = Path(sys.argv[0]).stem or "figure"
        for manager in Gcf.get_all_fig_managers():
            folder.mkdir(parents=True, exist_ok=True)
            FigureManager._saved += 1
            path = folder / f"{stem}-{FigureManager._saved}.png"
            manager.canvas.figure.savefig(path)
            sys.stderr.write(f"fastscratch: the figure is in {path}\n")
        Gcf.destroy_all()


class FigureCanvas(FigureCanvasAgg):
    """Draws with Agg."""

    manager_class: Any = FigureManager
