"""Residual blocks: the sum of two paths, their names, and what does not fit."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers import Conv2d, Dense, ReLU, Residual, Sequential
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
