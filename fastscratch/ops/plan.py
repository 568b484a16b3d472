"""From checked arguments to a kernel call: what every public function does alike.

A call's shapes, dtypes and options are a key. The first call with a key checks them, chooses the
kernel and remembers both as a `Plan` in the current settings; later calls look it up.
"""

import contextlib
import operator
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from fastscratch.dispatch.choose import choose
from fastscratch.dispatch.settings import current_settings
from fastscratch.errors import ArgumentError, DtypeError, ShapeError
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.geometry import ROUNDINGS, infer_rounding
from fastscratch.kernels.problem import DTYPES, Problem, WindowProblem
from fastscratch.types import Array, Padding, PaddingLike, Pair

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MOST_PLANS = 4096
"""Plans kept under one settings object; a program with more shapes than that decides anew."""
_MOST_BYTES = 2**47
"""What an address can reach; NumPy's own error for more than that names no argument."""


class Plan:
    """A decided call: the kernel, its arguments after the arrays, and its outputs."""

    __slots__ = ("arguments", "buffers", "kernel", "outputs", "problem", "zeros")

    def __init__(self, problem: Problem, backend: str | None) -> None:
        spec = OPS[problem.op]
        arrays = spec.arrays(problem)
        for name, array in arrays.items():
            if array.nbytes > _MOST_BYTES:
                raise ShapeError(
                    f"{problem.op}: {name} would have shape {array.shape}, {array.nbytes} bytes, "
                    "more than any memory holds; pass smaller extents or less padding"
                )
        settings = current_settings()
        choice = choose(problem, settings, backend)
        self.problem = problem
        self.buffers = settings.buffers
        self.kernel = choice.kernel
        self.arguments = (*spec.arguments(problem), choice.num_threads)
        self.outputs = {
            name: (array.shape, array.dtype)
            for name, array in arrays.items()
            if array.role == "out"
        }
        self.zeros: Array | None = None
        if "bias" in arrays:
            self.zeros = np.zeros(arrays["bias"].shape, arrays["bias"].dtype)
            self.zeros.flags.writeable = False


def find_plan(key: Hashable) -> Plan | None:
    """The plan of an earlier call with this key."""
    try:
        plan: Plan | None = current_settings().plans.get(key)
        return plan
    except TypeError:  # an option is a list
        return None


def add_plan(key: Hashable, problem: Problem, backend: str | None) -> Plan:
    """Decide a call, and remember it."""
    plan = Plan(problem, backend)
    plans = current_settings().plans
    if len(plans) >= _MOST_PLANS:
        plans.clear()
    with contextlib.suppress(TypeError):  # a key with a list in it is planned at each call
        plans[key] = plan
    return plan


def as_input(array: Any, name: str, op: str) -> Array:
    """``array`` as kernels take it: C-contiguous and aligned; copied only if it is not."""
    if not isinstance(array, np.ndarray):
        raise DtypeError(
            f"{op}: {name} must be a NumPy array, got {type(array).__name__}; "
            f"pass np.asarray({name}, dtype=np.float32)"
        )
    flags = array.flags
    if flags.c_contiguous and flags.aligned and type(array) is np.ndarray:
        return array
    if isinstance(array, np.ma.MaskedArray):
        raise DtypeError(
            f"{op}: {name} is a masked array, whose mask would be ignored; pass {name}.filled(0)"
        )
    return np.require(np.asarray(array), requirements=("C", "A"))


def output(plan: Plan, name: str, out: Array | None, given: tuple[Array | None, ...]) -> Array:
    """A fresh output, or the caller's ``out`` once it is seen to fit.

    ``given`` are the caller's own arrays, which a copy in another layout would not stand for.
    """
    shape, dtype = plan.outputs[name]
    if out is None:
        buffers = plan.buffers
        return np.empty(shape, dtype) if buffers is None else buffers.take(shape, dtype)
    op = plan.problem.op
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        found = getattr(out, "dtype", type(out).__name__)
        raise DtypeError(f"{op}: out ({name}) must be a {dtype} array, got {found}")
    if out.shape != shape:
        raise ShapeError(f"{op}: out ({name}) must have shape {shape}, got {out.shape}")
    flags = out.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise ArgumentError(f"{op}: out ({name}) must be C-contiguous, aligned and writeable")
    for array in given:
        if array is not None and np.shares_memory(out, array):
            raise ArgumentError(f"{op}: out ({name}) overlaps another array of the call")
    return out


def dtype_name(op: str, **arrays: Array) -> str:
    """The short name of the arrays' common dtype; anything but float32 or float64 is an error."""
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        if array.dtype not in _DTYPE_NAMES:
            raise DtypeError(
                f"{op}: {name} must be float32 or float64, got {array.dtype}; "
                f"convert it with {name}.astype(np.float32)"
            )
        if array.dtype != first.dtype:
            raise DtypeError(
                f"{op}: {name} is {array.dtype} and {first_name} is {first.dtype}; "
                f"convert one with {name}.astype({first_name}.dtype)"
            )
    return _DTYPE_NAMES[first.dtype]


def expect_dims(op: str, name: str, array: Array, form: str) -> None:
    """Raise unless the array has the axes of ``form``, such as ``"(N, C, H, W)"``."""
    if array.ndim != form.count(",") + 1:
        raise ShapeError(f"{op}: {name} must have axes {form}, got shape {array.shape}")


def as_shape(op: str, shape: Any) -> tuple[int, int, int, int]:
    """``input_shape`` as four ints."""
    try:
        N, C, H, W = (operator.index(extent) for extent in shape)
    except (TypeError, ValueError):
        raise ShapeError(
            f"{op}: input_shape must be four ints (N, C, H, W), got {shape!r}"
        ) from None
    if min(N, C - 1, H - 1, W - 1) < 0:
        raise ShapeError(f"{op}: input_shape must hold positive extents, got {shape!r}")
    return N, C, H, W


def fitted(problem: WindowProblem, padding: PaddingLike) -> WindowProblem:
    """The problem, its windows seen to fit.

    Padding "same" asks for ceil(H/S) windows; a stride beyond the window leaves a remainder then,
    which is no mistake.
    """
    if problem.C < 1:
        raise ShapeError(f"{problem.op}: there must be one channel or more, got {problem.C}")
    if isinstance(padding, str) and padding == "same" and problem.rounding == "exact":
        with contextlib.suppress(ShapeError):
            _ = problem.outputs
            return problem
        problem = replace(problem, rounding="floor")
    _ = problem.outputs
    return problem


def rounding_of(
    op: str, name: str, outputs: Pair, extents: Pair, kernel_size: Pair, stride: Pair,
    padding: Padding, dilation: Pair, rounding: str,
) -> str:  # fmt: skip
    """The rounding under which the forward pass gave the windows that a gradient has."""
    if rounding not in ROUNDINGS:
        raise ArgumentError(f'{op}: rounding must be "exact", "floor" or "ceil", got {rounding!r}')
    found = infer_rounding(extents, outputs, kernel_size, stride, padding, dilation)
    if found is None:
        raise ShapeError(
            f"{op}: {name} has {outputs[0]} x {outputs[1]} windows, which an input of "
            f"{extents[0]} x {extents[1]} with kernel {kernel_size}, stride {stride}, padding "
            f"{padding}, dilation {dilation} does not give; pass the forward pass's own arguments"
        )
    return found
