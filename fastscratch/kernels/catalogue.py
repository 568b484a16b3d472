"""The only list: every operation, what its arrays are, and its implementations, best first.

Dispatch, the tests' grid, the kernel checker and the benchmarks are all driven by `OPS`.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastscratch.errors import ArgumentError, BackendUnavailableError
from fastscratch.kernels import arrays as around
from fastscratch.kernels.algorithms import ALGORITHMS, TRANSFORMED, Algorithm
from fastscratch.kernels.arrays import ArraySpec
from fastscratch.kernels.arrays import one_array as _array
from fastscratch.kernels.geometry import argmax_dtype
from fastscratch.kernels.problem import (
    CHANNEL_OPS,
    DENSE_OPS,
    ELEMENT_OPS,
    FRACTIONAL_POOL_OPS,
    ChannelsProblem,
    DenseProblem,
    ElementsProblem,
    Problem,
    RegionsProblem,
    WindowProblem,
)

KERNEL_ABI = 1
"""Names the contract of kernels: their signatures, and what they may assume and must not do."""

BACKENDS = {
    "cython": "fastscratch.kernels.cython_ext",
    "numba": "fastscratch.kernels.numba_jit",
    "numpy": "fastscratch.kernels.numpy_ref",
}
"""The built-in backends, best first, and the package that holds each one's kernels."""

Kernel = Callable[..., None]


@dataclass(frozen=True)
class Implementation:
    """One implementation of an operation: a name, and how to get at the function.

    ``algorithm`` is None for the direct one, which serves every problem. ``package`` is the name
    and version of the installed package that a kernel from outside comes with.
    """

    op: str
    name: str
    module: str = ""
    function: Kernel | None = None
    supports: Callable[[Problem], bool] | None = None
    algorithm: Algorithm | None = None
    package: str = ""

    @property
    def key(self) -> str:
        """The name by which its measured times are kept, which another version does not have."""
        return f"{self.name} ({self.package})" if self.package else self.name

    @property
    def backend(self) -> str:
        """The name without its algorithm: ``"cython"`` of ``"cython:winograd4"``."""
        return self.name.partition(":")[0]

    @property
    def accuracy(self) -> str:
        """Inside of which ``accuracy(...)`` it may be chosen without being named."""
        return "default" if self.algorithm is None else self.algorithm.accuracy

    def can_serve(self, problem: Problem) -> bool:
        """Whether it supports a problem; most support all of their operation."""
        return self.supports is None or self.supports(problem)

    def prefers(self, problem: Problem) -> bool:
        """Whether it is chosen for a problem that it supports where no algorithm is named."""
        return self.algorithm is None or self.algorithm.prefers(problem)

    def load(self) -> Kernel:
        """The function; raises BackendUnavailableError, saying why, if it is not there."""
        if self.function is not None:
            return self.function
        reason = backend_reason(self.backend)
        if reason:
            raise BackendUnavailableError(f"backend {self.backend!r} is not available: {reason}")
        name = self.op if self.algorithm is None else self.algorithm.functions[self.op]
        return getattr(importlib.import_module(self.module), name)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class OpSpec:
    """What is to be known about an operation, whoever implements it.

    Attributes
    ----------
    name : str
        The name of the public function and of every kernel.
    module : str
        The basename of the file that holds it, in every backend.
    parameters : tuple of str
        The kernel's arguments after its arrays, but for ``num_threads``.
    arrays : callable
        From a problem to the kernel's arrays by name, in the order of its signature.
    terms : callable
        From a problem to the number of products that one output element sums (0: values are only
        moved or compared, so that every implementation gives the same bits).
    flops : callable
        From a problem to the number of floating-point operations.
    implementations : list of Implementation
        Best first, the reference last; kernels from outside stand behind it.
    rounds : bool
        Whether small integers are rounded, too: by a division, a root, an exponential.
    """

    name: str
    module: str
    parameters: tuple[str, ...]
    arrays: Callable[[Any], dict[str, ArraySpec]]
    terms: Callable[[Any], int]
    flops: Callable[[Any], int]
    implementations: list[Implementation]
    rounds: bool = False

    def arguments(self, problem: Problem) -> tuple[Any, ...]:
        """The kernel's arguments after its arrays, but for ``num_threads``."""
        return tuple(getattr(problem, name) for name in self.parameters)

    def nbytes(self, problem: Problem) -> int:
        """Bytes of all arrays: the least that must move."""
        return sum(array.nbytes for array in self.arrays(problem).values())

    def direct(self, backend: str) -> Implementation:
        """A backend's implementation that serves every problem."""
        return next(
            entry for entry in self.implementations
            if entry.backend == backend and entry.algorithm is None
        )  # fmt: skip

    @property
    def signature(self) -> str:
        """The kernel's signature, as text."""
        return f"{self.name}({', '.join(self.kernel_parameters)})"

    @property
    def kernel_parameters(self) -> tuple[str, ...]:
        """Names of all the kernel's positional arguments."""
        return (*self.array_names, *self.parameters, "num_threads")

    @cached_property
    def array_names(self) -> tuple[str, ...]:
        """Names of the kernel's arrays."""
        sample: Problem = WindowProblem(self.name, "f32", 1, 1, 1, 1, (1, 1), OC=1)
        if self.name in DENSE_OPS:
            sample = DenseProblem(self.name, "f32", 1, 1, 1)
        elif self.name in ELEMENT_OPS:
            sample = ElementsProblem(self.name, "f32", (1,))
        elif self.name in CHANNEL_OPS:
            sample = ChannelsProblem(self.name, "f32", 1, 1)
        elif self.name in FRACTIONAL_POOL_OPS:
            sample = RegionsProblem(self.name, "f32", 1, 1, 1, 1, 1, 1)
        return tuple(self.arrays(sample))


def find_op(name: str) -> OpSpec:
    """The OpSpec of an operation; an unknown name is an ArgumentError that lists the known."""
    try:
        return OPS[name]
    except (KeyError, TypeError):
        raise ArgumentError(f"unknown operation {name!r}; one of {', '.join(OPS)}") from None


def backend_reason(name: str) -> str:
    """Why a built-in backend cannot be used on this machine; empty if it can.

    >>> backend_reason("numpy")
    ''
    """
    if name not in BACKENDS or name == "numpy":
        return ""
    try:
        package = importlib.import_module(BACKENDS[name])
        if name == "numba":
            importlib.import_module("numba")
    except ImportError as error:
        return f"{error}; install it with: pip install numba" if name == "numba" else str(error)
    return str(getattr(package, "reason", ""))


def add_implementation(
    op: str, function: Kernel, name: str, supports: Callable[[Problem], bool] | None = None,
    package: str = "",
) -> Implementation:  # fmt: skip
    """Put a kernel from outside on the list, behind the reference."""
    spec = find_op(op)
    if not callable(function):
        raise ArgumentError(f"register_kernel: function must be callable, got {function!r}")
    if not isinstance(name, str) or not name or name.partition(":")[0] in BACKENDS:
        raise ArgumentError(
            f"register_kernel: name must be a text of your own, not one of the built-in "
            f"{', '.join(BACKENDS)}; got {name!r}"
        )
    abi = getattr(function, "kernel_abi", KERNEL_ABI)
    if abi != KERNEL_ABI:
        raise ArgumentError(
            f"register_kernel: {name!r} is written for kernel contract {abi}, this is {KERNEL_ABI}"
        )
    _check_signature(spec, function)
    implementation = Implementation(op, name, function=function, supports=supports, package=package)
    remove_implementation(op, name)
    spec.implementations.append(implementation)
    return implementation


def remove_implementation(op: str, name: str) -> None:
    """Take a kernel from outside off the list, if it is there."""
    spec = find_op(op)
    spec.implementations[:] = [
        entry for entry in spec.implementations if entry.name != name or entry.function is None
    ]


def _check_signature(spec: OpSpec, function: Kernel) -> None:
    """A kernel must take its arguments by position; compiled ones may hide their signature."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*spec.kernel_parameters)
    except TypeError as error:
        raise ArgumentError(
            f"register_kernel: the function takes {signature}, expected {spec.signature}: {error}"
        ) from None


def _conv_shapes(p: WindowProblem) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    x = (p.N, p.C, p.H, p.W)
    return x, (p.OC, p.C // p.groups, *p.kernel_size), (p.N, p.OC, *p.outputs)


def _conv2d_forward(p: WindowProblem) -> dict[str, ArraySpec]:
    x, weight, y = _conv_shapes(p)
    return {
        "x": _array("in", p.dtype, *x), "weight": _array("in", p.dtype, *weight),
        "bias": _array("in", p.dtype, p.OC), "y": _array("out", p.dtype, *y),
    }  # fmt: skip


def _conv2d_backward_input(p: WindowProblem) -> dict[str, ArraySpec]:
    x, weight, y = _conv_shapes(p)
    return {
        "dout": _array("in", p.dtype, *y), "weight": _array("in", p.dtype, *weight),
        "dx": _array("out", p.dtype, *x),
    }  # fmt: skip


def _conv2d_backward_weight(p: WindowProblem) -> dict[str, ArraySpec]:
    x, weight, y = _conv_shapes(p)
    return {
        "dout": _array("in", p.dtype, *y), "x": _array("in", p.dtype, *x),
        "dw": _array("out", p.dtype, *weight), "db": _array("out", p.dtype, p.OC),
    }  # fmt: skip


def _conv2d_pool_forward(p: WindowProblem) -> dict[str, ArraySpec]:
    y = (p.N, p.OC, *p.pooled)
    return {
        **_conv2d_forward(p), "y": _array("out", p.dtype, *y),
        "argmax": ArraySpec("out", y, argmax_dtype(p.pool)),
    }  # fmt: skip


def _conv2d_pool_backward_weight(p: WindowProblem) -> dict[str, ArraySpec]:
    y = (p.N, p.OC, *p.pooled)
    return {
        "dout": _array("in", p.dtype, *y), "y": _array("in", p.dtype, *y),
        "argmax": ArraySpec("in", y, argmax_dtype(p.pool)),
        **{name: _conv2d_backward_weight(p)[name] for name in ("x", "dw", "db")},
    }  # fmt: skip


def _max_pool2d_forward(p: WindowProblem) -> dict[str, ArraySpec]:
    y = (p.N, p.C, *p.outputs)
    return {
        "x": _array("in", p.dtype, p.N, p.C, p.H, p.W), "y": _array("out", p.dtype, *y),
        "argmax": ArraySpec("out", y, argmax_dtype(p.kernel_size)),
    }  # fmt: skip


def _max_pool2d_backward(p: WindowProblem) -> dict[str, ArraySpec]:
    y = (p.N, p.C, *p.outputs)
    return {
        "dout": _array("in", p.dtype, *y),
        "argmax": ArraySpec("in", y, argmax_dtype(p.kernel_size)),
        "dx": _array("out", p.dtype, p.N, p.C, p.H, p.W),
    }


def _avg_pool2d_forward(p: WindowProblem) -> dict[str, ArraySpec]:
    return {
        "x": _array("in", p.dtype, p.N, p.C, p.H, p.W),
        "y": _array("out", p.dtype, p.N, p.C, *p.outputs),
    }


def _avg_pool2d_backward(p: WindowProblem) -> dict[str, ArraySpec]:
    return {
        "dout": _array("in", p.dtype, p.N, p.C, *p.outputs),
        "dx": _array("out", p.dtype, p.N, p.C, p.H, p.W),
    }


def _columns_shape(p: WindowProblem) -> tuple[int, int]:
    OH, OW = p.outputs
    return p.N * OH * OW, p.C * p.kernel_size[0] * p.kernel_size[1]


def _im2col(p: WindowProblem) -> dict[str, ArraySpec]:
    return {
        "x": _array("in", p.dtype, p.N, p.C, p.H, p.W),
        "columns": _array("out", p.dtype, *_columns_shape(p)),
    }


def _col2im(p: WindowProblem) -> dict[str, ArraySpec]:
    return {
        "columns": _array("in", p.dtype, *_columns_shape(p)),
        "x": _array("out", p.dtype, p.N, p.C, p.H, p.W),
    }


def _dense_forward(p: DenseProblem) -> dict[str, ArraySpec]:
    return {
        "x": _array("in", p.dtype, p.N, p.in_features),
        "weight": _array("in", p.dtype, p.in_features, p.out_features),
        "bias": _array("in", p.dtype, p.out_features),
        "y": _array("out", p.dtype, p.N, p.out_features),
    }


def _dense_backward_input(p: DenseProblem) -> dict[str, ArraySpec]:
    return {
        "dout": _array("in", p.dtype, p.N, p.out_features),
        "weight": _array("in", p.dtype, p.in_features, p.out_features),
        "dx": _array("out", p.dtype, p.N, p.in_features),
    }


def _dense_backward_weight(p: DenseProblem) -> dict[str, ArraySpec]:
    return {
        "dout": _array("in", p.dtype, p.N, p.out_features),
        "x": _array("in", p.dtype, p.N, p.in_features),
        "dw": _array("out", p.dtype, p.in_features, p.out_features),
        "db": _array("out", p.dtype, p.out_features),
    }


def _window(p: WindowProblem) -> int:
    return p.kernel_size[0] * p.kernel_size[1]


def _elements(p: WindowProblem) -> int:
    """Elements of all windows of all images and channels."""
    return p.N * p.C * p.outputs[0] * p.outputs[1] * _window(p)


def _conv_flops(p: WindowProblem) -> int:
    return 2 * _elements(p) * (p.OC // p.groups)


def _dense_flops(p: DenseProblem) -> int:
    return 2 * p.N * p.in_features * p.out_features


_SLOPE_TERMS = 60
"""The largest dout*(1 - y*y) is of about this size where both are standard normal."""
_MEETING = 8
"""So many windows, at the most, are taken to have one element as their maximum."""
_EXP_FLOPS = 20
"""An exponential and a division, counted as so many operations."""
_WINDOW = ("stride", "padding", "dilation")
_POOL = ("kernel_size", "stride", "padding")


def _op(
    name: str,
    module: str,
    parameters: tuple[str, ...],
    arrays: Callable[[Any], dict[str, ArraySpec]],
    terms: Callable[[Any], int],
    flops: Callable[[Any], int],
    rounds: bool = False,
) -> OpSpec:
    implementations = []
    for backend, package in BACKENDS.items():
        implementations += [
            Implementation(name, f"{backend}:{algorithm.name}", f"{package}.{algorithm.module}",
                           supports=algorithm.supports, algorithm=algorithm)
            for algorithm in ALGORITHMS
            if name in algorithm.functions and backend in algorithm.backends
        ]  # fmt: skip
        # The reference is the definition, not one algorithm among several.
        direct = f"{backend}:direct" if name in TRANSFORMED and backend != "numpy" else backend
        implementations.append(Implementation(name, direct, f"{package}.{module}"))
    return OpSpec(name, module, parameters, arrays, terms, flops, implementations, rounds)


OPS: dict[str, OpSpec] = {
    spec.name: spec
    for spec in (
        _op("conv2d_forward", "conv2d", (*_WINDOW, "groups"), _conv2d_forward,
            lambda p: p.C // p.groups * _window(p), _conv_flops),
        _op("conv2d_backward_input", "conv2d", (*_WINDOW, "groups"), _conv2d_backward_input,
            lambda p: p.OC // p.groups * _window(p), _conv_flops),
        _op("conv2d_backward_weight", "conv2d", (*_WINDOW, "groups"), _conv2d_backward_weight,
            lambda p: p.N * p.outputs[0] * p.outputs[1], _conv_flops),
        _op("conv2d_relu_max_pool2d_forward", "conv2d_pool", (*_WINDOW, "groups", "pool"),
            _conv2d_pool_forward, lambda p: p.C // p.groups * _window(p), _conv_flops),
        _op("conv2d_relu_max_pool2d_backward_weight", "conv2d_pool",
            (*_WINDOW, "groups", "pool"), _conv2d_pool_backward_weight,
            lambda p: p.N * p.pooled[0] * p.pooled[1],
            lambda p: 2 * p.N * p.OC * p.pooled[0] * p.pooled[1] * p.C // p.groups * _window(p)),
        _op("max_pool2d_forward", "pool2d", (*_POOL, "dilation"), _max_pool2d_forward,
            lambda p: 0, _elements),
        _op("max_pool2d_backward", "pool2d", (*_POOL, "dilation"), _max_pool2d_backward,
            _window, lambda p: p.N * p.C * p.outputs[0] * p.outputs[1]),
        _op("avg_pool2d_forward", "pool2d", (*_POOL, "count_include_pad"), _avg_pool2d_forward,
            _window, _elements),
        _op("avg_pool2d_backward", "pool2d", (*_POOL, "count_include_pad"), _avg_pool2d_backward,
            _window, _elements),
        _op("dense_forward", "dense", (), _dense_forward,
            lambda p: p.in_features, _dense_flops),
        _op("dense_backward_input", "dense", (), _dense_backward_input,
            lambda p: p.out_features, _dense_flops),
        _op("dense_backward_weight", "dense", (), _dense_backward_weight,
            lambda p: p.N, _dense_flops),
        _op("im2col", "im2col", ("kernel_size", *_WINDOW), _im2col, lambda p: 0, lambda p: 0),
        _op("col2im", "im2col", ("kernel_size", *_WINDOW), _col2im, _window, _elements),
        _op("relu_forward", "activations", (), around.elementwise,
            lambda p: 0, lambda p: p.size),
        _op("relu_backward", "activations", (), around.elementwise_backward,
            lambda p: 0, lambda p: p.size),
        _op("sigmoid_forward", "activations", (), around.elementwise,
            lambda p: 1, lambda p: _EXP_FLOPS * p.size, rounds=True),
        _op("sigmoid_backward", "activations", (), around.elementwise_backward,
            lambda p: _SLOPE_TERMS, lambda p: 3 * p.size),
        _op("tanh_forward", "activations", (), around.elementwise,
            lambda p: 1, lambda p: _EXP_FLOPS * p.size, rounds=True),
        _op("tanh_backward", "activations", (), around.elementwise_backward,
            lambda p: _SLOPE_TERMS, lambda p: 3 * p.size),
        _op("add_forward", "activations", (), around.elementwise_sum,
            lambda p: 1, lambda p: p.size),
        _op("add_relu_forward", "activations", (), around.elementwise_sum,
            lambda p: 1, lambda p: 2 * p.size),
        _op("leaky_relu_forward", "rectifiers", (), around.rectifier_forward,
            lambda p: 1, lambda p: p.size),
        _op("leaky_relu_backward", "rectifiers", (), around.rectifier_backward("x"),
            lambda p: 1, lambda p: p.size),
        _op("elu_forward", "rectifiers", (), around.rectifier_forward,
            lambda p: 1, lambda p: _EXP_FLOPS * p.size, rounds=True),
        _op("elu_backward", "rectifiers", (), around.rectifier_backward("y"),
            lambda p: 8, lambda p: 2 * p.size),
        _op("prelu_forward", "rectifiers", (), around.sloped_forward,
            lambda p: 1, lambda p: p.size),
        _op("prelu_backward", "rectifiers", (), around.sloped_backward,
            lambda p: 1 + p.N * p.S, lambda p: 3 * p.size),
        _op("fractional_max_pool2d_forward", "fractional_pool2d", (), around.regions_forward,
            lambda p: 0, lambda p: p.N * p.C * p.H * p.W),
        _op("fractional_max_pool2d_backward", "fractional_pool2d", (), around.regions_backward,
            lambda p: _MEETING, lambda p: p.N * p.C * p.OH * p.OW),
        _op("softmax_cross_entropy_forward", "losses", (), around.losses_forward,
            lambda p: 8, lambda p: _EXP_FLOPS * p.size, rounds=True),
        _op("softmax_cross_entropy_backward", "losses", (), around.losses_backward,
            lambda p: 1, lambda p: p.size, rounds=True),
        _op("sgd_update", "optimizers", (), around.update_of(rates=2),
            lambda p: 4, lambda p: 4 * p.size),
        _op("momentum_update", "optimizers", (), around.update_of("velocity", rates=4),
            lambda p: 8, lambda p: 7 * p.size),
        _op("nesterov_update", "optimizers", (), around.update_of("velocity", rates=4),
            lambda p: 8, lambda p: 8 * p.size),
        _op("adagrad_update", "optimizers", (), around.update_of("total", rates=3),
            lambda p: 8, lambda p: 9 * p.size, rounds=True),
        _op("rmsprop_update", "optimizers", (), around.update_of("v", rates=4),
            lambda p: 8, lambda p: 11 * p.size, rounds=True),
        _op("adam_update", "optimizers", (), around.update_of("m", "v", rates=6),
            lambda p: 8, lambda p: 14 * p.size, rounds=True),
        _op("squared_norm", "optimizers", (), around.partial_sums,
            lambda p: min(around.SUMMED, p.size), lambda p: 2 * p.size),
        _op("batch_norm_forward", "batch_norm", (), around.channels_forward,
            lambda p: 8, lambda p: 7 * p.size, rounds=True),
        _op("batch_norm_inference", "batch_norm", (), around.channels_inference,
            lambda p: 8, lambda p: 2 * p.size, rounds=True),
        _op("batch_norm_backward", "batch_norm", (), around.channels_backward,
            lambda p: 64 + p.N * p.S, lambda p: 9 * p.size, rounds=True),
        _op("batch_norm_relu_forward", "batch_norm", (), around.channels_forward,
            lambda p: 8, lambda p: 8 * p.size, rounds=True),
        _op("batch_norm_relu_backward", "batch_norm", (), around.channels_relu_backward,
            lambda p: 32 + p.N * p.S // 2, lambda p: 10 * p.size, rounds=True),
        _op("dropout_forward", "dropout", (), around.masked_forward,
            lambda p: 1, lambda p: 10 * p.size),
        _op("dropout_backward", "dropout", (), around.masked_backward,
            lambda p: 1, lambda p: 10 * p.size),
    )
}  # fmt: skip
