"""Kernels that installed packages bring, through the entry-point group ``fastscratch.kernels``.

An entry point names a function without arguments, which calls `fastscratch.register_kernel` for
each of its kernels::

    [project.entry-points."fastscratch.kernels"]
    mine = "my_kernels:register"
"""

import threading

from fastscratch.errors import warn_once

GROUP = "fastscratch.kernels"

_lock = threading.RLock()
_asked = False


def register_installed() -> None:
    """Let the installed packages register their kernels, once in a process.

    One that fails costs a warning that names it, and nothing else.
    """
    global _asked
    with _lock:
        if _asked:
            return
        _asked = True  # before: what they import may ask for a kernel, too
        from importlib.metadata import entry_points  # slow to import

        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            try:
                entry.load()()
            except Exception as error:  # whatever another package does
                package = entry.dist.name if entry.dist else "an installed package"
                warn_once(
                    f"entry point {entry.name}",
                    f"the kernels of {package} ({entry.value}) are left out: "
                    f"{type(error).__name__}: {error}",
                )
