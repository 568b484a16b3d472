"""From checked arguments to a kernel call: what every public function does alike.

A call's shapes, dtypes and options are a key. The first call with a key checks them, chooses the
kernel and remembers both as a `Plan` in the current settings; later calls look it up. Where the
compiled kernels are there, `call` is the twin of `first_call` in C, which makes the later calls.
"""

import contextlib
import importlib
import operator
from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from fastscratch.dispatch.buffers import LARGE, Buffers, fresh_array
from fastscratch.dispatch.choose import choose
from fastscratch.dispatch.settings import context, current_settings, process_settings
from fastscratch.errors import ArgumentError, DtypeError, ShapeError
from fastscratch.kernels.catalogue import OPS, Kernel, OpSpec, backend_reason
from fastscratch.kernels.geometry import ROUNDINGS, infer_rounding
from fastscratch.kernels.problem import DTYPES, Problem, WindowProblem
from fastscratch.types import Array, Padding, PaddingLike, Pair

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MOST_PLANS = 4096
"""Plans kept under one settings object; a program with more shapes than that decides anew."""
_MOST_BYTES = 2**47
"""What an address can reach; NumPy's own error for more than that names no argument."""

Arrays = tuple[Array | None, ...]
Shape = tuple[int, ...]


class Output(NamedTuple):
    """What is to be known of an array that a call returns."""

    shape: Shape
    dtype: np.dtype[Any]
    name: str


class Plan(NamedTuple):
    """A decided call.

    Attributes
    ----------
    kernel, arguments
        The kernel, and its arguments after the arrays.
    outputs : tuple of Output
        The arrays that it fills, which stand behind those that it reads.
    shapes : tuple or None
        The shapes in which the kernel takes its arrays, where they are not those of the call.
    changed : int
        How many arrays it changes in place: the first ones.
    zeros : ndarray or None
        Stands for a bias that is not given.
    buffers : Buffers or None
        Where outputs come from inside of `reuse_buffers`.
    problem : Problem
    """

    kernel: Kernel
    arguments: tuple[Any, ...]
    outputs: tuple[Output, ...]
    shapes: tuple[Shape | None, ...] | None
    changed: int
    zeros: Array | None
    buffers: Buffers | None
    problem: Problem


def first_call(
    op: str,
    make_problem: Callable[..., Problem],
    arrays: Arrays,
    options: tuple[Any, ...] = (),
    backend: str | None = None,
    outs: Arrays = (),
    numbers: tuple[float, ...] = (),
) -> tuple[Array, ...]:
    """Make a call, from its arguments to its outputs.

    Parameters
    ----------
    op : str
        The operation.
    make_problem : callable
        Checks ``(*arrays, *options)`` and tells the problem that they pose.
    arrays : tuple of ndarray
        What the kernel reads or changes, in its order. A bias that is None is one of zeros.
    options : tuple
        All that decides about the problem beside the arrays.
    backend : str or None
        The implementation that the call names.
    outs : tuple of (ndarray or None)
        Where the caller wants the outputs; the last ones may be left out.
    numbers : tuple of float
        What is not part of the problem: the kernel's array behind the others.

    Returns
    -------
    tuple of ndarray
        All outputs of the kernel.
    """
    spec = OPS[op]
    inputs = tuple([
        None if array is None and name == "bias" else as_input(array, name, op)
        for name, array in zip(spec.array_names, arrays, strict=False)
    ])  # fmt: skip
    plan = _plan_of(spec, make_problem, inputs, options, backend)
    if plan.changed:
        _check_changed(plan, spec, arrays)
    operands = [plan.zeros if array is None else array for array in inputs]
    if numbers:
        operands.append(np.array(numbers, np.float64))
    made: list[Array] = []
    for wanted, out in zip_longest(plan.outputs, outs[: len(plan.outputs)]):
        made.append(_output(plan, wanted, out, (*arrays, *made)))
    operands += made
    if plan.shapes is not None:
        operands = [
            array if shape is None or array is None else array.reshape(shape)
            for array, shape in zip(operands, plan.shapes, strict=True)
        ]
    plan.kernel(*operands, *plan.arguments)
    return tuple(made)


def key_of(op: str, arrays: Arrays, options: tuple[Any, ...], backend: str | None) -> Hashable:
    """What tells a call from others: shapes and dtypes, options and their types; None: nothing."""
    kinds = [None if array is None else (array.shape, array.dtype) for array in arrays]
    return op, *kinds, options, *map(type, options), backend  # True equals 1


def _plan_of(
    spec: OpSpec, make_problem: Callable[..., Problem], inputs: Arrays, options: tuple[Any, ...],
    backend: str | None,
) -> Plan:  # fmt: skip
    """The plan of an earlier call like this one, or a new one, which is remembered."""
    plans = current_settings().plans
    key = key_of(spec.name, inputs, options, backend)
    found: Plan | None = None
    try:
        found = plans.get(key)
    except TypeError:  # an option is a list: planned at each call
        key = None
    if found is not None:
        return found
    plan = _make_plan(spec, make_problem(*inputs, *options), inputs, backend)
    if len(plans) >= _MOST_PLANS:
        plans.clear()
    if key is not None:
        plans[key] = plan
    return plan


def _make_plan(spec: OpSpec, problem: Problem, inputs: Arrays, backend: str | None) -> Plan:
    arrays = spec.arrays(problem)
    for name, array in arrays.items():
        if array.nbytes > _MOST_BYTES:
            raise ShapeError(
                f"{problem.op}: {name} would have shape {array.shape}, {array.nbytes} bytes, "
                "more than any memory holds; pass smaller extents or less padding"
            )
    settings = current_settings()
    choice = choose(problem, settings, backend)
    # An output of the shape in which the kernel takes an input has the shape of that input.
    own = {
        array.shape: given.shape
        for array, given in zip(arrays.values(), inputs, strict=False) if given is not None
    }  # fmt: skip
    shapes = tuple(
        None if own.get(array.shape, array.shape) == array.shape else array.shape
        for array in arrays.values()
    )
    zeros = None
    if "bias" in arrays:
        zeros = np.zeros(arrays["bias"].shape, arrays["bias"].dtype)
        zeros.flags.writeable = False
    return Plan(
        choice.kernel,
        (*spec.arguments(problem), choice.num_threads),
        tuple(
            Output(own.get(array.shape, array.shape), array.dtype, name)
            for name, array in arrays.items() if array.role == "out"
        ),
        shapes if any(shapes) else None,
        sum(array.role == "inout" for array in arrays.values()),
        zeros,
        settings.buffers,
        problem,
    )  # fmt: skip


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


def _check_changed(plan: Plan, spec: OpSpec, given: Arrays) -> None:
    """Raise unless the arrays that are changed in place can be, and are each an array of its own.

    ``given`` are the caller's, for which a copy in another layout would not stand.
    """
    for i, name in enumerate(spec.array_names[: plan.changed]):
        array: Any = given[i]
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned and flags.writeable):
            raise ArgumentError(f"{spec.name}: {name} must be C-contiguous, aligned and writeable")
        if any(np.shares_memory(array, other) for other in given[i + 1 :] if other is not None):
            raise ArgumentError(f"{spec.name}: {name} overlaps another array of the call")


def _output(plan: Plan, wanted: Output, out: Array | None, others: Arrays) -> Array:
    """A fresh output, or the caller's ``out`` once it is seen to fit, and to overlap no other."""
    shape, dtype, name = wanted
    if out is None:
        buffers = plan.buffers
        return (fresh_array if buffers is None else buffers.take)(shape, dtype)
    op = plan.problem.op
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        found = getattr(out, "dtype", type(out).__name__)
        raise DtypeError(f"{op}: out ({name}) must be a {dtype} array, got {found}")
    if out.shape != shape:
        raise ShapeError(f"{op}: out ({name}) must have shape {shape}, got {out.shape}")
    flags = out.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise ArgumentError(f"{op}: out ({name}) must be C-contiguous, aligned and writeable")
    for array in others:
        if array is not None and np.shares_memory(out, array):
            raise ArgumentError(f"{op}: out ({name}) overlaps another array of the call")
    return out


def pair(out: Any, op: str, names: str) -> Arrays:
    """The caller's ``out`` of an operation with two outputs."""
    if out is None:
        return ()
    try:
        first, second = out
    except (TypeError, ValueError):
        raise ArgumentError(f"{op}: out must be a pair {names}") from None
    return first, second


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


call = first_call
if not backend_reason("cython"):
    calls: Any = importlib.import_module("fastscratch.kernels.cython_ext.calls")
    calls.bind(first_call, context, process_settings, fresh_array, LARGE)
    call, key_of = calls.call, calls.key_of
