"""Average pooling: windows inside the image by vectors along a row, those at its rim one by one."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import In, Offsets, Out, driver, inner
from fastscratch.kernels.numba_jit.lines import add_line, get, put, sum_line
from fastscratch.kernels.numba_jit.pool_tile import (
    block_side,
    spread_block,
    sum_block,
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
    line: int
    """Elements of a padded row, and of what windows overhang it by."""
    oh_first: int
    oh_stop: int
    ow_first: int
    ow_stop: int
    simple: int
    """As in ``pool2d_max``: windows that lie inside; whether all do and are 2 by 2."""


@lru_cache(maxsize=256)
def extents_of(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Extents:
    """The extents of a problem."""
    line = max((y[3] - 1) * stride[1] + kernel_size[1], padding[2] + x[3])
    inside = windows_inside(x, y, kernel_size, stride, padding, (1, 1))
    simple = kernel_size == stride == (2, 2) and inside == (0, y[2], 0, y[3])
    return Extents._make((
        x[0] * x[1], *x[2:], *y[2:], *kernel_size, *stride, padding[0], padding[2], line,
        *inside, int(simple),
    ))  # fmt: skip


@lru_cache(maxsize=256)
def tap_offsets(e: Extents) -> Array:
    """Where each element of a window lies, from its first."""
    return np.add.outer(np.arange(e.KH) * e.W, np.arange(e.KW)).ravel().astype(np.intp)


@driver
def average(
    worker: int, workers: int, x: In, y: Out, rows: In, cols: In, offsets: Offsets, e: Extents
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
            _average_one(x, plane, oh, ow, y, task * e.OW + ow, rows, cols, e)
        for block in range(first, stop, max(side, 1)):
            ow = min(block, stop - side)
            sum_block(
                side, e.stride_w, x, source + ow * e.stride_w, offsets, e.KH * e.KW,
                get(rows, oh) * get(cols, ow), y, task * e.OW + ow,
            )  # fmt: skip
        for ow in range(stop, e.OW):
            _average_one(x, plane, oh, ow, y, task * e.OW + ow, rows, cols, e)


@inner
def _average_one(
    x: Array, plane: int, oh: int, ow: int, y: Array, target: int, rows: Array, cols: Array,
    e: Extents,
) -> None:  # fmt: skip
    """One window, whose elements may lie outside."""
    top, left = oh * e.stride_h - e.pad_h, ow * e.stride_w - e.pad_w
    first, stop = max(left, 0), min(left + e.KW, e.W)
    total = x.dtype.type(0)
    for ih in range(max(top, 0), min(top + e.KH, e.H)):
        total += sum_line(x, (plane * e.H + ih) * e.W + first, stop - first)
    put(y, target, total / (get(rows, oh) * get(cols, ow)))


@driver
def spread(
    worker: int, workers: int, dout: In, dx: Out, rows: In, cols: In, lines: Out, e: Extents
) -> None:
    """A task is a plane: each row of windows makes a line, which is added to the rows it sees."""
    start = worker * e.line
    side = block_side(dout, e.OW)
    for plane in range(worker, e.planes, workers):
        fill_line(dx, plane * e.H * e.W, e.H * e.W, 0)
        for oh in range(e.OH):
            source = (plane * e.OH + oh) * e.OW
            if e.simple and side > 0:
                for block in range(0, e.OW, side):
                    ow = min(block, e.OW - side)
                    place = (plane * e.H + 2 * oh) * e.W + 2 * ow
                    divisor = get(rows, oh) * get(cols, ow)
                    spread_block(side, dout, source + ow, divisor, dx, place)
                    spread_block(side, dout, source + ow, divisor, dx, place + e.W)
                continue
            fill_line(lines, start, e.line, 0)
            if e.stride_w == 1:
                _spread_line(dout, source, e.OW, rows[oh], cols, lines, start, 1, e.KW)
            elif e.stride_w == 2:
                _spread_line(dout, source, e.OW, rows[oh], cols, lines, start, 2, e.KW)
            else:
                _spread_line(dout, source, e.OW, rows[oh], cols, lines, start, e.stride_w, e.KW)
            top = oh * e.stride_h - e.pad_h
            for ih in range(max(top, 0), min(top + e.KH, e.H)):
                add_line(lines, start + e.pad_w, dx, (plane * e.H + ih) * e.W, e.W)


@inner
def _spread_line(
    dout: Array, source: int, count: int, rows: float, cols: Array, line: Array, start: int,
    step: int, width: int,
) -> None:  # fmt: skip
    """line += the shares of dout, in every element of their windows."""
    for kw in range(width):
        for ow in range(count):
            share = get(dout, source + ow) / (rows * get(cols, ow))
            place = start + ow * step + kw
            put(line, place, get(line, place) + share)
