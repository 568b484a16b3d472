import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.layers import Dropout, Sequential

ONES = np.ones((100, 200), np.float32)


@pytest.mark.parametrize("ratio", [0.15, 0.2, 0.5, 0.9])
def test_share_and_scale(ratio):
    y = Dropout(ratio).forward(ONES, training=True)
    kept = y != 0
    assert abs(1 - kept.mean() - ratio) < 5 * np.sqrt(ratio * (1 - ratio) / ONES.size)
    np.testing.assert_allclose(y[kept], 1 / (1 - ratio), rtol=1e-6)
    assert y.mean() == pytest.approx(1, abs=0.1), "the expected output is the input"


def test_prediction_returns_the_input():
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    assert np.array_equal(Dropout(0.5).forward(x), x)


def test_backward_uses_the_mask_of_the_forward_pass():
    layer = Dropout(0.5)
    y = layer.forward(ONES, training=True)
    assert np.array_equal(layer.backward(ONES), y)


def test_dropped_infinities_are_zero():
    x = np.full((1, 50), np.inf, np.float32)
    y = Dropout(0.5).forward(x, training=True)
    assert not np.isnan(y).any() and (y == 0).any()


def test_masks_differ_by_step_seed_and_path():
    def mask(seed=0, path="a", steps=1):
        layer = Dropout(0.5)
        layer.build((200,), seed=seed, path=path)
        for _ in range(steps):
            y = layer.forward(ONES, training=True)
        return y != 0

    assert np.array_equal(mask(), mask())
    for other in (mask(seed=1), mask(path="b"), mask(steps=2)):
        assert abs((mask() == other).mean() - 0.5) < 0.02


def test_an_element_draws_the_same_whatever_the_batch_holds_after_it():
    def mask(n):
        return Dropout(0.5).forward(ONES[:n], training=True) != 0

    assert np.array_equal(mask(100)[:33], mask(33))
    odd = Dropout(0.5).forward(np.ones((1, 3), np.float32), training=True)
    assert odd.shape == (1, 3)


def test_a_resumed_run_draws_on():
    one = Sequential(Dropout(0.5), seed=3)
    one.forward(ONES, training=True)
    state = one.state_dict()
    assert state["0.step"] == 1
    expected = one.forward(ONES, training=True)
    other = Sequential(Dropout(0.5), seed=3)
    other.build((200,))
    other.load_state_dict(state)
    assert np.array_equal(other.forward(ONES, training=True), expected)


def test_float64_draws_the_same_mask():
    one, other = Dropout(0.5), Dropout(0.5)
    a = one.forward(ONES, training=True)
    b = other.forward(ONES.astype(np.float64), training=True)
    assert np.array_equal(a != 0, b != 0) and b.dtype == np.float64


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_ratios(ratio):
    with pytest.raises(ArgumentError, match="ratio"):
        Dropout(ratio)


def test_ratio_zero_changes_nothing():
    assert np.array_equal(Dropout(0.0).forward(ONES, training=True), ONES)
