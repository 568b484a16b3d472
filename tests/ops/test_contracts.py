"""What every public function promises alike: layouts, dtypes, out, threads, error texts."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest
from public_calls import OF_OTHER_FORM, SAMPLES, Call

import fastscratch
from fastscratch import ops
from fastscratch.errors import (
    ArgumentError,
    BackendUnavailableError,
    DtypeError,
    ShapeError,
)
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import WindowProblem
from fastscratch.testing import make_inputs
from fastscratch.types import Array


@pytest.fixture(params=list(SAMPLES))
def op(request):
    return request.param


def test_every_operation_is_public_and_has_a_sample():
    assert set(OPS) == {*SAMPLES, *OF_OTHER_FORM}
    assert not set(SAMPLES) & set(OF_OTHER_FORM)
    assert set(OPS) | {"conv2d_backward_bias", "dense_backward_bias"} <= set(ops.__all__)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_agrees_with_the_kernel_whatever_the_backend(op, dtype, backend):
    call = Call(op, dtype)
    results = call(backend=backend)
    call.check(results)
    for result in results:
        assert result.flags.c_contiguous
        assert result.flags.owndata


def strided(array):
    big = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    view = big[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class Subclass(np.ndarray):
    pass


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
    "transposed": lambda array: array.T.copy().T,
    "unaligned": unaligned,
    "read_only": read_only,
    "subclass": lambda array: array.view(Subclass),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_takes_any_layout_and_writes_to_none(op, layout):
    call = Call(op)
    arrays = {
        name: LAYOUTS[layout](array) if array.ndim > 1 or layout != "reversed" else array
        for name, array in call.arrays.items()
    }
    call.check(call(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, call.arrays[name])


def test_broadcast_arrays_are_read_as_what_they_show(op):
    call = Call(op)
    first = next(iter(call.arrays))
    ones = np.broadcast_to(np.float64(2), call.arrays[first].shape)
    full = np.full(ones.shape, 2.0)
    for result, ref in zip(
        call(call.arrays | {first: ones}), call(call.arrays | {first: full}), strict=True
    ):
        np.testing.assert_array_equal(result, ref)


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint8", "complex128", ">f8", "bool", "O"])
def test_other_dtypes_are_refused(op, dtype):
    call = Call(op)
    for name in call.arrays:
        if name == "argmax" and dtype == "uint8":
            continue
        with pytest.raises(DtypeError, match=f"^{op}: {name} ") as caught:
            call(call.arrays | {name: call.arrays[name].astype(dtype)})
        assert str(np.dtype(dtype)) in str(caught.value)


def test_the_way_out_of_a_wrong_dtype_is_told(op):
    call = Call(op)
    first = next(iter(call.arrays))
    wrong = call.arrays | {first: call.arrays[first].astype(np.int64)}
    with pytest.raises(DtypeError, match=rf"got int64; convert it with {first}\.astype\(np"):
        call(wrong)


def test_mixed_dtypes_are_refused(op):
    call = Call(op)
    floats = [name for name, array in call.arrays.items() if array.dtype.kind == "f"]
    for name in floats[1:]:
        with pytest.raises(DtypeError, match=f"{name} is float32 and .* is float64"):
            call(call.arrays | {name: call.arrays[name].astype(np.float32)})


def test_lists_are_refused(op):
    call = Call(op)
    first = next(iter(call.arrays))
    with pytest.raises(DtypeError, match=rf"{first} must be a NumPy array, got list; pass np\."):
        call(call.arrays | {first: call.arrays[first].tolist()})


def test_masked_arrays_are_refused(op):
    """Their masks would be ignored, and what they hide would be computed with."""
    call = Call(op)
    for name, array in call.arrays.items():
        masked = np.ma.masked_array(array, mask=array > 1)
        with pytest.raises(DtypeError, match=rf"{name} is a masked array.*pass {name}\.filled"):
            call(call.arrays | {name: masked})


def test_another_number_of_axes_is_refused(op):
    call = Call(op)
    for name, array in call.arrays.items():
        if op == "relu_forward":  # takes any
            continue
        with pytest.raises(ShapeError, match=f"{op}: "):
            call(call.arrays | {name: array[None]})
        with pytest.raises(ShapeError, match=f"{op}: "):
            call(call.arrays | {name: np.asarray(array[0])})


def test_writes_into_out_and_returns_it(op):
    call = Call(op)
    outs = [np.full_like(ref, 77) for ref in call.outputs()]
    results = call(out=tuple(outs) if len(outs) > 1 else outs[0])
    assert all(result is out for result, out in zip(results, outs, strict=True))
    call.check(results)


def out_of(call, change):
    """An ``out`` argument whose arrays are changed by a function."""
    changed = [change(np.zeros_like(ref)) for ref in call.outputs()]
    return tuple(changed) if len(changed) > 1 else changed[0]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda a: a[:, :-1].copy(), ShapeError, r"out \(\w+\) must have shape .*, got "),
        (lambda a: a[None], ShapeError, r"must have shape"),
        (lambda a: a.astype(np.int16), DtypeError, r"must be a \w+ array, got int16"),
        (lambda a: a.tolist(), DtypeError, r"must be a \w+ array, got list"),
        (strided, ArgumentError, "C-contiguous, aligned and writeable"),
        (read_only, ArgumentError, "C-contiguous, aligned and writeable"),
        (lambda a: np.zeros(a.shape, ">i4"), DtypeError, "must be a"),
    ],
)
def test_checks_out(op, change, error, text):
    call = Call(op)
    with pytest.raises(error, match=text):
        call(out=out_of(call, change))


def test_out_may_not_overlap_an_input(op):
    call = Call(op)
    ref = call.outputs()[0]
    for name, array in call.arrays.items():
        pool = np.zeros(array.nbytes + ref.nbytes, np.uint8)
        overlapping = pool[: array.nbytes].view(array.dtype).reshape(array.shape)
        overlapping[...] = array
        start = (array.nbytes // 2) // 8 * 8
        out = pool[start : start + ref.nbytes].view(ref.dtype).reshape(ref.shape)
        outs = (out, np.zeros_like(call.outputs()[1])) if len(call.outputs()) > 1 else out
        with pytest.raises(ArgumentError, match="overlaps another array of the call"):
            call(call.arrays | {name: overlapping}, out=outs)
        np.testing.assert_array_equal(overlapping, array)


def test_out_may_not_overlap_an_input_of_another_layout():
    """The kernel would get a copy, but the caller's array would be written to."""
    x = np.arange(16.0).reshape(4, 4)
    with pytest.raises(ArgumentError, match="overlaps"):
        ops.dense_forward(x.T, np.eye(4), out=x)
    assert x[0, 1] == 1


def test_two_outputs_may_not_overlap():
    call = Call("conv2d_backward_weight")
    assert isinstance(call.problem, WindowProblem)
    dw = call.outputs()[0]
    db = dw.reshape(-1)[: call.problem.OC]
    with pytest.raises(ArgumentError, match=r"out \(db\) overlaps"):
        call(out=dw, bias_out=db)
    y = np.zeros((1, 1, 2, 2))
    with pytest.raises(ArgumentError, match=r"out must be a pair \(y, argmax\)"):
        ops.max_pool2d_forward(np.zeros((1, 1, 4, 4)), 2, out=y[0, 0, 0, 0])


@pytest.mark.parametrize("op", ["conv2d_backward_weight", "dense_backward_weight"])
def test_the_gradient_of_the_bias_comes_along(op, backend):
    call = Call(op)
    db = np.full(call.ref["db"].shape, np.nan)
    call.check(call(bias_out=db, backend=backend))
    np.testing.assert_array_equal(db, call.ref["db"])
    alone = getattr(ops, op.replace("weight", "bias"))(call.arrays["dout"])
    np.testing.assert_array_equal(alone, call.ref["db"])
    assert alone.dtype == db.dtype


@pytest.mark.parametrize("op", ["conv2d_backward_bias", "dense_backward_bias"])
def test_the_gradient_of_the_bias_checks_its_array(op):
    function = getattr(ops, op)
    with pytest.raises(DtypeError, match=f"{op}: dout must be float32"):
        function(np.zeros((2, 2), np.int64))
    with pytest.raises(ShapeError, match=f"{op}: dout must have axes"):
        function(np.zeros(3))
    result = function(np.zeros((0, 3, 2, 2) if "conv" in op else (0, 3), np.float32))
    assert result.tolist() == [0, 0, 0]
    assert result.dtype == np.float32


def test_an_unknown_backend_is_refused(op):
    call = Call(op)
    known = "there are cython.*, numba"
    with pytest.raises(BackendUnavailableError, match=f"{op}: .* 'cuda' .*{known}"):
        call(backend="cuda")


def test_an_empty_batch_gives_empty_results_and_zero_gradients(op, backend):
    call = Call(op, case="zero_batch")
    results = call(backend=backend)
    call.check(results)
    if "weight" in op:
        assert not results[0].any()
        assert results[0].size
    else:
        assert results[0].size == 0


def test_results_do_not_depend_on_threads(op, backend):
    call = Call(op, "f32")
    call.arrays = make_inputs(call.problem, "normal")
    with fastscratch.threads(1):
        one = call(backend=backend)
    with fastscratch.threads(3):
        three = call(backend=backend)
    for a, b in zip(one, three, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("op", OPS)
def test_full_docstring(op):
    """The one full docstring of an operation stands here, in numpydoc form."""
    text = inspect.getdoc(getattr(ops, op)) or ""
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"{section}\n{'-' * len(section)}\n" in text
    for name in inspect.signature(getattr(ops, op)).parameters:
        assert name in text
