"""What surrounds the arithmetic: dispatch, importing, and compiling Numba's kernels."""

import os
import subprocess
import sys
import tempfile
from functools import partial
from typing import Any

from . import grid
from .calls import Call, TimedCalls, kernel_call, make_arrays, parse

SMALL = {
    "conv2d_forward": "conv2d_forward:f32:n1c1h8w8:oc8k3p1",
    "dense_forward": "dense_forward:f32:n1i16:o16",
    "relu_forward": "relu_forward:f32:n1x16",
}


class small_call(TimedCalls):
    """A call so small that what surrounds the kernel shows: the public function, and the kernel."""

    params = (("public function", "kernel alone"), list(SMALL))
    param_names = ("what", "operation")

    def prepare(self, *params: Any) -> Call:
        what, op = params
        if what == "kernel alone":
            return kernel_call(SMALL[op], "cython", 1)
        try:
            from fastscratch.ops.explain import call_of
        except ImportError as error:
            raise NotImplementedError(str(error)) from None
        import fastscratch as fs

        problem = parse(SMALL[op])
        if not hasattr(fs.ops, op):
            raise NotImplementedError(f"there is no {op} yet")
        # The bound call's own arguments are the inputs; outputs are allocated inside.
        spec_arrays = make_arrays(problem)
        outputs = {"y", "dx", "dw", "db"}
        inputs = {name: array for name, array in spec_arrays.items() if name not in outputs}
        public = call_of(problem, inputs)
        self.blocks = [fs.use_backend("cython"), fs.threads(1)]
        for block in self.blocks:
            block.__enter__()
        public()
        return partial(public)


class importing:
    """Seconds until a module is there, in a process of its own; NumPy's share is in each."""

    params: tuple[tuple[str, ...]] = (
        ("numpy", "fastscratch", "fastscratch.layers", "fastscratch.training"),
    )
    param_names = ("module",)
    if grid.size() == "toy":
        params = (("fastscratch",),)
    rounds = 1
    repeat = 5
    number = 1
    timeout = 120
    version = "1"

    def timeraw_import(self, module: str) -> str:
        return f"import {module}"


FIRST_CALL = """
import sys, time
sys.path.insert(0, sys.argv[1])
from suite.calls import kernel_call, seconds_of_call
import numba
start = time.perf_counter()
call = kernel_call(sys.argv[2], "numba", 1)
first = time.perf_counter() - start
print(first - seconds_of_call(call, 3))
"""


class compiling:
    """Seconds that Numba compiles before a kernel's first result: no run time, no cache."""

    params = ([found.op for found in grid.grids()],)
    param_names = ("operation",)
    timeout = 300
    version = "1"

    if grid.size() == "default":
        params = (
            ["conv2d_forward", "conv2d_backward_weight", "max_pool2d_forward", "dense_forward"],
        )
    if grid.size() == "toy":
        params = (["relu_forward"],)

    def setup(self, op: str) -> None:
        parse(self.problem(op))

    def problem(self, op: str) -> str:
        found = next(found for found in grid.grids() if found.op == op)
        return min(found.problems.values(), key=len)

    def track_compile_time(self, op: str) -> float:
        """Seconds."""
        suite_parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            done = subprocess.run(
                [sys.executable, "-c", FIRST_CALL, suite_parent, self.problem(op)],
                env=environment, check=True, capture_output=True, text=True,
            )  # fmt: skip
        return float(done.stdout)

    track_compile_time.unit = "seconds"  # type: ignore[attr-defined]
