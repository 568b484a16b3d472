"""Every kernel: a class for each operation, over implementations, shapes and threads.

"cython" and "numba" stand for the algorithm that the backend prefers for the shape; a full run also
measures each algorithm under its own name.
"""

from typing import Any

from . import grid
from .calls import Call, TimedCalls, kernel_call


class _Kernel(TimedCalls):
    param_names = ("implementation", "shape", "threads")
    problems: dict[str, str]

    def prepare(self, *params: Any) -> Call:
        implementation, shape, threads = params
        return kernel_call(self.problems[shape], implementation, threads)


def _benchmark(found: grid.Grid) -> type:
    attributes = {
        "__doc__": f"Seconds of a call of {found.op}, into arrays that are there.",
        "__module__": __name__,
        "params": (found.implementations, list(found.problems), found.threads),
        "problems": found.problems,
    }
    return type(found.op, (_Kernel,), attributes)


globals().update({found.op: _benchmark(found) for found in grid.grids()})
