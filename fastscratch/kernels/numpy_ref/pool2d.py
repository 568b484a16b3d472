"""Maximum and average over the windows of an image, one kernel position at a time."""

import numpy as np

from fastscratch.kernels.geometry import window_positions
from fastscratch.kernels.numpy_ref.im2col import (
    empty_for_windows,
    interior,
    pad_for_windows,
    window_tap,
)
from fastscratch.types import Array, Padding, Pair


def max_pool2d_forward(
    x: Array, y: Array, argmax: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """y = the maximum of each window, argmax = kh*KW + kw of the first element that is it."""
    KH, KW = kernel_size
    outputs = (y.shape[2], y.shape[3])
    padded = pad_for_windows(x, outputs, kernel_size, stride, padding, dilation, -np.inf)
    rows, cols = _inside(x, outputs, kernel_size, stride, padding, dilation)
    y[...] = -np.inf
    empty = np.ones(y.shape, dtype=bool)
    for kh in range(KH):
        for kw in range(KW):
            tap = window_tap(padded, kh, kw, outputs, stride, dilation)
            # The first element inside wins over nothing, a larger one over a smaller one, and
            # the first NaN over everything; padding never wins, not even over minus infinity.
            better = (tap > y) | (np.isnan(tap) & ~np.isnan(y))
            better = (better | empty) & (rows[:, kh, None] & cols[None, :, kw])
            np.copyto(y, tap, where=better)
            argmax[better] = kh * KW + kw
            empty &= ~better


def max_pool2d_backward(
    dout: Array, argmax: Array, dx: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """dx[the element that argmax names] += dout."""
    KH, KW = kernel_size
    outputs = (dout.shape[2], dout.shape[3])
    padded = empty_for_windows(dx, outputs, kernel_size, stride, padding, dilation)
    for kh in range(KH):
        for kw in range(KW):
            tap = window_tap(padded, kh, kw, outputs, stride, dilation)
            tap += np.where(argmax == kh * KW + kw, dout, dout.dtype.type(0))
    dx[...] = interior(padded, dx.shape, padding)


def avg_pool2d_forward(
    x: Array, y: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    count_include_pad: bool, num_threads: int,
) -> None:  # fmt: skip
    """y = the sum of each window over the number of its elements."""
    outputs = (y.shape[2], y.shape[3])
    padded = pad_for_windows(x, outputs, kernel_size, stride, padding, (1, 1))
    y[...] = 0
    for kh in range(kernel_size[0]):
        for kw in range(kernel_size[1]):
            y += window_tap(padded, kh, kw, outputs, stride, (1, 1))
    y /= _divisor(x, outputs, kernel_size, stride, padding, count_include_pad)


def avg_pool2d_backward(
    dout: Array, dx: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    count_include_pad: bool, num_threads: int,
) -> None:  # fmt: skip
    """dx = dout over the number of elements, added to every element of its window."""
    outputs = (dout.shape[2], dout.shape[3])
    padded = empty_for_windows(dx, outputs, kernel_size, stride, padding, (1, 1))
    share = dout / _divisor(dx, outputs, kernel_size, stride, padding, count_include_pad)
    for kh in range(kernel_size[0]):
        for kw in range(kernel_size[1]):
            window_tap(padded, kh, kw, outputs, stride, (1, 1))[...] += share
    dx[...] = interior(padded, dx.shape, padding)


def _inside(
    x: Array, outputs: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[Array, Array]:
    """Whether element kh of window oh lies inside x, and the same along the width."""
    ih = window_positions(outputs[0], kernel_size[0], stride[0], padding[0], dilation[0])
    iw = window_positions(outputs[1], kernel_size[1], stride[1], padding[2], dilation[1])
    return (ih >= 0) & (ih < x.shape[2]), (iw >= 0) & (iw < x.shape[3])


def _divisor(
    x: Array, outputs: Pair, kernel_size: Pair, stride: Pair, padding: Padding,
    count_include_pad: bool,
) -> Array:  # fmt: skip
    """How many elements each window counts: (OH, OW).

    Padding counts if count_include_pad says so; what lies beyond it (the overhang that rounding
    up allows) never does.
    """
    top, bottom, left, right = padding if count_include_pad else (0, 0, 0, 0)
    ih = window_positions(outputs[0], kernel_size[0], stride[0], padding[0])
    iw = window_positions(outputs[1], kernel_size[1], stride[1], padding[2])
    rows = ((ih >= -top) & (ih < x.shape[2] + bottom)).sum(axis=1)
    cols = ((iw >= -left) & (iw < x.shape[3] + right)).sum(axis=1)
    return np.asarray(rows[:, None] * cols[None, :]).astype(x.dtype)
