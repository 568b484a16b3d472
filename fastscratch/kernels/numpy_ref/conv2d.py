"""Convolution (cross-correlation) as one matrix product per group over the columns of im2col.

With ``columns[(n, oh, ow), (c, kh, kw)]`` the windows of x and weight as ``(OC, C*KH*KW)``::

    y       = columns @ weight.T + bias
    dw      = dout.T @ columns          db = sum of dout
    columns = dout @ weight             dx = col2im(columns)
"""

import numpy as np

from fastscratch.kernels.numpy_ref.im2col import (
    empty_for_windows,
    interior,
    pad_for_windows,
    window_tap,
)
from fastscratch.types import Array, Padding, Pair


def conv2d_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of x[n, c, ih, iw]*weight[oc, c, kh, kw]."""
    N, OC, OH, OW = y.shape
    _, C, KH, KW = weight.shape
    padded = pad_for_windows(x, (OH, OW), (KH, KW), stride, padding, dilation)
    for group in range(groups):
        channels = slice(group * C, (group + 1) * C)
        filters = slice(group * OC // groups, (group + 1) * OC // groups)
        columns = _columns(padded[:, channels], (OH, OW), (KH, KW), stride, dilation)
        kernel = weight[filters].reshape(OC // groups, C * KH * KW)
        product = columns @ kernel.T + bias[filters]
        y[:, filters] = product.reshape(N, OH, OW, OC // groups).transpose(0, 3, 1, 2)


def conv2d_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair,
    groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dx[n, c, ih, iw] = sum of dout[n, oc, oh, ow]*weight[oc, c, kh, kw] over its windows."""
    N, OC, OH, OW = dout.shape
    _, C, KH, KW = weight.shape
    padded = empty_for_windows(dx, (OH, OW), (KH, KW), stride, padding, dilation)
    for group in range(groups):
        channels = slice(group * C, (group + 1) * C)
        filters = slice(group * OC // groups, (group + 1) * OC // groups)
        rows = dout[:, filters].transpose(0, 2, 3, 1).reshape(N * OH * OW, OC // groups)
        columns = rows @ weight[filters].reshape(OC // groups, C * KH * KW)
        windows = columns.reshape(N, OH, OW, C, KH, KW)
        for kh in range(KH):
            for kw in range(KW):
                tap = window_tap(padded[:, channels], kh, kw, (OH, OW), stride, dilation)
                tap += windows[:, :, :, :, kh, kw].transpose(0, 3, 1, 2)
    dx[...] = interior(padded, dx.shape, padding)


def conv2d_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dw[oc, c, kh, kw] = sum over n, oh, ow of dout[n, oc, oh, ow]*x[n, c, ih, iw]; db alike."""
    N, OC, OH, OW = dout.shape
    _, C, KH, KW = dw.shape
    padded = pad_for_windows(x, (OH, OW), (KH, KW), stride, padding, dilation)
    for group in range(groups):
        channels = slice(group * C, (group + 1) * C)
        filters = slice(group * OC // groups, (group + 1) * OC // groups)
        rows = dout[:, filters].transpose(0, 2, 3, 1).reshape(N * OH * OW, OC // groups)
        columns = _columns(padded[:, channels], (OH, OW), (KH, KW), stride, dilation)
        dw[filters] = (rows.T @ columns).reshape(OC // groups, C, KH, KW)
    np.sum(dout, axis=(0, 2, 3), out=db)


def _columns(
    padded: Array, outputs: Pair, kernel_size: Pair, stride: Pair, dilation: Pair
) -> Array:
    """The windows of an image that is padded already, one in each row: (N*OH*OW, C*KH*KW)."""
    N, C = padded.shape[:2]
    windows = np.empty((N, *outputs, C, *kernel_size), padded.dtype)
    for kh in range(kernel_size[0]):
        for kw in range(kernel_size[1]):
            tap = window_tap(padded, kh, kw, outputs, stride, dilation)
            windows[:, :, :, :, kh, kw] = tap.transpose(0, 2, 3, 1)
    return windows.reshape(-1, C * kernel_size[0] * kernel_size[1])
