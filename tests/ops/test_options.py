"""Options of the public functions: every form that they may have, and what is refused."""

import inspect

import numpy as np
import pytest
from public_calls import Call

from fastscratch import ops
from fastscratch.errors import ArgumentError, FastscratchError, ShapeError
from fastscratch.kernels.problem import (
    AVG_POOL_OPS,
    COLUMN_OPS,
    CONV_OPS,
    MAX_POOL_OPS,
    WindowProblem,
)

WINDOW_OPS = [*CONV_OPS, *MAX_POOL_OPS, *AVG_POOL_OPS, *COLUMN_OPS]


@pytest.mark.parametrize("op", WINDOW_OPS)
def test_options_come_as_lists_and_numpy_ints_too(op):
    call = Call(op)
    p = call.problem
    assert isinstance(p, WindowProblem)
    names = inspect.signature(call.function).parameters
    forms = {"stride": p.stride, "padding": p.padding, "dilation": p.dilation}
    forms |= {"kernel_size": p.kernel_size, "input_shape": (p.N, p.C, p.H, p.W)}
    for convert in (list, np.array, lambda pair: tuple(map(np.int16, pair))):
        call.check(call(**{key: convert(pair) for key, pair in forms.items() if key in names}))


def has(op, name):
    return name in inspect.signature(getattr(ops, op)).parameters


WRONG_OPTIONS = [
    (op, name, value)
    for name, value in [
        ("stride", 0), ("stride", -1), ("stride", 1.5), ("stride", (1, 2, 3)), ("stride", "2"),
        ("dilation", 0), ("dilation", None), ("padding", -1), ("padding", "full"),
        ("padding", (1, 2, 3)), ("rounding", "up"), ("kernel_size", 0), ("kernel_size", 2.0),
        ("groups", 0), ("groups", 1.5), ("groups", "1"),
    ]
    for op in WINDOW_OPS if has(op, name)
]  # fmt: skip


@pytest.mark.parametrize(("op", "name", "value"), WRONG_OPTIONS)
def test_options_outside_their_values_are_refused(op, name, value):
    call = Call(op)
    with pytest.raises(FastscratchError, match=f"^{op}: .*{name}") as caught:
        call(**{name: value})
    assert isinstance(caught.value, ArgumentError | ShapeError)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("op", [op for op in WINDOW_OPS if has(op, "input_shape")])
@pytest.mark.parametrize(
    "shape",
    [(1, 2), None, (1, 0, 3, 3), (-1, 2, 9, 9), "abcd", "2297", (2, 2.0, 9, 7), (1, 1, 1, 99)],
)
def test_an_input_shape_that_does_not_fit_is_refused(op, shape):
    call = Call(op)
    with pytest.raises(ShapeError, match=f"^{op}: "):
        call(input_shape=shape)


@pytest.mark.parametrize("op", WINDOW_OPS)
@pytest.mark.parametrize("huge", [2**31, 2**40, 2**61, 2**62, 2**63, 2**70])
def test_numbers_beyond_any_memory_are_refused(op, huge):
    """No product of them may wrap around: a kernel would compute with what is left."""
    call = Call(op, "f32")
    for names in (("padding",), ("stride",), ("padding", "stride"), ("padding", "dilation"),
                  ("padding", "kernel_size"), ("padding", "kernel_size", "stride")):  # fmt: skip
        given = {name: huge for name in names if has(op, name)}
        if has(op, "rounding"):
            given["rounding"] = "floor"
        with pytest.raises(ShapeError, match=f"^{op}: "):
            call(**given)


def test_a_result_beyond_any_memory_is_refused():
    rows = np.zeros((0, 2**40), np.float32)
    with pytest.raises(ShapeError, match=r"^dense_backward_weight: dw would have shape \(1099"):
        ops.dense_backward_weight(rows, rows)
    image = np.zeros((2**18, 1, 1, 1), np.float32)
    with pytest.raises(ShapeError, match=r"^avg_pool2d_forward: y would have shape \(262144, 1,"):
        ops.avg_pool2d_forward(image, 1, padding=2**15)


@pytest.mark.parametrize("function", [ops.max_pool2d_forward, ops.avg_pool2d_forward, ops.im2col])
def test_images_without_channels_are_refused(function):
    with pytest.raises(ShapeError, match="there must be one channel or more, got 0"):
        function(np.zeros((2, 0, 4, 4)), 2)
