"""Random inputs for a problem: small integers, normal numbers, infinities and NaN, bad offsets."""

import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from fastscratch.kernels.arrays import ArraySpec
from fastscratch.kernels.catalogue import OpSpec, find_op
from fastscratch.kernels.geometry import window_counts
from fastscratch.kernels.problem import (
    CONV_POOL_OPS,
    FRACTIONAL_POOL_OPS,
    MAX_POOL_OPS,
    ChannelsProblem,
    Problem,
    RegionsProblem,
    WindowProblem,
)
from fastscratch.types import Array

KINDS = ("integers", "normal", "non-finite", "bad argmax")
"""The kinds of inputs; the last is for backward passes of max pooling."""


def input_kinds(problem: Problem) -> tuple[str, ...]:
    """The kinds of inputs that a problem is tried with."""
    given = (MAX_POOL_OPS[1], CONV_POOL_OPS[1], FRACTIONAL_POOL_OPS[1])
    return KINDS if problem.op in given else KINDS[:3]


def make_inputs(problem: Problem, kind: str = "normal", seed: int = 0) -> dict[str, Array]:
    """Random inputs for a problem, by the names of the kernel's arguments.

    Parameters
    ----------
    problem : Problem
        What the arrays are for; the same problem, kind and seed give the same arrays.
    kind : {"integers", "normal", "non-finite", "bad argmax"}
        "integers" are so small that every sum of products is exact, and full of ties;
        "normal" are standard normal; "non-finite" holds a few infinities and NaN besides;
        "bad argmax" holds offsets outside of windows and images.
    seed : int
        Another one gives other numbers.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> from fastscratch.kernels.problem import parse_problem
    >>> arrays = make_inputs(parse_problem("dense_forward:f32:n2i3:o4"), "integers")
    >>> {name: array.shape for name, array in arrays.items()}
    {'x': (2, 3), 'weight': (3, 4), 'bias': (4,)}
    """
    spec = find_op(problem.op)
    rng = np.random.default_rng([zlib.crc32(str(problem).encode()), KINDS.index(kind), seed])
    inputs = {}
    for name, array in spec.arrays(problem).items():
        if array.role != "out":
            inputs[name] = _random(problem, name, array, kind, rng)
    return inputs


def reference_outputs(problem: Problem, inputs: dict[str, Array]) -> dict[str, Array]:
    """What the NumPy reference makes of the inputs, computed in their own dtype."""
    outputs = empty_outputs(problem, inputs)
    run_kernel(reference_kernel(find_op(problem.op)), problem, inputs | outputs, 1)
    return outputs


def empty_outputs(problem: Problem, inputs: dict[str, Array]) -> dict[str, Array]:
    """The arrays that a kernel writes: fresh ones, and copies of those that it updates."""
    return {
        name: np.empty(array.shape, array.dtype) if array.role == "out" else inputs[name].copy()
        for name, array in find_op(problem.op).arrays(problem).items()
        if array.role != "in"
    }


def double_precision(
    problem: Problem, inputs: dict[str, Array]
) -> tuple[Problem, dict[str, Array]]:
    """The same problem in float64, offsets of windows left as they are."""
    widened = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in inputs.items()
    }
    return replace(problem, dtype="f64"), widened


def reference_kernel(spec: OpSpec) -> Any:
    """The implementation that defines the operation."""
    return spec.direct("numpy").load()


def run_kernel(kernel: Any, problem: Problem, arrays: dict[str, Array], num_threads: int) -> Any:
    """Call a kernel with arrays by name, and return what it returns (it should be None)."""
    spec = find_op(problem.op)
    ordered = [arrays[name] for name in spec.arrays(problem)]
    with np.errstate(all="ignore"):  # infinities are meant here
        return kernel(*ordered, *spec.arguments(problem), num_threads)


def _random(
    problem: Problem, name: str, array: ArraySpec, kind: str, rng: np.random.Generator
) -> Array:
    if isinstance(problem, RegionsProblem) and name in ("rows", "cols"):
        return _windows(problem.H if name == "rows" else problem.W, array, rng)
    if isinstance(problem, RegionsProblem) and name == "argmax" and kind != "bad argmax":
        return rng.integers(0, problem.H * problem.W, array.shape, array.dtype)
    if name == "argmax":
        assert isinstance(problem, WindowProblem | RegionsProblem)
        if kind == "bad argmax":
            return _bad_argmax(array, rng)
        assert isinstance(problem, WindowProblem)
        return _argmax(problem, rng)
    if name in ("labels", "key"):
        return _whole_numbers(problem, array, kind, rng)
    if name in ("rates", "ratio", "eps", "alpha"):
        return np.array(_RATES.get(problem.op, (0.5,)))
    if name in ("v", "var", "total"):  # means or sums of squares
        return np.asarray(1 + np.abs(rng.integers(-3, 4, array.shape))).astype(array.dtype)
    if kind in ("integers", "bad argmax"):
        values = rng.integers(-3, 4, array.shape).astype(array.dtype)
        if problem.op == "avg_pool2d_backward":
            assert isinstance(problem, WindowProblem)
            values *= _divisors(problem).astype(array.dtype)  # each share is an integer then
        return values
    values = rng.standard_normal(array.shape).astype(array.dtype)
    if kind == "non-finite" and _may_be_nonfinite(problem, name) and values.size:
        flat = values.reshape(-1)
        places = rng.integers(0, flat.size, 1 + flat.size // 50)
        flat[places] = rng.choice([np.nan, np.inf, -np.inf], places.size)
        flat[-1] = np.nan  # where rounding down leaves the image's end out, it must stay out
    return values


_RATES = {
    "sgd_update": (0.25, 0.5),
    "momentum_update": (0.5, 0.25, -0.5, 0.5),
    "nesterov_update": (0.5, 0.25, -0.5, 0.5),
    "adagrad_update": (0.25, 0.125, 0.5),
    "rmsprop_update": (0.25, 0.875, 0.125, 0.5),
    "adam_update": (0.875, 0.96875, 0.25, 1.5, 0.125, 0.5),
    "batch_norm_forward": (1e-5,),
    "batch_norm_inference": (1e-5,),
    "batch_norm_backward": (1e-5,),
    "batch_norm_relu_forward": (1e-5,),
    "batch_norm_relu_backward": (1e-5,),
}
"""The small numbers that kernels get in an array: powers of two where integers stay exact."""


def _whole_numbers(
    problem: Problem, array: ArraySpec, kind: str, rng: np.random.Generator
) -> Array:
    """Class numbers, bad ones among the non-finite inputs; or the words of a key."""
    if not isinstance(problem, ChannelsProblem):
        return rng.integers(0, 2**32, array.shape)
    labels = rng.integers(0, problem.C, array.shape)
    if kind == "non-finite" and labels.size:
        limits = np.iinfo(array.dtype)
        bad = rng.choice([-1, problem.C, limits.min, limits.max], 1 + labels.size // 4)
        labels[rng.integers(0, labels.size, bad.size)] = bad
    return labels


def _may_be_nonfinite(problem: Problem, name: str) -> bool:
    """Whether it is settled what an infinity does there: not where it meets the padding's zero.

    Nor where it meets a gradient that is zero because another element of its window was larger.
    """
    if problem.op == CONV_POOL_OPS[1]:
        return name == "y"
    if problem.op.startswith("conv2d"):
        return name == "x" or (name == "dout" and problem.op == "conv2d_backward_input")
    return name != "bias"


def _argmax(problem: WindowProblem, rng: np.random.Generator) -> Array:
    """What a forward pass over images full of ties remembers."""
    if problem.op == CONV_POOL_OPS[1]:
        array = find_op(problem.op).arrays(problem)["argmax"]
        return rng.integers(0, problem.pool[0] * problem.pool[1], array.shape, array.dtype)
    forward = replace(problem, op=MAX_POOL_OPS[0])
    shape = (problem.N, problem.C, problem.H, problem.W)
    x = rng.integers(-3, 4, shape).astype(find_op(forward.op).arrays(forward)["x"].dtype)
    return reference_outputs(forward, {"x": x})["argmax"]


def _windows(extent: int, array: ArraySpec, rng: np.random.Generator) -> Array:
    """Windows anywhere, of one element to all of them: firsts and stops."""
    first = rng.integers(0, extent, array.shape[0])
    return np.stack([first, rng.integers(first, extent) + 1], axis=1)


def _bad_argmax(array: ArraySpec, rng: np.random.Generator) -> Array:
    """Offsets within the window (some in the padding), just beyond it, and far from it."""
    limits = np.iinfo(array.dtype)
    near = rng.integers(max(limits.min, -20), min(limits.max, 300) + 1, array.shape)
    far = rng.choice([limits.min, limits.max, limits.max // 2, 0, 1, 2, 3], array.shape)
    return np.where(rng.random(array.shape) < 0.5, near, far).astype(array.dtype)


def _divisors(p: WindowProblem) -> Array:
    """How many elements each window counts: (OH, OW)."""
    (OH, OW), (KH, KW), (sh, sw) = p.outputs, p.kernel_size, p.stride
    top, bottom, left, right = p.padding
    if p.count_include_pad:
        rows = window_counts(p.H + top + bottom, OH, KH, sh, 0)
        cols = window_counts(p.W + left + right, OW, KW, sw, 0)
    else:
        rows = window_counts(p.H, OH, KH, sh, top)
        cols = window_counts(p.W, OW, KW, sw, left)
    return np.asarray(rows[:, None] * cols[None, :])
