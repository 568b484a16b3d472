"""The matrix of all windows, and its adjoint."""

from typing import NamedTuple

from fastscratch.kernels.numba_jit.compile import In, Out, driver, usable_workers
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.phases import TASKS
from fastscratch.kernels.numba_jit.vectors import fill_line
from fastscratch.types import Array, Padding, Pair


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    C: int
    H: int
    W: int
    OH: int
    OW: int
    KH: int
    KW: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    parts: int
    """Ranges of channels that col2im cuts an image into."""


def im2col(
    x: Array, columns: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """columns[(n, oh, ow), (c, kh, kw)] = x[n, c, oh*S - P + kh*D, ow*S - P + kw*D]."""
    extents = _extents(x.shape, kernel_size, stride, padding, dilation)
    copy_windows(usable_workers(num_threads, columns.size), x, columns, extents)


def col2im(
    columns: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """x[n, c, ih, iw] = the sum of all columns that im2col copies from there."""
    extents = _extents(x.shape, kernel_size, stride, padding, dilation)
    add_windows(usable_workers(num_threads, columns.size), columns, x, extents)


def _extents(
    shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Extents:
    N, C, H, W = shape
    KH, KW = kernel_size
    OH = (H + padding[0] + padding[1] - dilation[0] * (KH - 1) - 1) // stride[0] + 1
    OW = (W + padding[2] + padding[3] - dilation[1] * (KW - 1) - 1) // stride[1] + 1
    parts = min(C, -(-TASKS // max(N, 1)))
    return Extents(
        N, C, H, W, OH, OW, KH, KW, stride[0], stride[1], padding[0], padding[2],
        dilation[0], dilation[1], parts,
    )  # fmt: skip


@driver
def copy_windows(worker: int, workers: int, x: In, columns: Out, e: Extents) -> None:
    """A task is a row of windows, whose columns are written one after the other."""
    for task in range(worker, e.N * e.OH, workers):
        n, oh = task // e.OH, task % e.OH
        target = task * e.OW * e.C * e.KH * e.KW
        top = oh * e.stride_h - e.pad_h
        for ow in range(e.OW):
            left = ow * e.stride_w - e.pad_w
            inside = left >= 0 and left + (e.KW - 1) * e.dilation_w < e.W
            for c in range(e.C):
                for kh in range(e.KH):
                    ih = top + kh * e.dilation_h
                    row = ((n * e.C + c) * e.H + ih) * e.W + left
                    if ih < 0 or ih >= e.H:
                        fill_line(columns, target, e.KW, 0)
                    elif inside:
                        for kw in range(e.KW):
                            put(columns, target + kw, get(x, row + kw * e.dilation_w))
                    else:
                        for kw in range(e.KW):
                            if 0 <= left + kw * e.dilation_w < e.W:
                                put(columns, target + kw, get(x, row + kw * e.dilation_w))
                            else:
                                put(columns, target + kw, 0)
                    target += e.KW


@driver
def add_windows(worker: int, workers: int, columns: In, x: Out, e: Extents) -> None:
    """A task is a range of an image's channels."""
    width = e.C * e.KH * e.KW
    for task in range(worker, e.N * e.parts, workers):
        n, part = task // e.parts, task % e.parts
        c_start, c_stop = e.C * part // e.parts, e.C * (part + 1) // e.parts
        fill_line(x, (n * e.C + c_start) * e.H * e.W, (c_stop - c_start) * e.H * e.W, 0)
        for oh in range(e.OH):
            top = oh * e.stride_h - e.pad_h
            for ow in range(e.OW):
                left = ow * e.stride_w - e.pad_w
                inside = left >= 0 and left + (e.KW - 1) * e.dilation_w < e.W
                source = ((n * e.OH + oh) * e.OW + ow) * width + c_start * e.KH * e.KW
                for c in range(c_start, c_stop):
                    for kh in range(e.KH):
                        ih = top + kh * e.dilation_h
                        row = ((n * e.C + c) * e.H + ih) * e.W + left
                        if 0 <= ih < e.H:
                            for kw in range(e.KW):
                                if inside or 0 <= left + kw * e.dilation_w < e.W:
                                    place = row + kw * e.dilation_w
                                    put(x, place, get(x, place) + get(columns, source + kw))
                        source += e.KW
