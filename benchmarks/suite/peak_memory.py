"""What a call takes beside its arrays, each measured in a process of its own.

Linux tells the largest resident size that a process had during the call (``VmHWM``), from which its
size before is taken.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import grid
from .calls import find_implementation, kernel_call, parse

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from suite.peak_memory import extra_bytes
print(extra_bytes(sys.argv[2], sys.argv[3], int(sys.argv[4])))
"""


def measure(problem: str, implementation: str, num_threads: int) -> int:
    """Bytes that a call adds to a fresh process in which its arrays are."""
    # Blocks of 64 KiB and more go back to the system when they are freed: none of those that were
    # there before the call are used for it unseen.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    above = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", CHILD, str(above), problem, implementation, str(num_threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{problem} {implementation}: {done.stderr}")
    return int(done.stdout)


def extra_bytes(text: str, implementation: str, num_threads: int) -> int:
    """The same in this process."""
    call = kernel_call(text, implementation, num_threads)  # starts threads, and compiles
    backend = implementation.partition(":")[0]
    if backend != "numpy":
        _give_back_scratch(backend)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def _give_back_scratch(backend: str) -> None:
    """Memory that a backend keeps for the next call counts as the call's own."""
    from fastscratch.kernels.catalogue import BACKENDS

    try:
        importlib.import_module(f"{BACKENDS[backend]}.scratch").release_kept()
    except (ImportError, AttributeError) as error:
        raise NotImplementedError(f"kept memory cannot be given back: {error}") from None


def _status(field: str) -> int:
    """A size in /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise NotImplementedError(f"/proc/self/status has no {field}")


POSED = {found.op: list(found.problems.values())[:2][-1] for found in grid.grids()}
"""The problem that each operation is measured at."""


class peak_memory:
    """Memory at the peak of a call, its arrays included, over the size of its arrays."""

    params = (list(POSED)[:1] if grid.size() == "toy" else list(POSED), grid.backends())
    param_names = ("operation", "backend")
    timeout = 120
    version = "1"

    def setup(self, op: str, backend: str) -> None:
        if not Path("/proc/self/clear_refs").exists():
            raise NotImplementedError("only Linux tells the peak of a call")
        find_implementation(parse(POSED[op]), backend)

    def track_over_arrays(self, op: str, backend: str) -> float:
        """1 is nothing beside the arrays; one thread."""
        from fastscratch.kernels.catalogue import OPS

        problem: Any = parse(POSED[op])
        arrays = OPS[op].nbytes(problem)
        return (arrays + measure(str(problem), backend, 1)) / arrays

    track_over_arrays.unit = "x arrays"  # type: ignore[attr-defined]
