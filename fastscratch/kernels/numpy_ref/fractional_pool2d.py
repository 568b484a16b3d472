"""Maximum over windows of any extent: each row and column of windows has its own first and stop."""

import numpy as np

from fastscratch.types import Array


def fractional_max_pool2d_forward(
    x: Array, rows: Array, cols: Array, y: Array, argmax: Array, num_threads: int
) -> None:
    """y = max of x[rows[oh, 0]:rows[oh, 1], cols[ow, 0]:cols[ow, 1]], argmax = ih*W + iw of it.

    The first in row-major order wins among equals, and the first NaN over everything.
    """
    H, W = x.shape[2:]
    KH, KW = np.max(rows[:, 1] - rows[:, 0]), np.max(cols[:, 1] - cols[:, 0])
    y[...] = x[:, :, rows[:, :1], cols[:, 0]]
    argmax[...] = rows[:, :1] * W + cols[:, 0]
    for kh in range(KH):
        for kw in range(KW):
            ih, iw = rows[:, :1] + kh, cols[:, 0] + kw
            inside = (ih < rows[:, 1:]) & (iw < cols[:, 1])
            ih, iw = np.minimum(ih, H - 1), np.minimum(iw, W - 1)
            tap = x[:, :, ih, iw]
            better = inside & ~(tap <= y) & ~np.isnan(y)
            np.copyto(y, tap, where=better)
            np.copyto(argmax, (ih * W + iw).astype(argmax.dtype), where=better)


def fractional_max_pool2d_backward(dout: Array, argmax: Array, dx: Array, num_threads: int) -> None:
    """dx[the element that argmax names] += dout."""
    N, C, H, W = dx.shape
    inside = (argmax >= 0) & (argmax < H * W)
    plane = np.arange(N * C).reshape(N, C, 1, 1)
    places = (plane * (H * W) + argmax)[inside]
    dx[...] = 0
    np.add.at(dx.reshape(-1), places, dout[inside])
