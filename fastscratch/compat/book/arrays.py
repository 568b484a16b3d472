"""Stands in for ``common.util``: curves, shuffled data, windows as a matrix."""

from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.promotion import demote, promote
from fastscratch.errors import ShapeError
from fastscratch.kernels.geometry import output_size
from fastscratch.types import Array

__all__ = ["col2im", "conv_output_size", "im2col", "np", "shuffle_dataset", "smooth_curve"]

_SMOOTHED_OVER = 11
_KAISER_BETA = 2


def smooth_curve(x: Any) -> Array:
    """A curve without its noise: a moving average over 11 points, weighted by a Kaiser window.

    Beyond its ends the curve is taken as mirrored: at its first point, and behind its last.

    Examples
    --------
    >>> smooth_curve(np.ones(30)).round(6).sum()
    np.float64(30.0)
    """
    half = _SMOOTHED_OVER // 2
    weights = np.kaiser(_SMOOTHED_OVER, _KAISER_BETA)
    mirrored = np.pad(np.asarray(x), (half, 0), mode="reflect")
    mirrored = np.pad(mirrored, (0, half), mode="symmetric")
    return np.convolve(weights / weights.sum(), mirrored, mode="valid")


def shuffle_dataset(x: Array, t: Array) -> tuple[Array, Array]:
    """Samples and targets in a new order, the same for both, drawn from ``np.random``.

    Examples
    --------
    >>> x, t = shuffle_dataset(np.arange(6).reshape(3, 2), np.arange(3))
    >>> bool((x[:, 0] == 2 * t).all())
    True
    """
    if len(x) != len(t):
        raise ShapeError(f"shuffle_dataset: x has {len(x)} samples but t has {len(t)}")
    order = np.random.permutation(len(x))
    return x[order], t[order]


def conv_output_size(input_size: int, filter_size: int, stride: int = 1, pad: int = 0) -> int:
    """``(input_size + 2*pad - filter_size)/stride + 1``, which must be whole.

    Raises
    ------
    ShapeError
        If it is not, or the filter does not fit.

    Examples
    --------
    >>> conv_output_size(28, 5), conv_output_size(7, 3, stride=2, pad=1)
    (24, 4)
    """
    return output_size(input_size, filter_size, stride, pad, pad, 1, "exact")


def im2col(input_data: Array, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Each window of each image as a row, in the images' own dtype.

    Examples
    --------
    >>> im2col(np.zeros((10, 3, 7, 7)), 5, 5, stride=1, pad=0).shape
    (90, 75)
    """
    dtype, (x,) = promote(input_data)
    return demote(ops.im2col(x, (filter_h, filter_w), stride=stride, padding=pad), dtype)


def col2im(
    col: Array, input_shape: tuple[int, ...], filter_h: int, filter_w: int, stride: int = 1,
    pad: int = 0,
) -> Array:  # fmt: skip
    """The rows of `im2col` added up where they came from.

    Examples
    --------
    >>> col2im(np.ones((4, 4)), (1, 1, 3, 3), 2, 2)[0, 0, 1]
    array([2., 4., 2.])
    """
    dtype, (columns,) = promote(col)
    x = ops.col2im(columns, input_shape, (filter_h, filter_w), stride=stride, padding=pad)
    return demote(x, dtype)
