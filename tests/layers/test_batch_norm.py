from typing import Any

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers import BatchNorm

rng = np.random.default_rng(0)


@pytest.mark.parametrize(("shape", "axes"), [((50, 4), (0,)), ((5, 4, 6, 7), (0, 2, 3))])
def test_statistics_are_per_channel(shape, axes):
    x = rng.standard_normal(shape) * 3 + 5
    norm = BatchNorm()
    y = norm.forward(x, training=True)
    assert norm.gamma.shape == norm.running_mean.shape == (4,)
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=axes), 1, rtol=1e-4)
    # Not per pixel: the pixels of one place keep a mean of their own.
    if len(shape) == 4:
        assert abs(y.mean(axis=0)).max() > 0.1


def test_scale_and_shift():
    norm = BatchNorm()
    x = rng.standard_normal((50, 2))
    norm.build((2,), np.float64)
    plain = norm.forward(x, training=True)
    norm.gamma.value, norm.beta.value = [2.0, 3.0], [-1.0, 1.0]
    np.testing.assert_allclose(norm.forward(x, training=True), plain * [2, 3] + [-1, 1])


def test_momentum_is_the_share_of_the_old_value():
    norm = BatchNorm(momentum=0.75)
    x = rng.standard_normal((10, 3, 4, 4)) + 2
    norm.forward(x, training=True)
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    np.testing.assert_allclose(norm.running_mean.value, 0.25 * mean)
    np.testing.assert_allclose(norm.running_var.value, 0.75 + 0.25 * var)
    norm.forward(x, training=True)
    np.testing.assert_allclose(norm.running_mean.value, (0.25 + 0.75 * 0.25) * mean)


def test_prediction_uses_the_running_statistics_and_leaves_them():
    norm = BatchNorm(eps=1e-3)
    norm.build((2,), np.float64)
    norm.running_mean.value, norm.running_var.value = [1.0, 2.0], [4.0, 9.0]
    norm.gamma.value, norm.beta.value = [1.0, 2.0], [0.0, 5.0]
    x = np.array([[3.0, 5.0]])
    expected = (x - [1, 2]) / np.sqrt([4.001, 9.001]) * [1, 2] + [0, 5]
    np.testing.assert_allclose(norm.forward(x), expected)
    assert norm.running_mean.value.tolist() == [1.0, 2.0]


def test_prediction_of_a_sample_does_not_depend_on_its_batch():
    norm = BatchNorm()
    x = rng.standard_normal((20, 3, 4, 4)).astype(np.float32)
    norm.forward(x, training=True)
    np.testing.assert_array_equal(norm.forward(x)[7:8], norm.forward(x[7:8]))


def test_large_mean_and_constant_features():
    x = (rng.standard_normal((64, 2)) + 1e4).astype(np.float32)
    y = BatchNorm().forward(x, training=True)
    np.testing.assert_allclose(y.std(axis=0), 1, rtol=1e-2)
    norm = BatchNorm()
    assert not norm.forward(np.full((8, 2), 3.0), training=True).any()
    assert np.isfinite(norm.backward(np.ones((8, 2)))).all()


def test_gradient_of_the_input_sums_to_nothing():
    norm = BatchNorm()
    x = rng.standard_normal((6, 3, 4, 4))
    norm.forward(x, training=True)
    dx = norm.backward(rng.standard_normal(x.shape))
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-10)
    np.testing.assert_allclose((dx * x).sum(axis=(0, 2, 3)), 0, atol=1e-3)


def test_what_it_cannot_take():
    with pytest.raises(ShapeError, match=r"got \(N, 3, 4\)"):
        BatchNorm().build((3, 4))
    with pytest.raises(ShapeError, match="empty batch"):
        BatchNorm().forward(np.zeros((0, 3), np.float32), training=True)
    wrong: list[dict[str, Any]] = [{"momentum": 1.5}, {"eps": 0.0}, {"momentum": float("nan")}]
    for arguments in wrong:
        with pytest.raises(ArgumentError):
            BatchNorm(**arguments)
