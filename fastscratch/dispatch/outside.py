"""Kernels that installed packages bring, through the entry-point group ``fastscratch.kernels``.

An entry point names a function without arguments, which calls `fastscratch.register_kernel` for
each of its kernels::

    [project.entry-points."fastscratch.kernels"]
    mine = "my_kernels:register"
"""

import threading
from typing import TYPE_CHECKING

from fastscratch.errors import warn_once

if TYPE_CHECKING:  # slow to import
    from importlib.metadata import Distribution

GROUP = "fastscratch.kernels"

_lock = threading.RLock()
_asked = False
_package = ""


def registering_package() -> str:
    """Name and version of the package that is registering its kernels.

    Empty if none is, or if it is installed as a link to its sources, which may change any time.
    """
    return _package


def register_installed() -> None:
    """Let the installed packages register their kernels, once in a process.

    One that fails costs a warning that names it, and nothing else.
    """
    global _asked, _package
    with _lock:
        if _asked:
            return
        _asked = True  # before: what they import may ask for a kernel, too
        from importlib.metadata import entry_points  # slow to import

        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.name
            _package = "" if _is_editable(entry.dist) else package
            try:
                entry.load()()
            except Exception as error:  # whatever another package does
                warn_once(
                    f"entry point {entry.name}",
                    f"the kernels of {package} ({entry.value}) are left out: "
                    f"{type(error).__name__}: {error}",
                )
            finally:
                _package = ""


def _is_editable(package: "Distribution | None") -> bool:
    """Whether a package is installed as a link to its sources (PEP 610)."""
    import json  # slow to import, too

    record = package and package.read_text("direct_url.json")
    return bool(record and json.loads(record).get("dir_info", {}).get("editable"))
