"""Window arithmetic: worked sizes, remainders, "same", and offsets in windows."""

import hypothesis.strategies as st
import naive
import numpy as np
import pytest
from hypothesis import given

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.kernels.geometry import (
    argmax_dtype,
    as_padding,
    as_pair,
    flat_index,
    infer_rounding,
    output_extents,
    output_size,
    window_counts,
    window_positions,
)


@pytest.mark.parametrize(
    ("extent", "kernel", "stride", "padding", "expected"),
    [(4, 3, 1, 0, 2), (4, 3, 1, 1, 4), (7, 3, 2, 0, 3), (28, 5, 1, 0, 24), (24, 2, 2, 0, 12),
     (7, 5, 1, 0, 3), (1, 1, 1, 0, 1), (1, 3, 1, 1, 1), (5, 5, 3, 0, 1)],
)  # fmt: skip
def test_worked_sizes(extent, kernel, stride, padding, expected):
    """Saitoh, sections 7.2 to 7.4."""
    assert output_size(extent, kernel, stride, padding, padding) == expected


def test_a_remainder_is_an_error_that_says_how_to_mend_it():
    with pytest.raises(ShapeError) as caught:
        output_size(6, 3, 2, 0, 0, op="conv2d")
    assert str(caught.value) == (
        "conv2d: input height 6 with kernel 3, stride 2, padding 0 leaves a remainder; "
        'pass padding=… or rounding="floor"'
    )
    assert output_size(6, 3, 2, 0, 0, rounding="floor") == 2
    assert output_size(6, 3, 2, 0, 0, rounding="ceil") == 3


def test_a_window_that_does_not_fit_is_an_error():
    with pytest.raises(ShapeError, match="reaches over 5 elements and only 4 are there"):
        output_size(4, 3, 1, 0, 0, 2)
    with pytest.raises(ShapeError, match=r"input width 2 .* smaller kernel"):
        output_extents((9, 2), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1))
    with pytest.raises(ShapeError, match=r"padding \(1, 0\)"):
        output_size(2, 4, 1, 1, 0)
    with pytest.raises(ShapeError):
        output_size(0, 1, 1, 2, 2)


def test_an_unknown_rounding_is_an_error():
    with pytest.raises(ArgumentError, match="got 'up'"):
        output_size(6, 3, 2, 0, 0, rounding="up")


windows = st.tuples(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 4),
    st.integers(0, 4), st.integers(1, 3), st.sampled_from(["exact", "floor", "ceil"]),
)  # fmt: skip


@given(windows)
def test_sizes_are_those_of_counting(window):
    try:
        ref = len(naive.window_starts(*window))
    except ValueError:
        with pytest.raises(ShapeError):
            output_size(*window)
    else:
        assert output_size(*window) == ref


@given(windows)
def test_the_rounding_is_found_again(window):
    extent, kernel, stride, before, after, dilation, rounding = window
    along = ((extent,) * 2, (kernel,) * 2, (stride,) * 2, (before, after) * 2, (dilation,) * 2)
    try:
        outputs = output_extents(*along, rounding)
    except ShapeError:
        return
    found = infer_rounding(along[0], outputs, *along[1:])
    assert found is not None
    assert output_extents(*along, found) == outputs
    assert infer_rounding(along[0], (outputs[0] + 2, outputs[1]), *along[1:]) is None


@given(windows)
def test_positions_and_counts_are_those_of_counting(window):
    extent, kernel, stride, before, _, dilation, _ = window
    try:
        starts = naive.window_starts(*window)
    except ValueError:
        return
    ref = [[start + k * dilation for k in range(kernel)] for start in starts]
    assert window_positions(len(starts), kernel, stride, before, dilation).tolist() == ref
    counts = [sum(0 <= place < extent for place in row) for row in ref]
    assert window_counts(extent, len(starts), kernel, stride, before, dilation).tolist() == counts


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(1, 4))
def test_same_gives_the_extent_over_the_stride_rounded_up(extent, kernel, stride, dilation):
    args = ((extent, extent), (kernel, kernel), (stride, stride))
    padding = as_padding("same", *args, (dilation, dilation), "conv2d")
    top, bottom, left, right = padding
    assert (top, bottom) == (left, right)
    assert bottom - top in (0, 1)
    rounding = "exact" if stride <= dilation * (kernel - 1) + 1 else "floor"
    outputs = output_extents(*args, padding, (dilation, dilation), rounding)
    assert outputs == (-(-extent // stride),) * 2


@pytest.mark.parametrize(
    ("padding", "expected"),
    [(0, (0, 0, 0, 0)), (2, (2, 2, 2, 2)), (np.int64(1), (1, 1, 1, 1)), ((1, 2), (1, 1, 2, 2)),
     ([0, 1, 2, 3], (0, 1, 2, 3)), (np.array([3, 1]), (3, 3, 1, 1)), ("valid", (0, 0, 0, 0)),
     ("same", (0, 1, 1, 1))],
)  # fmt: skip
def test_padding_in_every_form(padding, expected):
    result = as_padding(padding, (6, 5), (2, 3), (1, 1), (1, 1), "conv2d")
    assert result == expected
    assert all(type(value) is int for value in result)


@pytest.mark.parametrize(
    "padding", [-1, (1, -1), (1, 2, 3), 1.0, "full", None, True, (1.5, 1), (1, 2, 3, 4, 5), "12"]
)
def test_no_padding(padding):
    with pytest.raises(ArgumentError, match=r"conv2d: padding must .*got"):
        as_padding(padding, (6, 6), (3, 3), (1, 1), (1, 1), "conv2d")


@pytest.mark.parametrize("value", [2, np.int32(2), (2, 2), [2, 2], np.array([2, 2])])
def test_pairs_in_every_form(value):
    assert as_pair(value, "stride", "conv2d") == (2, 2)


@pytest.mark.parametrize("value", [0, -1, (1, 0), 1.0, (1, 2, 3), None, True, "2", (1, True), ()])
def test_no_pair(value):
    with pytest.raises(ArgumentError, match=r"im2col: stride must be .*got"):
        as_pair(value, "stride", "im2col")


def test_argmax_fits_its_window():
    assert argmax_dtype((16, 16)) == np.uint8
    assert argmax_dtype((257, 1)) == np.int32


def test_flat_index_is_where_the_element_is():
    """Two windows of 2 x 2 over 2 x 5, stride (1, 3), one column of padding ahead."""
    argmax = np.array([[[[1, 2]]]], dtype=np.uint8)
    found = flat_index(argmax, (1, 1, 2, 5), 2, stride=(1, 3), padding=(0, 0, 1, 1))
    assert found.dtype == np.int64
    assert found.tolist() == [[[[0, 7]]]]
