"""Maximum pooling: windows inside the image by vectors along a row, those at its rim one by one."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import (
    In,
    Offsets,
    Out,
    WindowIn,
    WindowOut,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.pool_tile import (
    block_side,
    max_block,
    scatter_block,
    windows_inside,
)
from fastscratch.kernels.numba_jit.vectors import fill_line
from fastscratch.types import Array, Padding, Pair


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    planes: int
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
    oh_first: int
    oh_stop: int
    ow_first: int
    ow_stop: int
    """Windows that lie inside the image whole."""
    simple: int
    """Whether all do, and are 2 by 2, side by side."""


@lru_cache(maxsize=256)
def extents_of(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair,
) -> Extents:  # fmt: skip
    """The extents of a problem, and which windows lie inside."""
    inside = windows_inside(x, y, kernel_size, stride, padding, dilation)
    simple = kernel_size == stride == (2, 2) and dilation == (1, 1)
    simple = simple and inside == (0, y[2], 0, y[3])
    return Extents._make((
        x[0] * x[1], *x[2:], *y[2:], *kernel_size, *stride, padding[0], padding[2], *dilation,
        *inside, int(simple),
    ))  # fmt: skip


@lru_cache(maxsize=256)
def tap_offsets(e: Extents) -> Array:
    """Where each tap of a window lies, from its first."""
    rows = np.arange(e.KH) * e.dilation_h * e.W
    return np.add.outer(rows, np.arange(e.KW) * e.dilation_w).ravel().astype(np.intp)


@driver
def find(
    worker: int, workers: int, x: In, y: Out, argmax: WindowOut, offsets: Offsets, e: Extents
) -> None:
    """Rows of windows, each worker its share."""
    total = e.planes * e.OH
    start, end = total * worker // workers, total * (worker + 1) // workers
    plane, oh = start // e.OH - 1, e.OH - 1
    if start % e.OH:
        plane, oh = start // e.OH, start % e.OH - 1
    side = block_side(x, e.ow_stop - e.ow_first)
    for task in range(start, end):
        oh += 1
        if oh == e.OH:
            plane, oh = plane + 1, 0
        first, stop = e.ow_first, e.ow_stop
        if side == 0 or oh < e.oh_first or oh >= e.oh_stop:
            stop = first
        source = (plane * e.H + oh * e.stride_h - e.pad_h) * e.W - e.pad_w
        for ow in range(first):
            _find_one(x, plane, oh, ow, y, argmax, task * e.OW + ow, e)
        for block in range(first, stop, max(side, 1)):
            ow = min(block, stop - side)
            max_block(
                side, e.stride_w, x, source + ow * e.stride_w, offsets, e.KH * e.KW,
                y, argmax, task * e.OW + ow,
            )  # fmt: skip
        for ow in range(stop, e.OW):
            _find_one(x, plane, oh, ow, y, argmax, task * e.OW + ow, e)


@inner
def _wins(value: float, best: float) -> bool:
    """Larger, or the first NaN."""
    return (value > best) | ((value != value) & (best == best))


@inner
def _find_one(
    x: Array, plane: int, oh: int, ow: int, y: Array, argmax: Array, target: int, e: Extents
) -> None:
    """One window, whose elements may lie outside; padding never wins."""
    nothing = True
    best = x.dtype.type(0)
    offset = 0
    for kh in range(e.KH):
        ih = oh * e.stride_h - e.pad_h + kh * e.dilation_h
        if ih < 0 or ih >= e.H:
            continue
        for kw in range(e.KW):
            iw = ow * e.stride_w - e.pad_w + kw * e.dilation_w
            if iw < 0 or iw >= e.W:
                continue
            value = get(x, (plane * e.H + ih) * e.W + iw)
            if nothing or _wins(value, best):
                nothing = False
                best = value
                offset = kh * e.KW + kw
    put(y, target, best)
    put(argmax, target, offset)


@driver
def scatter(worker: int, workers: int, dout: In, argmax: WindowIn, dx: Out, e: Extents) -> None:
    """A task is a plane. An argmax that names no element of the image is dropped."""
    side = block_side(dout, e.OW)
    for plane in range(worker, e.planes, workers):
        start = plane * e.H * e.W
        fill_line(dx, start, e.H * e.W, 0)
        for oh in range(e.OH):
            source = (plane * e.OH + oh) * e.OW
            if e.simple and side > 0:
                for block in range(0, e.OW, side):
                    ow = min(block, e.OW - side)
                    place = start + 2 * oh * e.W + 2 * ow
                    scatter_block(side, dout, argmax, source + ow, 0, dx, place)
                    scatter_block(side, dout, argmax, source + ow, 2, dx, place + e.W)
                continue
            for ow in range(e.OW):
                offset = int(get(argmax, source + ow))
                if offset < 0 or offset >= e.KH * e.KW:
                    continue
                ih = oh * e.stride_h - e.pad_h + offset // e.KW * e.dilation_h
                iw = ow * e.stride_w - e.pad_w + offset % e.KW * e.dilation_w
                if 0 <= ih < e.H and 0 <= iw < e.W:
                    place = start + ih * e.W + iw
                    put(dx, place, get(dx, place) + get(dout, source + ow))
