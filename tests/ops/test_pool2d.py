"""Pooling: ties, padding, NaN, divisors, and the mistakes that other libraries make."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.kernels.geometry import flat_index
from fastscratch.ops import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from fastscratch.types import Rounding


def image(rows):
    return np.array(rows, float)[None, None]


def test_the_book_worked_example(backend):
    """Saitoh, section 7.3: windows of 2 x 2, stride 2."""
    x = image([[1, 2, 1, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 4, 0, 1]])
    y, argmax = max_pool2d_forward(x, 2, backend=backend)
    assert y[0, 0].tolist() == [[2, 3], [4, 2]]
    assert argmax[0, 0].tolist() == [[1, 3], [3, 1]]
    assert avg_pool2d_forward(x, 2, backend=backend)[0, 0].tolist() == [[1, 1.5], [2.25, 1]]


def test_the_stride_is_the_window_by_default():
    x = np.zeros((1, 1, 6, 6))
    assert max_pool2d_forward(x, 3)[0].shape == (1, 1, 2, 2)
    assert avg_pool2d_forward(x, (2, 3)).shape == (1, 1, 3, 2)
    assert max_pool2d_forward(x, 2, stride=1)[0].shape == (1, 1, 5, 5)


def test_padding_is_minus_infinity(backend):
    """Zero padding gives 0 at the border of an image of -1, in the book's code and in DeZero."""
    y, argmax = max_pool2d_forward(np.full((1, 1, 4, 4), -1.0), 2, padding=1, backend=backend)
    assert (y == -1).all()
    assert argmax[0, 0].tolist() == [[3, 2, 2], [1, 0, 0], [1, 0, 0]]


def test_padding_does_not_win_against_minus_infinity(backend):
    x = np.full((1, 1, 4, 4), -np.inf)
    y, argmax = max_pool2d_forward(x, 2, padding=1, backend=backend)
    assert (y == -np.inf).all()
    assert argmax[0, 0].tolist() == [[3, 2, 2], [1, 0, 0], [1, 0, 0]]


def test_a_tie_goes_to_the_first(backend):
    """Elsewhere the gradient goes to every tie: 16 instead of 4 on a constant image."""
    x = np.ones((1, 1, 4, 4))
    y, argmax = max_pool2d_forward(x, 2, backend=backend)
    assert not argmax.any()
    dx = max_pool2d_backward(np.ones_like(y), argmax, x.shape, 2, backend=backend)
    assert dx.sum() == 4
    assert dx[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_minus_zero_ties_with_zero(backend):
    for values in ([-0.0, 0.0], [0.0, -0.0]):
        _, argmax = max_pool2d_forward(image([values]), (1, 2), backend=backend)
        assert argmax.item() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_nan_wins(backend, dtype):
    """As np.argmax over the window does, at every place of the window and in wide rows."""
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (2, 2, 8, 40)).astype(dtype)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.1] = np.inf
    x[rng.random(x.shape) < 0.1] = -np.inf
    for kernel, stride in ((2, 2), (3, 1), ((2, 4), (2, 4))):
        y, argmax = max_pool2d_forward(x, kernel, stride=stride, backend=backend)
        windows = np.lib.stride_tricks.sliding_window_view(
            x, np.broadcast_to(kernel, 2), axis=(2, 3)
        )[:, :, :: np.broadcast_to(stride, 2)[0], :: np.broadcast_to(stride, 2)[1]]
        flat = windows.reshape(*y.shape, -1)
        np.testing.assert_array_equal(argmax, flat.argmax(axis=-1))
        np.testing.assert_array_equal(y, flat.max(axis=-1))


@pytest.mark.parametrize("extent", [4, 5])
def test_padding_on_even_and_odd_images(backend, extent):
    """The book's Pooling(2, 2, stride=2, pad=1) cannot reshape its result."""
    x = np.arange(extent * extent, dtype=float).reshape(1, 1, extent, extent)
    rounding: Rounding = "exact" if extent == 4 else "floor"
    y, argmax = max_pool2d_forward(x, 2, padding=1, rounding=rounding, backend=backend)
    assert y.shape == (1, 1, 3, 3)
    dx = max_pool2d_backward(np.ones_like(y), argmax, x.shape, 2, padding=1, backend=backend)
    assert dx.sum() == 9
    mean = avg_pool2d_forward(x, 2, padding=1, rounding=rounding, backend=backend)
    assert mean.shape == y.shape


def test_a_window_of_padding_alone_is_an_error():
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"the height, window 0 .* lies in the padding alone"):
        max_pool2d_forward(x, 2, padding=2)
    with pytest.raises(ShapeError, match="along the width, window 5"):
        max_pool2d_forward(x, 2, stride=1, padding=(0, 0, 1, 2))
    with pytest.raises(ShapeError, match="lies in the padding alone"):
        max_pool2d_forward(x, 2, stride=2, padding=1, dilation=5)
    with pytest.raises(ShapeError, match="lies in the padding alone"):
        avg_pool2d_forward(x, 2, padding=2, count_include_pad=False)
    with pytest.raises(ShapeError, match="lies in the padding alone"):
        avg_pool2d_backward(np.ones((1, 1, 4, 4)), x.shape, 2, padding=2, count_include_pad=False)
    with pytest.raises(ShapeError, match="lies in the padding alone"):
        max_pool2d_backward(
            np.ones((1, 1, 4, 4)), np.zeros((1, 1, 4, 4), np.uint8), x.shape, 2, padding=2
        )
    assert avg_pool2d_forward(x, 2, padding=2)[0, 0, 0].tolist() == [0, 0, 0, 0]


def test_what_an_average_divides_by(backend):
    x = np.ones((1, 1, 4, 4))
    padded = avg_pool2d_forward(x, 2, padding=1, backend=backend)
    assert padded[0, 0].tolist() == [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]
    real = avg_pool2d_forward(x, 2, padding=1, count_include_pad=False, backend=backend)
    assert (real == 1).all()
    # The overhang beyond the padding counts for nothing, as in PyTorch.
    over = avg_pool2d_forward(x, 3, stride=2, rounding="ceil", backend=backend)
    assert (over == 1).all()


def test_a_remainder_is_an_error_unless_rounding_allows_it():
    x = np.ones((1, 1, 5, 5))
    for pool in (max_pool2d_forward, avg_pool2d_forward):
        with pytest.raises(ShapeError, match=r'height 5 .* leaves a remainder; .*rounding="floor"'):
            pool(x, 2)
    assert max_pool2d_forward(x, 2, rounding="floor")[0].shape == (1, 1, 2, 2)
    assert max_pool2d_forward(x, 2, rounding="ceil")[0].shape == (1, 1, 3, 3)


@pytest.mark.parametrize(("kernel", "dtype"), [(16, np.uint8), ((16, 17), np.int32)])
def test_offsets_are_as_narrow_as_the_window_allows(backend, kernel, dtype):
    x = np.arange(400.0).reshape(1, 1, 20, 20)
    y, argmax = max_pool2d_forward(x, kernel, stride=1, backend=backend)
    assert argmax.dtype == dtype
    assert (argmax == np.prod(np.broadcast_to(kernel, 2)) - 1).all()
    with pytest.raises(DtypeError, match=f"argmax must be {np.dtype(dtype)} for a window of"):
        max_pool2d_backward(np.ones_like(y), argmax.astype(np.int64), x.shape, kernel, stride=1)


def test_a_bad_offset_is_dropped(backend):
    dout = np.array([[[[1.0, 2.0], [4.0, 8.0]]]])
    argmax = np.array([[[[0, 255], [4, 9]]]], dtype=np.uint8)  # 0 lies in the padding
    dx = max_pool2d_backward(
        dout, argmax, (1, 1, 4, 4), 3, stride=2, padding=(1, 0, 1, 0), backend=backend
    )
    assert dx.sum() == 4
    assert dx[0, 0, 2, 0] == 4
    with pytest.raises(ShapeError, match="argmax must have dout's shape"):
        max_pool2d_backward(dout, argmax[:, :, :1], (1, 1, 4, 4), 2)


@st.composite
def poolings(draw):
    """An image of small integers, and options of a pooling that fits it."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    options = {
        "stride": draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        # A window holds an element of the image where its padding is smaller than itself.
        "padding": tuple(draw(st.integers(0, k - 1)) for k in np.repeat(kernel, 2)),
        "rounding": draw(st.sampled_from(["floor", "ceil"])),
    }
    H, W = (draw(st.integers(k, k + 9)) for k in kernel)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(-3, 4, (draw(st.integers(1, 2)), draw(st.integers(1, 3)), H, W))
    return x.astype(draw(st.sampled_from([np.float32, np.float64]))), kernel, options, rng


@given(data=poolings())
def test_a_maximum_is_the_element_that_its_offset_names(backends, data):
    x, kernel, options, rng = data
    for backend in backends:
        y, argmax = max_pool2d_forward(x, kernel, backend=backend, **options)
        window = {key: options[key] for key in ("stride", "padding")}
        flat = flat_index(argmax, x.shape, kernel, **window)
        planes = x.reshape(*x.shape[:2], -1)
        gathered = np.take_along_axis(planes, flat.reshape(*x.shape[:2], -1), axis=2)
        np.testing.assert_array_equal(gathered.reshape(y.shape), y)
        dout = rng.integers(-3, 4, y.shape).astype(x.dtype)
        dx = max_pool2d_backward(dout, argmax, x.shape, kernel, backend=backend, **options)
        assert dx.sum() == dout.sum()
        assert np.vdot(dx, x) == np.vdot(dout, y)


@given(data=poolings())
def test_a_maximum_commutes_with_what_keeps_the_order(backends, data):
    x, kernel, options, _ = data
    for backend in backends:
        y, argmax = max_pool2d_forward(x, kernel, backend=backend, **options)
        for change in (lambda a: a + 7, lambda a: 2 * a, lambda a: a**3):
            changed, where = max_pool2d_forward(change(x), kernel, backend=backend, **options)
            np.testing.assert_array_equal(changed, change(y))
            np.testing.assert_array_equal(where, argmax)


@given(data=poolings(), count_include_pad=st.booleans())
def test_an_average_is_linear_and_its_gradient_adjoint(backends, data, count_include_pad):
    x, kernel, options, rng = data
    options |= {"count_include_pad": count_include_pad}
    x = x.astype(np.float64)
    for backend in backends:
        y = avg_pool2d_forward(x, kernel, backend=backend, **options)
        dout = rng.integers(-3, 4, y.shape).astype(np.float64)
        dx = avg_pool2d_backward(dout, x.shape, kernel, backend=backend, **options)
        np.testing.assert_allclose(np.vdot(dx, x), np.vdot(dout, y), rtol=1e-12, atol=1e-12)
        x2 = rng.integers(-3, 4, x.shape).astype(np.float64)
        y2 = avg_pool2d_forward(x2, kernel, backend=backend, **options)
        both = avg_pool2d_forward(x + x2, kernel, backend=backend, **options)
        np.testing.assert_allclose(both, y + y2, rtol=1e-12, atol=1e-12)
        ones = avg_pool2d_forward(np.ones_like(x), kernel, backend=backend, **options)
        assert (ones <= 1).all()
        if not count_include_pad:
            assert (ones == 1).all()


def test_a_plane_at_a_time_is_the_same(backend):
    """Channels and images do not see each other."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 4, 7, 9)).astype(np.float32)
    y, argmax = max_pool2d_forward(x, 3, stride=2, backend=backend)
    mean = avg_pool2d_forward(x, 3, stride=2, backend=backend)
    for n in range(3):
        for c in range(4):
            plane = x[n : n + 1, c : c + 1]
            one, where = max_pool2d_forward(plane, 3, stride=2, backend=backend)
            np.testing.assert_array_equal(one[0, 0], y[n, c])
            np.testing.assert_array_equal(where[0, 0], argmax[n, c])
            alone = avg_pool2d_forward(plane, 3, stride=2, backend=backend)
            np.testing.assert_array_equal(alone[0, 0], mean[n, c])
