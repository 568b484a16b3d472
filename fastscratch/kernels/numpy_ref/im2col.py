"""Windows of an image as the rows of a matrix, and their sum back into an image."""

import numpy as np

from fastscratch.types import Array, Padding, Pair


def im2col(
    x: Array, columns: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """columns[(n, oh, ow), (c, kh, kw)] = x[n, c, oh*S - P + kh*D, ow*S - P + kw*D]."""
    N, C, H, W = x.shape
    (KH, KW) = kernel_size
    OH = window_count(H, KH, stride[0], padding[0] + padding[1], dilation[0])
    OW = window_count(W, KW, stride[1], padding[2] + padding[3], dilation[1])
    padded = pad_for_windows(x, (OH, OW), kernel_size, stride, padding, dilation)
    windows = columns.reshape(N, OH, OW, C, KH, KW)
    for kh in range(KH):
        for kw in range(KW):
            tap = window_tap(padded, kh, kw, (OH, OW), stride, dilation)
            windows[:, :, :, :, kh, kw] = tap.transpose(0, 2, 3, 1)


def col2im(
    columns: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """x[n, c, ih, iw] = the sum of all columns that im2col copies from there."""
    N, C, H, W = x.shape
    (KH, KW) = kernel_size
    OH = window_count(H, KH, stride[0], padding[0] + padding[1], dilation[0])
    OW = window_count(W, KW, stride[1], padding[2] + padding[3], dilation[1])
    padded = empty_for_windows(x, (OH, OW), kernel_size, stride, padding, dilation)
    windows = columns.reshape(N, OH, OW, C, KH, KW)
    for kh in range(KH):
        for kw in range(KW):
            tap = window_tap(padded, kh, kw, (OH, OW), stride, dilation)
            tap += windows[:, :, :, :, kh, kw].transpose(0, 3, 1, 2)
    x[...] = interior(padded, x.shape, padding)


def window_count(extent: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """(H + P - D*(K - 1) - 1)//S + 1."""
    return (extent + padding - dilation * (kernel - 1) - 1) // stride + 1


def empty_for_windows(
    x: Array, outputs: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair,
    fill: float = 0.0,
) -> Array:  # fmt: skip
    """An array full of ``fill`` that holds padded ``x``, and every window that overhangs it."""
    N, C, H, W = x.shape
    top, bottom, left, right = padding
    reach_h = (outputs[0] - 1) * stride[0] + (kernel_size[0] - 1) * dilation[0] + 1
    reach_w = (outputs[1] - 1) * stride[1] + (kernel_size[1] - 1) * dilation[1] + 1
    shape = (N, C, max(top + H + bottom, reach_h), max(left + W + right, reach_w))
    return np.full(shape, fill, x.dtype)


def pad_for_windows(
    x: Array, outputs: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair,
    fill: float = 0.0,
) -> Array:  # fmt: skip
    """``x`` with its padding, and beyond it as far as the last window reaches."""
    padded = empty_for_windows(x, outputs, kernel_size, stride, padding, dilation, fill)
    interior(padded, x.shape, padding)[...] = x
    return padded


def interior(padded: Array, shape: tuple[int, ...], padding: Padding) -> Array:
    """The part of ``padded`` that is not padding."""
    return padded[:, :, padding[0] : padding[0] + shape[2], padding[2] : padding[2] + shape[3]]


def window_tap(
    padded: Array, kh: int, kw: int, outputs: Pair, stride: Pair, dilation: Pair
) -> Array:
    """Element ``(kh, kw)`` of every window, as a view of shape (N, C, OH, OW)."""
    ih, iw = kh * dilation[0], kw * dilation[1]
    return padded[
        :, :,
        ih : ih + (outputs[0] - 1) * stride[0] + 1 : stride[0],
        iw : iw + (outputs[1] - 1) * stride[1] + 1 : stride[1],
    ]  # fmt: skip
