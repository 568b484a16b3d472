"""Plans: decided once for a call, kept with the settings, bounded in number."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.dispatch import current_settings
from fastscratch.dispatch.choose import choose
from fastscratch.ops import plan as module

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
        fs.ops.dense_forward(X + 1, WEIGHT, np.ones(4))
        fs.ops.dense_forward(X.T.copy().T, WEIGHT, out=np.empty((2, 4)))
    assert counted == ["dense_forward:f64:n2i3:o4"]


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
