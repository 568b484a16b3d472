"""Batch normalisation and ReLU as one step: what the two layers give, nothing else to notice."""

import copy

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ShapeError, TrainingError
from fastscratch.layers import BatchNorm, Conv2d, ReLU, Sequential
from fastscratch.layers.rectified_norm import RectifiedNorm

RNG = np.random.default_rng(0)


def make_pair(shape, backend=None):
    norm, relu = BatchNorm(backend=backend), ReLU(backend=backend)
    norm.build(shape, np.float64, path="norm")
    relu.build(shape, np.float64, path="relu")
    for parameter in norm.parameters():
        parameter.value[...] = RNG.standard_normal(parameter.value.shape)
    return norm, relu


@pytest.mark.parametrize("shape", [(5,), (3, 7, 6)])
def test_the_results_of_the_two_layers(shape, backend):
    norm, relu = make_pair(shape, backend)
    step = RectifiedNorm(*copy.deepcopy((norm, relu)))
    x, dout = RNG.standard_normal((2, 9, *shape))
    with fs.record_choices() as choices:
        out = step.forward(x, True)
        dx = step.backward(dout)
    assert set(choices) == {"batch_norm_relu_forward", "batch_norm_relu_backward"}
    np.testing.assert_allclose(out, relu.forward(norm.forward(x, True), True), rtol=1e-12)
    ref = norm.backward(relu.backward(dout))
    np.testing.assert_allclose(dx, ref, rtol=1e-9, atol=1e-12)
    for found, expected in zip(step.parameters(), norm.parameters(), strict=True):
        np.testing.assert_allclose(found.grad, expected.grad, rtol=1e-9, atol=1e-12)
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(
            getattr(step.norm, name).value, getattr(norm, name).value, rtol=1e-12
        )


def test_a_prediction_uses_the_running_statistics_and_stores_nothing():
    norm, relu = make_pair((3, 4, 4))
    norm.running_mean.value = np.array([1.0, 2.0, 3.0])
    step = RectifiedNorm(norm, relu)
    x = RNG.standard_normal((2, 3, 4, 4))
    np.testing.assert_array_equal(step.forward(x, False), relu.forward(norm.forward(x)))
    assert norm._saved is None and relu._saved is None


def test_where_a_part_is_named_the_parts_run():
    step = RectifiedNorm(*make_pair((4,)))
    x = RNG.standard_normal((6, 4))
    with fs.use_backend(relu_forward="numpy"), fs.record_choices() as choices:
        step.backward(np.ones_like(step.forward(x, True)))
    assert choices["relu_forward"] == {"numpy": 1}
    assert "batch_norm_backward" in choices and "batch_norm_relu_forward" not in choices


def test_a_network_merges_a_pair_of_one_backend():
    def steps(*layers):
        net = Sequential(*layers)
        net.build((3, 8, 8))
        return [type(step).__name__ for step in net.steps]

    assert steps(Conv2d(4, 3), BatchNorm(), ReLU()) == ["Conv2d", "RectifiedNorm"]
    assert steps(BatchNorm(backend="numpy"), ReLU()) == ["BatchNorm", "ReLU"]
    assert steps(BatchNorm(), BatchNorm(), ReLU(), ReLU()) == ["BatchNorm", "RectifiedNorm", "ReLU"]


def test_errors_name_the_layer():
    step = RectifiedNorm(*make_pair((3,)))
    with pytest.raises(ShapeError, match=r"layer 'norm' .*takes input of shape \(N, 3\)"):
        step.forward(np.ones((2, 4)), True)
    with pytest.raises(ShapeError, match="an empty batch has no mean"):
        step.forward(np.ones((0, 3)), True)
    with pytest.raises(TrainingError, match="backward needs a forward pass"):
        step.backward(np.ones((2, 3)))
