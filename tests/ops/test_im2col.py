"""im2col and col2im: the documents' shapes, the order of rows and columns, adjointness."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fastscratch.errors import ShapeError
from fastscratch.ops import col2im, im2col


def test_shapes_of_the_documents():
    """Saitoh, section 7.4.3; the dtype is kept, which the book's code does not do."""
    assert im2col(np.zeros((1, 3, 7, 7)), 5).shape == (9, 75)
    columns = im2col(np.zeros((10, 3, 7, 7), np.float32), 5, stride=1, padding=0)
    assert columns.shape == (90, 75)
    assert columns.dtype == np.float32


def test_the_order_of_rows_and_columns(backend):
    x = np.arange(2 * 2 * 3 * 3, dtype=float).reshape(2, 2, 3, 3)
    columns = im2col(x, 2, backend=backend)
    rows = [(n, oh, ow) for n in range(2) for oh in range(2) for ow in range(2)]
    for row, (n, oh, ow) in enumerate(rows):
        np.testing.assert_array_equal(columns[row], x[n, :, oh : oh + 2, ow : ow + 2].ravel())


def test_back_and_forth_counts_the_windows(backend):
    x = np.ones((1, 1, 3, 3))
    back = col2im(im2col(x, 2, backend=backend), x.shape, 2, backend=backend)
    assert back[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    apart = np.arange(16.0).reshape(1, 1, 4, 4)
    columns = im2col(apart, 2, stride=2, backend=backend)
    np.testing.assert_array_equal(col2im(columns, apart.shape, 2, stride=2, backend=backend), apart)


def test_extents_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"im2col: input height 5 .* leaves a remainder"):
        im2col(np.ones((1, 1, 5, 5)), 2, stride=2)
    with pytest.raises(ShapeError, match=r"has columns of shape \(4, 4\), got \(4, 5\)"):
        col2im(np.ones((4, 5)), (1, 1, 3, 3), 2)
    with pytest.raises(ShapeError, match="col2im: input_shape must be"):
        col2im(np.ones((4, 4)), (3, 3), 2)


@st.composite
def windows(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    outputs = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    extents = [
        (o - 1) * s + d * (k - 1) + 1 - padding[2 * i] - padding[2 * i + 1]
        for i, (o, s, d, k) in enumerate(zip(outputs, stride, dilation, kernel, strict=True))
    ]
    H, W = (max(extent, 1) for extent in extents)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), H, W)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return rng.integers(-3, 4, shape).astype(np.float32), kernel, options, rng


@given(data=windows())
def test_one_is_the_transpose_of_the_other(backends, data):
    x, kernel, options, rng = data
    for backend in backends:
        try:
            columns = im2col(x, kernel, backend=backend, **options)
        except ShapeError:  # an extent of 1 in place of one that would be less
            return
        other = rng.integers(-3, 4, columns.shape).astype(np.float32)
        image = col2im(other, x.shape, kernel, backend=backend, **options)
        assert np.vdot(other, columns) == np.vdot(image, x)
