"""Residual blocks: the sum of two paths, their names, and what does not fit."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    ReLU,
    Residual,
    Sequential,
    describe_layer,
    layer_from_description,
)
from fastscratch.models import load_model


def test_the_sum_of_both_paths():
    body = Dense(3)
    block = Residual(body)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(block.forward(x), body.forward(x) + x)


def test_names_summary_and_saving(tmp_path):
    body = Sequential(Conv2d(8, 3, stride=2, padding=1, rounding="floor"), ReLU())
    net = Sequential(("block", Residual(body, Conv2d(8, 1, stride=2, rounding="floor"))), seed=3)
    assert net.build((4, 6, 6)) == (8, 3, 3)
    names = ["block.body.0.weight", "block.body.0.bias", "block.shortcut.weight"]
    assert [parameter.name for parameter in net.parameters()][:3] == names
    assert [row.path for row in net.summary().rows] == [
        "block.body.0", "block.body.1", "block.shortcut",
    ]  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
    net.save(tmp_path / "net.npz")
    twin = load_model(tmp_path / "net.npz")
    np.testing.assert_array_equal(twin.forward(x), net.forward(x))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r"'a' \(Residual\).*\(5,\).*\(3,\).*shortcut"):
        Sequential(("a", Residual(Dense(5)))).build((3,))
    with pytest.raises(ArgumentError, match="takes layers"):
        Residual("dense")  # type: ignore[arg-type]


def block_of(survival, seed=0):
    block = Residual(Sequential(Dense(4, bias_init="constant"), BatchNorm()), survival=survival)
    block.build((4,), seed=seed, path="block")
    return block


X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def left_out(block, steps):
    return [bool(np.array_equal(block.forward(X, training=True), X)) for _ in range(steps)]


def test_a_share_of_the_steps_leaves_the_body_out():
    drawn = left_out(block_of(0.7), 300)
    assert abs(np.mean(drawn) - 0.3) < 0.1
    assert drawn == left_out(block_of(0.7), 300), "a function of seed, path and step"
    assert drawn != left_out(block_of(0.7, seed=1), 300)
    assert not any(left_out(block_of(1.0), 20))


@pytest.mark.parametrize("of_input", [False, True])
def test_a_body_that_is_left_out_learns_nothing_and_keeps_its_statistics(of_input):
    block = block_of(0.5)
    seen = set()
    for _ in range(10):
        kept = [buffer.value.copy() for buffer in block.body.buffers()]
        out = np.array_equal(block.forward(X, training=True), X)
        for parameter in block.parameters():
            parameter.grad[...] = 9
        if of_input:
            dx = block.backward(X)
            assert np.array_equal(dx, X) == out
        else:
            block.backward_parameters(X)
        gradients = [parameter.grad for parameter in block.parameters()]
        assert not any((gradient == 9).any() for gradient in gradients), "overwritten"
        assert all((gradient == 0).all() for gradient in gradients) == out
        same = [(b.value == k).all() for b, k in zip(block.body.buffers(), kept, strict=True)]
        assert all(same) == out
        seen.add(out)
    assert seen == {False, True}


def test_prediction_takes_the_mean():
    block = block_of(0.25)
    np.testing.assert_allclose(block.forward(X), X + 0.25 * block.body.forward(X), rtol=1e-6)


def test_survival_is_saved_and_a_resumed_run_draws_on(tmp_path):
    block = block_of(0.5)
    left_out(block, 3)
    again = layer_from_description(describe_layer(block))
    assert isinstance(again, Residual) and again.survival == 0.5
    again.build((4,), seed=0, path="block")
    again.load_state_dict(block.state_dict())
    assert left_out(again, 20) == left_out(block, 20)


@pytest.mark.parametrize("survival", [0.0, 1.1, -1.0, float("nan")])
def test_impossible_survival(survival):
    with pytest.raises(ArgumentError, match="survival"):
        Residual(Dense(3), survival=survival)
