"""DropConnect: which weights are lost, what the gradient sees, how prediction differs."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.layers import Dense, DropConnect, Sequential

X = np.eye(50, dtype=np.float32)  # the output is the weights


def built(ratio=0.5, seed=0):
    layer = DropConnect(40, ratio)
    layer.build((50,), seed=seed, path="fc")
    return layer


def test_weights_are_lost_and_the_rest_is_scaled():
    layer = built(0.3)
    seen = layer.forward(X, training=True)
    kept = seen != 0
    assert abs(kept.mean() - 0.7) < 0.05
    np.testing.assert_allclose(seen[kept], layer.weight.value[kept] / 0.7, rtol=1e-6)


def test_prediction_uses_all_weights_as_dense_does():
    layer, dense = built(), Dense(40)
    dense.build((50,), seed=0, path="fc")
    np.testing.assert_array_equal(layer.forward(X), dense.forward(X))


def test_lost_weights_have_no_gradient():
    layer = built()
    kept = layer.forward(X, training=True) != 0
    layer.backward(np.ones((50, 40), np.float32))
    np.testing.assert_array_equal(layer.weight.grad, np.where(kept, 2, 0))
    np.testing.assert_array_equal(layer.bias.grad, 50)


def test_masks_differ_by_step_and_go_on_after_loading():
    layer = built()
    first, second = (layer.forward(X, training=True) != 0 for _ in range(2))
    assert 0.3 < (first == second).mean() < 0.7
    other = built()
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other.forward(X, training=True), layer.forward(X, training=True))


@pytest.mark.parametrize("backend_name", ["numba", "cython"])
def test_all_versions_draw_the_same(backend_name, require_backend):
    require_backend(backend_name)
    layers = [DropConnect(40, 0.5, backend=name) for name in ("numpy", backend_name)]
    ref, out = (Sequential(("fc", layer)).forward(X, training=True) for layer in layers)
    np.testing.assert_array_equal(out != 0, ref != 0)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_impossible_ratios(ratio):
    with pytest.raises(ArgumentError, match="DropConnect: ratio"):
        DropConnect(3, ratio)
