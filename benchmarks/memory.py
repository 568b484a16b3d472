"""How much memory a kernel takes beside its inputs and outputs.

    python -m benchmarks.memory                              everything, one thread
    python -m benchmarks.memory --op conv2d --threads 1 2    some operations, one thread and two

Each measurement has a process of its own. The last column is to be compared with what the library
promises: no more than 16 MiB a thread, and one packed copy of the weights.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.suite.peak_memory import measure
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing.cases import find_case, shapes_of

MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op", default="", help="only operations whose name holds this")
    parser.add_argument("--shape", default="", help="only shapes whose name holds this")
    parser.add_argument("--backend", default="", help="only implementations whose name holds this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for op, spec in OPS.items():
        for shape in shapes_of(op):
            if options.op not in op or options.shape not in shape:
                continue
            problem = find_case(op, shape, options.dtype)
            arrays = spec.arrays(problem)
            weights = sum(a.nbytes for name, a in arrays.items() if name in ("weight", "dw"))
            for entry in spec.implementations:
                if options.backend not in entry.name or not entry.can_serve(problem):
                    continue
                for num_threads in options.threads:
                    extra = measure(str(problem), entry.name, num_threads)
                    rows.append({
                        "op": op, "shape": shape, "implementation": entry.name,
                        "threads": num_threads, "arrays": spec.nbytes(problem),
                        "weights": weights, "extra": extra,
                    })  # fmt: skip
                    print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if rows else 1


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['op']:24} {row['shape']:12} {row['implementation']:18} {row['threads']} thr | "
        f"arrays {row['arrays'] / MIB:7.1f} MiB | weights {row['weights'] / MIB:5.1f} MiB | "
        f"beside them {row['extra'] / MIB:7.1f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
