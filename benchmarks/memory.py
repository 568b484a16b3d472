"""How much memory a kernel takes beside its inputs and outputs.

    python benchmarks/memory.py                              everything, one thread
    python benchmarks/memory.py --op conv2d --threads 1 2    some operations, one thread and two

Each measurement has a process of its own: Linux tells the largest resident size that it had during
the call (``VmHWM``), from which its size before is taken. The last column is to be compared with
what the library promises: no more than 16 MiB a thread, and one packed copy of the weights.
"""

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastscratch.kernels.catalogue import BACKENDS, OPS, Implementation
from fastscratch.kernels.problem import Problem, parse_problem
from fastscratch.testing.cases import find_case, shapes_of
from fastscratch.testing.inputs import make_inputs

MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op", default="", help="only operations whose name holds this")
    parser.add_argument("--shape", default="", help="only shapes whose name holds this")
    parser.add_argument("--backend", default="", help="only implementations whose name holds this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument(
        "--child", nargs=3, metavar=("PROBLEM", "NAME", "THREADS"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.child:
        problem, name, num_threads = options.child
        print(extra_bytes(problem, name, int(num_threads)))
        return 0
    found = 0
    for op, spec in OPS.items():
        for shape in shapes_of(op):
            if options.op not in op or options.shape not in shape:
                continue
            problem = find_case(op, shape, options.dtype)
            arrays = spec.arrays(problem)
            weights = sum(a.nbytes for name, a in arrays.items() if name in ("weight", "dw"))
            for entry in spec.implementations:
                if options.backend not in entry.name or not _serves(entry, problem):
                    continue
                for num_threads in options.threads:
                    extra = _in_child(str(problem), entry.name, num_threads)
                    found += 1
                    print(
                        f"{op:24} {shape:12} {entry.name:18} {num_threads} thr | "
                        f"arrays {spec.nbytes(problem) / MIB:7.1f} MiB | "
                        f"weights {weights / MIB:5.1f} MiB | beside them {extra / MIB:7.1f} MiB",
                        flush=True,
                    )
    return 0 if found else 1


def _serves(entry: Implementation, problem: Problem) -> bool:
    return entry.supports is None or entry.supports(problem)


def _in_child(problem: str, name: str, num_threads: int) -> int:
    command = [sys.executable, __file__, "--child", problem, name, str(num_threads)]
    # Blocks of 64 KiB and more go back to the system when they are freed: none of those that were
    # there before the call are used for it unseen.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{problem} {name}: {done.stderr}")
    return int(done.stdout)


def extra_bytes(text: str, name: str, num_threads: int) -> int:
    """What a call of an implementation adds to the process, its arrays being there already."""
    problem = parse_problem(text)
    spec = OPS[problem.op]
    entry = next(e for e in spec.implementations if e.name == name)
    kernel = entry.load()

    def prepare() -> Callable[[], None]:
        arrays = make_inputs(problem)
        for array_name, array in spec.arrays(problem).items():
            if array.role == "out":
                arrays[array_name] = np.ones(array.shape, array.dtype)
        arguments = (*(arrays[n] for n in spec.arrays(problem)), *spec.arguments(problem))
        return lambda: kernel(*arguments, num_threads)

    call = prepare()
    call()  # starts the threads, and compiles what Numba compiles
    if entry.backend != "numpy":
        importlib.import_module(f"{BACKENDS[entry.backend]}.scratch").release_kept()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    """A size in /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    sys.exit(main())
