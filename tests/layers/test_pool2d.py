import numpy as np
import pytest

from fastscratch.errors import ShapeError
from fastscratch.layers import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Sequential


@pytest.mark.parametrize("size", [4, 5])
def test_padded_pooling_of_even_and_odd_images(size):
    x = np.random.default_rng(0).standard_normal((2, 3, size, size)).astype(np.float32)
    for kind in (MaxPool2d, AvgPool2d):
        layer = kind(2, stride=2, padding=1, rounding="floor")
        y = layer.forward(x, training=True)
        assert y.shape == (2, 3, 3, 3)
        assert layer.backward(np.ones_like(y)).shape == x.shape


def test_maximum_of_negative_values_never_sees_the_padding():
    x = -np.ones((1, 2, 4, 4), np.float32)
    assert (MaxPool2d(3, stride=1, padding=1).forward(x) == -1).all()


def test_a_tie_sends_the_gradient_to_one_element():
    layer = MaxPool2d(2)
    layer.forward(np.ones((1, 1, 4, 4), np.float32), training=True)
    dx = layer.backward(np.ones((1, 1, 2, 2), np.float32))
    assert dx.sum() == 4 and (dx[0, 0, ::2, ::2] == 1).all()


def test_stride_is_the_window_by_default():
    assert MaxPool2d((2, 3)).build((1, 4, 6)) == (1, 2, 2)
    assert AvgPool2d(2).build((1, 4, 6)) == (1, 2, 3)


def test_same_padding_with_an_even_window():
    assert MaxPool2d(2, stride=1, padding="same").build((1, 4, 4)) == (1, 4, 4)


def test_count_include_pad():
    x = np.ones((1, 1, 2, 2))
    assert AvgPool2d(3, stride=1, padding=1).forward(x)[0, 0, 0, 0] == pytest.approx(4 / 9)
    without = AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    assert without.forward(x)[0, 0, 0, 0] == pytest.approx(1.0)


def test_a_remainder_and_a_window_of_padding_name_the_layer():
    with pytest.raises(ShapeError, match=r"layer 'pool' \(MaxPool2d\).*remainder"):
        Sequential(("pool", MaxPool2d(2))).build((1, 5, 4))
    with pytest.raises(ShapeError, match=r"layer 'pool' \(AvgPool2d\).*remainder"):
        Sequential(("pool", AvgPool2d(2))).build((1, 5, 4))
    with pytest.raises(ShapeError, match=r"layer 'pool' \(MaxPool2d\).*padding"):
        Sequential(("pool", MaxPool2d(2, padding=2))).build((1, 4, 4))
    with pytest.raises(ShapeError, match=r"takes images .* got \(N, 9\)"):
        MaxPool2d(2).build((9,))


def test_a_one_pixel_shift_inside_the_window_changes_nothing():
    x = np.zeros((1, 1, 4, 4), np.float32)
    shifted = x.copy()
    x[0, 0, 0, 0] = shifted[0, 0, 0, 1] = 9
    assert np.array_equal(MaxPool2d(2).forward(x), MaxPool2d(2).forward(shifted))


def test_global_average_is_the_mean_of_each_channel():
    x = np.random.default_rng(0).standard_normal((3, 5, 4, 6))
    layer = GlobalAvgPool2d()
    np.testing.assert_allclose(layer.forward(x, training=True), x.mean(axis=(2, 3)), rtol=1e-12)
    dout = np.random.default_rng(1).standard_normal((3, 5))
    np.testing.assert_allclose(
        layer.backward(dout), np.broadcast_to(dout[:, :, None, None] / 24, x.shape), rtol=1e-12
    )
