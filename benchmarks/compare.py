"""Time every implementation of the operations side by side, on the shapes of real networks.

    python -m benchmarks.compare                          every operation, one thread and all
    python -m benchmarks.compare --op conv2d --threads 2  some operations, two threads
    python -m benchmarks.compare --torch                  PyTorch beside them
    python -m benchmarks.compare --algorithms             every algorithm of a backend for itself
    python -m benchmarks.compare --limits --errors        shares of the machine's limit, and errors

Rounds are interleaved (every candidate once a round) and medians are printed, with everything
inside the call: checks, packing, padding, a fresh output. The columns "x numpy" (and "x torch") say
how many times faster than the reference (than PyTorch) a backend is: above 1 it is faster.

"of the limit" is the time that the machine needs at least, over the time that was taken: for the
operation's multiply-adds or for its arrays to and from memory, whichever is more, as `limits.py`
measures both. An algorithm that multiplies less can be above 100 %, and so can arrays that stay in
the cache. "error" is the largest difference from the reference in float64, over the largest output.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl

import fastscratch as fs
from benchmarks.suite.calls import seconds_of_call
from fastscratch.dispatch.choose import candidates as able_to_run
from fastscratch.dispatch.machine import processor_name, usable_processors
from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import DenseProblem, Problem, WindowProblem
from fastscratch.ops.explain import call_of
from fastscratch.testing.cases import find_case, shapes_of
from fastscratch.testing.inputs import double_precision, make_inputs

if TYPE_CHECKING:
    from benchmarks.limits import Limits

Call = Callable[..., Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op", default="", help="only operations whose name holds this")
    parser.add_argument("--shape", default="", help="only shapes whose name holds this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, usable_processors()])
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch", action="store_true", help="PyTorch beside the backends")
    parser.add_argument("--algorithms", action="store_true", help="all algorithms, by name")
    parser.add_argument("--limits", action="store_true", help="shares of the machine's limit")
    parser.add_argument("--errors", action="store_true", help="errors against float64")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()

    print(f"{processor_name()}, level {fs.show_config()['compiled level']}, {options.dtype}")
    rows = []
    for num_threads in dict.fromkeys(options.threads):
        limits = measure_limits(num_threads) if options.limits else None
        for op in OPS:
            for name in shapes_of(op):
                if options.op in op and options.shape in name:
                    problem = find_case(op, name, options.dtype)
                    arrays = make_inputs(problem)
                    calls = candidates(problem, arrays, num_threads, options)
                    row = time_problem(problem, calls, num_threads, options.rounds)
                    if limits:
                        row["share"] = shares(problem, row["seconds"], limits)
                    if options.errors:
                        row["error"] = errors(problem, arrays, calls)
                    rows.append({"op": op, "shape": name, "threads": num_threads, **row})
                    print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if rows else 1


def candidates(
    problem: Problem, arrays: dict[str, Any], num_threads: int, options: argparse.Namespace
) -> dict[str, Call]:
    """What is to be timed, by name."""
    call = call_of(problem, arrays)
    able = [entry for entry, reason in able_to_run(problem) if not reason]
    names = [entry.name if options.algorithms else entry.backend for entry in able]
    calls: dict[str, Call] = {name: partial(call, backend=name) for name in dict.fromkeys(names)}
    if options.torch:
        judge = torch_call(problem, arrays, num_threads)
        if judge:
            calls["torch"] = judge
    return calls


def time_problem(
    problem: Problem, candidates: dict[str, Call], num_threads: int, rounds: int
) -> dict[str, Any]:
    """Median seconds of each candidate, and what that is in operations and bytes."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    with fs.threads(num_threads), threadpoolctl.threadpool_limits(num_threads, user_api="blas"):
        repeats = {}
        for name, candidate in candidates.items():
            candidate()  # compiles, and plans
            repeats[name] = max(1, int(0.02 / max(seconds_of_call(candidate, 1), 1e-7)))
        for _ in range(rounds):
            for name, candidate in candidates.items():
                time.sleep(0.002)  # the pool of the last candidate stops spinning
                candidate()
                seconds[name].append(seconds_of_call(candidate, min(repeats[name], 2000)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    spec = OPS[problem.op]
    return {
        "problem": str(problem),
        "seconds": medians,
        "gflops": {name: spec.flops(problem) / value / 1e9 for name, value in medians.items()},
        "GB/s": {name: spec.nbytes(problem) / value / 1e9 for name, value in medians.items()},
    }


def measure_limits(num_threads: int) -> "Limits":
    """Multiply-adds and bytes that so many threads reach together."""
    from benchmarks.limits import measure

    limits = measure(cython_ext.level or "base", num_threads)
    print(limits.line())
    return limits


def shares(problem: Problem, seconds: dict[str, float], limits: "Limits") -> dict[str, float]:
    """The least time that the machine needs, over the time that was taken."""
    spec = OPS[problem.op]
    flops = limits.flops if problem.dtype == "f32" else limits.flops / 2
    least = max(spec.flops(problem) / flops, spec.nbytes(problem) / limits.copy)
    return {name: least / value for name, value in seconds.items()}


def errors(
    problem: Problem, arrays: dict[str, Any], candidates: dict[str, Call]
) -> dict[str, float]:
    """The largest difference from float64 in the first output, over the largest output.

    An update has no output: it changes its arrays, further with each call.
    """
    if any(array.role == "inout" for array in OPS[problem.op].arrays(problem).values()):
        return {}
    wide_problem, wide = double_precision(problem, arrays)
    exact = first_output(call_of(wide_problem, wide)(backend="numpy"))
    scale = abs(exact).max()
    found = {}
    for name, candidate in candidates.items():
        out = first_output(candidate())
        if out.shape == exact.shape:  # PyTorch's columns lie the other way round
            found[name] = float(abs(out - exact).max() / scale)
    return found


def first_output(result: Any) -> Any:
    """Its values as an array; PyTorch's backward pass gives None for what was not asked for."""
    if isinstance(result, (tuple, list)):
        result = next(part for part in result if part is not None)
    return np.asarray(result)


def torch_call(problem: Problem, arrays: dict[str, Any], num_threads: int) -> Any:
    """The same computation in PyTorch, or None where it has no such call."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(num_threads)
    t = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if isinstance(problem, DenseProblem):
        calls = {
            "dense_forward": lambda: torch.addmm(t["bias"], t["x"], t["weight"]),
            "dense_backward_input": lambda: t["dout"] @ t["weight"].T,
            "dense_backward_weight": lambda: (t["x"].T @ t["dout"], t["dout"].sum(0)),
        }
        return calls[problem.op]
    if not isinstance(problem, WindowProblem):
        return surrounding_call(problem, t)
    p: WindowProblem = problem
    top, bottom, left, right = p.padding
    if top != bottom or left != right:
        return None
    pad = (top, left)
    if p.op == "conv2d_relu_max_pool2d_forward":
        return lambda: F.max_pool2d(
            F.relu(F.conv2d(t["x"], t["weight"], t["bias"], p.stride, pad, p.dilation, p.groups)),
            p.pool, return_indices=True,
        )  # fmt: skip
    if p.op == "conv2d_relu_max_pool2d_backward_weight":
        return None  # it has no such call
    if "conv2d" in p.op:
        if p.op == "conv2d_forward":
            return lambda: F.conv2d(
                t["x"], t["weight"], t["bias"], p.stride, pad, p.dilation, p.groups
            )
        x = t.get("x", torch.empty(p.N, p.C, p.H, p.W, dtype=t["dout"].dtype))
        shape = (p.OC, p.C // p.groups, *p.kernel_size)
        weight = t.get("weight", torch.empty(shape, dtype=x.dtype))
        mask = [p.op.endswith("input"), p.op.endswith("weight"), p.op.endswith("weight")]
        return lambda: torch.ops.aten.convolution_backward(
            t["dout"], x, weight, [p.OC], p.stride, pad, p.dilation, False, [0, 0], p.groups, mask
        )
    ceil = p.rounding == "ceil"
    k, s, count = p.kernel_size, p.stride, p.count_include_pad
    if p.op == "max_pool2d_forward":
        return lambda: F.max_pool2d(t["x"], k, s, pad, p.dilation, ceil, return_indices=True)
    if p.op == "max_pool2d_backward":
        x = torch.randn(p.N, p.C, p.H, p.W, dtype=t["dout"].dtype)
        _, indices = F.max_pool2d(x, k, s, pad, p.dilation, ceil, return_indices=True)
        return lambda: torch.ops.aten.max_pool2d_with_indices_backward(
            t["dout"], x, k, s, pad, p.dilation, ceil, indices
        )
    if p.op == "avg_pool2d_forward":
        return lambda: F.avg_pool2d(t["x"], k, s, pad, ceil, count)
    if p.op == "avg_pool2d_backward":
        x = torch.empty(p.N, p.C, p.H, p.W, dtype=t["dout"].dtype)
        return lambda: torch.ops.aten.avg_pool2d_backward(
            t["dout"], x, k, s, pad, ceil, count, None
        )
    if p.op == "im2col":
        return lambda: F.unfold(t["x"], p.kernel_size, p.dilation, pad, p.stride)
    return None


def surrounding_call(problem: Problem, t: dict[str, Any]) -> Any:
    """What surrounds the products of a training step."""
    import torch
    import torch.nn.functional as F

    aten = torch.ops.aten
    fused: dict[str, Any] = {
        "sgd_update": torch.optim.SGD, "adam_update": torch.optim.Adam,
        "adagrad_update": torch.optim.Adagrad,
        "nesterov_update": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    }  # fmt: skip
    if problem.op in fused:
        value = t["value"].clone().requires_grad_()
        value.grad = t["grad"]
        return fused[problem.op]([value], lr=1e-9, weight_decay=1e-9, fused=True).step
    calls = {
        "relu_forward": lambda: F.relu(t["x"]),
        "relu_backward": lambda: aten.threshold_backward(t["dout"], t["y"], 0),
        "sigmoid_forward": lambda: torch.sigmoid(t["x"]),
        "sigmoid_backward": lambda: aten.sigmoid_backward(t["dout"], t["y"]),
        "tanh_forward": lambda: torch.tanh(t["x"]),
        "tanh_backward": lambda: aten.tanh_backward(t["dout"], t["y"]),
        "leaky_relu_forward": lambda: F.leaky_relu(t["x"], 0.5),
        "leaky_relu_backward": lambda: aten.leaky_relu_backward(t["dout"], t["x"], 0.5, False),
        "elu_forward": lambda: F.elu(t["x"], 0.5),
        "elu_backward": lambda: aten.elu_backward(t["dout"], 0.5, 1, 1, True, t["y"]),
        "prelu_forward": lambda: F.prelu(t["x"], t["slopes"]),
        "softmax_cross_entropy_forward": lambda: F.cross_entropy(t["scores"], t["labels"]),
        "squared_norm": lambda: torch.dot(t["x"], t["x"]),
        "batch_norm_forward": lambda: torch.native_batch_norm(
            t["x"], t["gamma"], t["beta"], None, None, True, 0.0, 1e-5
        ),
        "batch_norm_inference": lambda: F.batch_norm(
            t["x"], t["mean"], t["var"], t["gamma"], t["beta"]
        ),
        "batch_norm_backward": lambda: aten.native_batch_norm_backward(
            t["dout"], t["x"], t["gamma"], None, None, t["mean"], t["var"], True, 1e-5,
            [True, True, True],
        ),
        "dropout_forward": lambda: F.dropout(t["x"]),
    }  # fmt: skip
    return calls.get(problem.op)


def line(row: dict[str, Any]) -> str:
    parts = [f"{row['op']:24} {row['shape']:12} {row['threads']} thr"]
    seconds = row["seconds"]
    for name, value in seconds.items():
        rate = f"{row['gflops'][name]:6.1f} GF/s"
        if row["gflops"][name] < 1:
            rate = f"{row['GB/s'][name]:6.1f} GB/s"
        text = f"{name} {value * 1e3:9.3f} ms {rate}"
        if "share" in row:
            text += f" {row['share'][name]:5.0%} of the limit"
        if name in row.get("error", ()):
            text += f" error {row['error'][name]:.1e}"
        for judge in ("numpy", "torch"):
            if judge in seconds and name not in ("numpy", "torch"):
                text += f" {seconds[judge] / value:6.2f} x {judge}"
        parts.append(text)
    return " | ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
