"""Which of our modules stand in for which of the book's, and the finder that puts them there."""

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType

from fastscratch.errors import ArgumentError

_HERE = "fastscratch.compat.book"

STAND_INS = {
    "common.functions": f"{_HERE}.functions",
    "common.gradient": f"{_HERE}.gradient",
    "common.layers": f"{_HERE}.layers",
    "common.multi_layer_net": f"{_HERE}.multi_layer_net",
    "common.multi_layer_net_extend": f"{_HERE}.multi_layer_net_extend",
    "common.optimizer": f"{_HERE}.optimizer",
    "common.trainer": f"{_HERE}.trainer",
    "common.util": f"{_HERE}.arrays",
    "dataset.mnist": f"{_HERE}.mnist",
}
"""The book's name of a module, and ours."""

PACKAGES = tuple(dict.fromkeys(name.partition(".")[0] for name in STAND_INS))


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the book's modules here, before Python looks for them on ``sys.path``.

    Our modules win over files of the same name beside a script, which are what they stand in for:
    a script from a copy of the book's code would gain nothing otherwise. What such a folder holds
    beyond them is found there, and so is whatever ``own`` names.

    Parameters
    ----------
    own : collection of str
        Names for which the script's own files are used: modules, or ``"common"`` for all of it.

    Examples
    --------
    >>> finder = StandIns(own=["common.layers"])
    >>> finder.find_spec("common.functions").loader is finder
    True
    >>> finder.find_spec("common.layers") is None
    True
    """

    def __init__(self, own: Collection[str] = ()) -> None:
        unknown = [name for name in own if name not in (*STAND_INS, *PACKAGES)]
        if unknown:
            raise ArgumentError(
                f"own: there is no stand-in for {unknown[0]}; there are {', '.join(STAND_INS)}"
            )
        self._own = {
            name for name in STAND_INS if name in own or name.partition(".")[0] in own
        }  # fmt: skip
        self.shadowed: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Python's question who has a module; None if it is not ours."""
        if fullname in PACKAGES:
            spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
            spec.submodule_search_locations = _folders(fullname)
            return spec
        if fullname not in STAND_INS or fullname in self._own:
            return None
        package, _, name = fullname.partition(".")
        for folder in _folders(package):
            file = Path(folder, f"{name}.py")
            if file.is_file():
                self.shadowed.add(str(file))
                break
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with the names of its stand-in."""
        if module.__name__ in PACKAGES:
            return
        ours = vars(importlib.import_module(STAND_INS[module.__name__]))
        vars(module).update(
            {name: value for name, value in ours.items() if not name.startswith("__")},
            __doc__=ours["__doc__"], __all__=ours["__all__"],
        )  # fmt: skip


def _folders(package: str) -> list[str]:
    """Folders of this name where Python looks for modules: the scripts' own."""
    candidates = [os.path.join(entry or os.curdir, package) for entry in sys.path]
    return list(dict.fromkeys(os.path.abspath(path) for path in candidates if os.path.isdir(path)))
