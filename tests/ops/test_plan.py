"""Plans: decided once for a call, kept with the settings, bounded in number; and calls by them."""

import contextlib
import importlib
import inspect
from typing import Any

import numpy as np
import pytest
from public_calls import SAMPLES, Call

import fastscratch as fs
from fastscratch.dispatch import current_settings
from fastscratch.dispatch.choose import choose
from fastscratch.errors import ArgumentError
from fastscratch.kernels.catalogue import OPS, backend_reason

module: Any = importlib.import_module("fastscratch.ops.plan")

X, WEIGHT = np.ones((2, 3)), np.ones((3, 4))


@pytest.fixture
def counted(monkeypatch):
    """How often a choice was made."""
    made = []

    def counting(problem, *rest):
        made.append(str(problem))
        return choose(problem, *rest)

    monkeypatch.setattr(module, "choose", counting)
    with fs.threads(7):  # settings of its own, whose plans no other test has made
        current_settings().plans.clear()
        yield made


def test_a_call_is_decided_once(counted):
    for _ in range(3):
        fs.ops.dense_forward(X, WEIGHT)
        fs.ops.dense_forward(X.T.copy().T, WEIGHT, out=np.empty((2, 4)))
    assert counted == ["dense_forward:f64:n2i3:o4"]
    for _ in range(3):
        fs.ops.dense_forward(X + 1, WEIGHT, np.ones(4))
    assert len(counted) == 2  # the bias is checked


def test_another_shape_dtype_option_or_setting_is_decided_anew(counted):
    x = np.ones((1, 2, 4, 4))
    for array in (x, x.astype(np.float32), x[:, :1]):
        for options in ({}, {"stride": 1}, {"padding": 1}, {"dilation": 2, "stride": 1},
                        {"rounding": "floor"}, {"backend": "numpy"}):  # fmt: skip
            fs.ops.max_pool2d_forward(array, 2, **options)
    assert len(counted) == 18
    with fs.use_backend("numpy"):
        fs.ops.max_pool2d_forward(x, 2)
    assert len(counted) == 19
    with fs.use_backend("numpy"):
        fs.ops.max_pool2d_forward(x, 2)
    assert len(counted) == 19


def test_options_that_are_lists_are_decided_each_time(counted):
    for _ in range(2):
        fs.ops.max_pool2d_forward(np.ones((1, 1, 4, 4)), [2, 2])
    assert len(counted) == 2


def test_plans_are_bounded(counted, monkeypatch):
    monkeypatch.setattr(module, "_MOST_PLANS", 10)
    for rows in range(35):
        fs.ops.dense_forward(np.ones((rows, 3)), WEIGHT)
        assert len(current_settings().plans) <= 10
    assert len(counted) == 35
    fs.ops.dense_forward(np.ones((34, 3)), WEIGHT)
    assert len(counted) == 35


def test_a_failed_call_leaves_no_plan(counted):
    for _ in range(2):
        with pytest.raises(fs.errors.ShapeError):
            fs.ops.dense_forward(X, X)
    assert not current_settings().plans
    assert not counted


def test_missing_bias_is_a_zero_that_nobody_can_change(counted):
    """The plan's own array is handed to kernels, so that it must stay what it is."""
    fs.ops.dense_forward(X, WEIGHT)
    (plan,) = current_settings().plans.values()
    assert not plan.zeros.flags.writeable
    assert not plan.zeros.any()


def test_what_equals_a_fitting_option_is_refused_all_the_same():
    for _ in range(2):
        fs.ops.max_pool2d_forward(np.ones((1, 1, 4, 4)), 1, stride=1)
        wrong: Any
        for wrong in (True, 1.0):
            with pytest.raises(ArgumentError, match="stride"):
                fs.ops.max_pool2d_forward(np.ones((1, 1, 4, 4)), 1, stride=wrong)


def versions():
    """`call` in Python, and in C."""
    if reason := backend_reason("cython"):
        pytest.skip(reason)
    return {"python": module.first_call, "compiled": module.calls.call}


def test_the_versions_have_one_signature():
    python, compiled = versions().values()
    assert module.call is compiled
    names = [list(inspect.signature(version).parameters) for version in (python, compiled)]
    assert names[0] == names[1]
    fields = module.calls.PLAN_FIELDS
    assert module.Plan._fields[: len(fields)] == fields


def unaligned(array):
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


class Subclass(np.ndarray):
    pass


INPUTS: dict[str, Any] = {
    "plain": np.copy,
    "fortran": np.asfortranarray,
    "unaligned": unaligned,
    "frozen": frozen,
    "subclass": lambda array: array.copy().view(Subclass),
    "masked": np.ma.masked_array,
    "swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "another dtype": lambda array: array.astype(np.float16),
    "another shape": lambda array: array[..., :-1].copy(),
    "another axis": lambda array: array[None].copy(),
    "list": np.ndarray.tolist,
    "none": lambda array: None,
}
OUTS: dict[str, Any] = {
    "plain": np.empty_like,
    "frozen": frozen,
    "unaligned": unaligned,
    "strided": lambda array: np.empty((*array.shape, 2), array.dtype)[..., 0],
    "another dtype": lambda array: np.empty(array.shape, np.float16),
    "another shape": lambda array: np.empty((*array.shape, 1), array.dtype),
    "subclass": lambda array: np.empty_like(array).view(Subclass),
    "list": np.ndarray.tolist,
}


def outcomes(monkeypatch, work):
    """What a call gives in each version, made three times: a result, or an error."""
    found = {}
    for name, version in versions().items():
        for name_of_file in {spec.module for spec in OPS.values()}:
            file = importlib.import_module(f"fastscratch.ops.{name_of_file}")
            monkeypatch.setattr(file, "call", version)
        with fs.threads(1 if name == "python" else 2):
            current_settings().plans.clear()
            for time in range(3):
                try:
                    found[name, time] = [array.tolist() for array in work()]
                except fs.errors.FastscratchError as error:
                    found[name, time] = [type(error), str(error)]
    return list(found.values())


@pytest.mark.parametrize("op", SAMPLES)
def test_the_versions_take_and_refuse_the_same_inputs(op, monkeypatch):
    call = Call(op)
    call()
    for name, array in call.arrays.items():
        for change in INPUTS.values():
            wrong = call.arrays | {name: change(array)}
            first, *others = outcomes(monkeypatch, lambda wrong=wrong: call(wrong))
            assert others == [first] * 5


@pytest.mark.parametrize("op", SAMPLES)
def test_the_versions_take_and_refuse_the_same_outputs(op, monkeypatch):
    call = Call(op)
    refs = call.outputs()
    inputs = [array for array in call.arrays.values() if array.size >= refs[0].size]
    shared = [array.reshape(-1)[: refs[0].size].reshape(refs[0].shape) for array in inputs]
    for first_out in [*(change(refs[0]) for change in OUTS.values()), *shared]:
        out = first_out if len(refs) == 1 else (first_out, None)
        first, *others = outcomes(monkeypatch, lambda out=out: call(out=out))
        assert others == [first] * 5


STATE = np.arange(20.0)


@pytest.mark.parametrize("grad", [STATE[10:20], STATE[9:19], STATE[10:20][::-1], STATE[:10]])
@pytest.mark.parametrize("change", ["plain", "frozen", "unaligned", "another dtype", "subclass"])
def test_the_versions_change_in_place_alike(change, grad, monkeypatch):
    value = STATE[:10] if change == "plain" else INPUTS[change](STATE[:10])
    before = STATE.copy()

    def work():
        try:
            fs.ops.sgd_update(value, grad, lr=0.5)
            return [np.array(value)]
        finally:
            STATE[...] = before
            with contextlib.suppress(ValueError):
                value[...] = before[:10]

    first, *others = outcomes(monkeypatch, work)
    assert others == [first] * 5


def test_a_call_like_an_earlier_one_is_made_in_c(monkeypatch):
    versions()

    def refuse(*arguments):
        raise AssertionError("left to Python")

    x, gamma = np.ones((2, 3, 4, 4)), np.ones(3)
    out = np.empty_like(x)

    def work():
        fs.ops.max_pool2d_forward(x, 2)
        fs.ops.dense_forward(X, WEIGHT, out=np.empty((2, 4)))
        fs.ops.batch_norm_forward(x, gamma, gamma, out=out)
        fs.ops.sgd_update(out, x)

    work()
    others = (module.context, module.process_settings, module.fresh_array, module.LARGE)
    module.calls.bind(refuse, *others)
    try:
        work()
        with pytest.raises(AssertionError, match="left to Python"):
            fs.ops.relu_forward(x[:1])
    finally:
        module.calls.bind(module.first_call, *others)
    assert fs.ops.relu_forward(x[:1]).shape == (1, 3, 4, 4)
