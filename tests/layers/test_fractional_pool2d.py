"""Fractional max pooling: the windows that are drawn, and when they are drawn anew."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers import FractionalMaxPool2d, MaxPool2d
from fastscratch.layers.fractional_pool2d import pooling_windows

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 25, 24)).astype(np.float32)


@pytest.mark.parametrize("method", ["pseudo", "random"])
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize(("extent", "count"), [(25, 17), (7, 4), (30, 11), (5, 4), (9, 1)])
def test_windows_cover_the_axis_in_steps_next_to_the_ratio(method, overlapping, extent, count):
    rng = np.random.default_rng(1)
    step = (extent - overlapping) / count
    for _ in range(20):
        windows = pooling_windows(extent, count, rng, method, overlapping)
        first, stop = windows.T
        assert windows.dtype == np.int64 and len(windows) == count
        assert first[0] == 0 and stop[-1] == extent
        np.testing.assert_array_equal(first[1:] + overlapping, stop[:-1])
        steps = stop - first - overlapping
        assert steps.min() >= np.floor(step) and steps.max() <= np.ceil(step)


def test_pseudo_random_steps_alternate_evenly_where_random_ones_run():
    rng = np.random.default_rng(0)
    pseudo, drawn = (
        np.diff([pooling_windows(46, 30, rng, m)[:, 0] for _ in range(50)])
        for m in ("pseudo", "random")
    )
    # A step of 1.5: 1 and 2 in turns, or in any order.
    assert (pseudo[:, 1:] != pseudo[:, :-1]).all()
    assert 0.2 < (drawn[:, 1:] != drawn[:, :-1]).mean() < 0.8


@pytest.mark.parametrize("method", ["pseudo", "random"])
def test_training_draws_at_each_step_and_prediction_never(method):
    def steps(layer, count):
        return [layer.forward(IMAGES, training=True) for _ in range(count)]

    layer = FractionalMaxPool2d(method=method)
    layer.build(IMAGES.shape[1:], seed=1)
    assert layer.output_shape == (3, 17, 16)
    drawn = steps(layer, 4)
    assert any((one != drawn[0]).any() for one in drawn[1:])
    np.testing.assert_array_equal(layer.forward(IMAGES), layer.forward(IMAGES))
    again = FractionalMaxPool2d(method=method)
    again.build(IMAGES.shape[1:], seed=1)
    for ref, out in zip(drawn, steps(again, 4), strict=True):
        np.testing.assert_array_equal(out, ref)
    np.testing.assert_array_equal(steps(layer, 1)[0], steps(again, 1)[0])


def test_disjoint_windows_of_ratio_two_are_max_pooling():
    out = FractionalMaxPool2d(2, overlapping=False).forward(IMAGES[:, :, :24], training=True)
    np.testing.assert_array_equal(out, MaxPool2d(2).forward(IMAGES[:, :, :24]))


def test_uneven_ratios():
    layer = FractionalMaxPool2d((1.25, 3))
    assert layer.build((3, 25, 24)) == (3, 20, 8)


def test_impossible_settings():
    for ratio in (1, 0.5, (2, 1), (2, 2, 2), float("nan")):
        with pytest.raises(ArgumentError, match="ratio"):
            FractionalMaxPool2d(ratio)
    with pytest.raises(ArgumentError, match="method"):
        FractionalMaxPool2d(method="other")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="0 windows of 1 rows"):
        FractionalMaxPool2d(1.5).build((1, 1, 9))
