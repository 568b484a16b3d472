"""What a call costs beside its kernel: every operation on a problem that takes next to no time.

    python -m benchmarks.overhead                     every operation and some layers
    python -m benchmarks.overhead --torch             PyTorch's whole call beside ours
    python -m benchmarks.overhead --op conv2d         some of them

"call" is the public function's time, its output and all checks included; "kernel" is its kernel's
alone, on arrays that are there; "around" is the difference. "in Python" is the call where nothing
is compiled but the kernel. All of them once in turn, many times over: the least counts, since
what disturbs a call of microseconds only ever adds.
"""

import argparse
import importlib
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastscratch as fs
from benchmarks.compare import torch_call
from benchmarks.suite.calls import seconds_of_call
from fastscratch.dispatch import current_settings
from fastscratch.dispatch.machine import processor_name
from fastscratch.dispatch.measure import operands
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import Problem, parse_problem
from fastscratch.layers import Conv2d, Dense, MaxPool2d, ReLU
from fastscratch.ops import plan
from fastscratch.ops.explain import call_of

Call = Callable[[], Any]

TINY = {
    "conv2d_relu": "n1c1h8w8:oc8k3p1m2",
    "conv2d": "n1c1h8w8:oc8k3p1",
    "max_pool2d": "n1c8h8w8:k2",
    "avg_pool2d": "n1c8h8w8:k2",
    "im2col": "n1c1h8w8:k3p1",
    "col2im": "n1c1h8w8:k3p1",
    "dense": "n1i16:o16",
    "softmax": "n4c10",
    "batch_norm": "n4c8s16",
}
"""A problem for operations whose names begin so; the others get 64 elements."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op", default="", help="only operations whose name holds this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--torch", action="store_true", help="PyTorch beside the calls")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()

    print(f"{processor_name()}, level {fs.show_config()['compiled level']}, microseconds")
    rows = []
    with fs.threads(options.threads):
        for op in OPS:
            if options.op in op:
                rows.append({"name": op, **time_all(calls_of(op, options), options.rounds)})
                print(line(rows[-1]), flush=True)
        for name, calls in {} if options.op else layers().items():
            rows.append({"name": name, **time_all(calls, options.rounds)})
            print(line(rows[-1]), flush=True)
    summarise(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def calls_of(op: str, options: argparse.Namespace) -> dict[str, Call]:
    """What is to be timed of an operation."""
    shape = next((shape for start, shape in TINY.items() if op.startswith(start)), "n64")
    problem = parse_problem(f"{op}:f32:{shape}")
    arrays = dict(zip(OPS[op].arrays(problem), operands(problem), strict=True))
    given = {
        name: arrays[name] for name, spec in OPS[op].arrays(problem).items() if spec.role != "out"
    }
    call = call_of(problem, given)
    calls = {"call": call, "in Python": in_python(op, call), "kernel": kernel_of(problem, arrays)}
    judge = torch_call(problem, given, options.threads) if options.torch else None
    return calls | ({"torch": judge} if judge else {})


def kernel_of(problem: Problem, arrays: dict[str, Any]) -> Call:
    """The kernel that runs for the problem, with all its arguments."""
    settings = current_settings()
    made = plan._make_plan(OPS[problem.op], problem, (), None)
    assert settings.buffers is None
    arguments = (*arrays.values(), *made.arguments)
    kernel = made.kernel
    return lambda: kernel(*arguments)


def in_python(op: str, call: Call) -> Call:
    """The call without the compiled way to the kernel."""
    module: Any = importlib.import_module(f"fastscratch.ops.{OPS[op].module}")

    def run() -> None:
        module.call = plan.first_call
        try:
            call()
        finally:
            module.call = plan.call

    return run


def layers() -> dict[str, dict[str, Call]]:
    """Layers' forward passes, and the operations that they call."""
    x, rows = np.ones((1, 1, 8, 8), np.float32), np.ones((1, 16), np.float32)
    conv, dense, relu, pool = Conv2d(8, 3, padding=1), Dense(16), ReLU(), MaxPool2d(2)
    conv.forward(x)
    dense.forward(rows)
    conv_arrays: Any = (conv.weight.value, conv.bias and conv.bias.value)
    dense_arrays: Any = (dense.weight.value, dense.bias and dense.bias.value)
    return {
        "Conv2d": {
            "call": lambda: conv.forward(x),
            "kernel": lambda: fs.ops.conv2d_forward(x, *conv_arrays, padding=1),
        },
        "Dense": {
            "call": lambda: dense.forward(rows),
            "kernel": lambda: fs.ops.dense_forward(rows, *dense_arrays),
        },
        "ReLU": {"call": lambda: relu.forward(rows), "kernel": lambda: fs.ops.relu_forward(rows)},
        "MaxPool2d": {
            "call": lambda: pool.forward(x), "kernel": lambda: fs.ops.max_pool2d_forward(x, 2)
        },
    }  # fmt: skip


def time_all(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Microseconds of each call: the least of all rounds."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(5e-4 / seconds_of_call(call, 20)))
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(1e6 * seconds_of_call(call, repeats[name]))
    return {name: min(values) for name, values in found.items()}


def line(row: dict[str, Any]) -> str:
    text = f"{row['name']:40} call {row['call']:6.2f}  kernel {row['kernel']:6.2f}"
    text += f"  around {row['call'] - row['kernel']:5.2f}"
    if "in Python" in row:
        text += f"  (in Python {row['in Python'] - row['kernel']:5.2f})"
    if "torch" in row:
        text += f"  torch {row['torch']:6.2f}: {row['torch'] / row['call']:5.2f} x torch"
    return text


def summarise(rows: list[dict[str, Any]]) -> None:
    around = [row["call"] - row["kernel"] for row in rows if "in Python" in row]
    if around:
        print(f"around the kernels: median {statistics.median(around):.2f}, most {max(around):.2f}")
    ratios = [row["torch"] / row["call"] for row in rows if "torch" in row]
    if ratios:
        mean = statistics.geometric_mean(ratios)
        print(f"x torch: geometric mean {mean:.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(main())
