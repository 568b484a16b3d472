"""Average pooling: windows inside the image by vectors along a row, those at its rim one by one."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import In, Offsets, Out, driver, inner
from fastscratch.kernels.numba_jit.lines import add_line, get, put, sum_line
from fastscratch.kernels.numba_jit.pool_collect import Strips, collect_shares
from fastscratch.kernels.numba_jit.pool_forward import mean_rows
from fastscratch.kernels.numba_jit.pool_tile import block_side, form_of, windows_inside
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
    form: int
    """As in ``pool2d_max``: windows that lie inside; what they are."""


@lru_cache(maxsize=256)
def extents_of(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding
) -> Extents:
    """The extents of a problem."""
    line = max((y[3] - 1) * stride[1] + kernel_size[1], padding[2] + x[3])
    inside = windows_inside(x, y, kernel_size, stride, padding, (1, 1))
    form = form_of(kernel_size, stride, (1, 1))
    return Extents._make((
        x[0] * x[1], *x[2:], *y[2:], *kernel_size, *stride, padding[0], padding[2], line,
        *inside, form,
    ))  # fmt: skip


@lru_cache(maxsize=256)
def tap_offsets(e: Extents) -> Array:
    """Where each element of a window lies, from its first."""
    return np.add.outer(np.arange(e.KH) * e.W, np.arange(e.KW)).ravel().astype(np.intp)


@driver
def average(
    worker: int, workers: int, x: In, y: Out, rows_seen: In, cols_seen: In, offsets: Offsets,
    e: Extents,
) -> None:  # fmt: skip
    """Rows of windows, each worker its share."""
    total = e.planes * e.OH
    start, end = total * worker // workers, total * (worker + 1) // workers
    side = block_side(x, e.ow_stop - e.ow_first)
    task = start
    while task < end:
        plane, oh = task // e.OH, task % e.OH
        # Rows at the rim see fewer rows of their windows; those inside go together.
        top = oh * e.stride_h - e.pad_h
        first_kh, stop_kh = min(max(-top, 0), e.KH), max(min(e.H - top, e.KH), 0)
        rows, form = 1, 0
        if e.oh_first <= oh < e.oh_stop:
            rows, form = min(e.oh_stop - oh, end - task), e.form
        first, stop = e.ow_first, e.ow_stop
        if side == 0 or first_kh >= stop_kh:
            stop = first
        else:
            source = (plane * e.H + top) * e.W + first * e.stride_w - e.pad_w
            divisor = get(rows_seen, oh) * get(cols_seen, first)
            cut = (
                side, form, e.stride_w, e.stride_h * e.W, rows, stop - first, e.W,
                first_kh * e.KW, stop_kh * e.KW, e.OW,
            )  # fmt: skip
            mean_rows(cut, x, source, offsets, divisor, y, task * e.OW + first)
        if stop - first < e.OW:
            for row in range(rows):
                target = (task + row) * e.OW
                for ow in range(first):
                    _average_one(x, plane, oh + row, ow, y, target + ow, rows_seen, cols_seen, e)
                for ow in range(stop, e.OW):
                    _average_one(x, plane, oh + row, ow, y, target + ow, rows_seen, cols_seen, e)
        task += rows


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
def collect(
    worker: int, workers: int, dout: In, dx: Out, rows: In, cols: In, strips: Out, e: Extents,
    s: Strips,
) -> None:  # fmt: skip
    """A task is a plane; each worker has a strip of dout, divided."""
    start = worker * s.size
    corner = start + s.before * (s.step + 1)
    for plane in range(e.planes * worker // workers, e.planes * (worker + 1) // workers):
        source, target = plane * e.OH * e.OW, plane * e.H * e.W
        if s.in_place:
            divisor = get(rows, 0) * get(cols, 0)
            collect_shares(s.shape, dout, source, e.OW, divisor, dx, target, e.H, e.W)
            continue
        for group in range(0, (e.H + s.stride - 1) // s.stride, s.groups):
            for row in range(s.before + s.groups + s.after):
                oh, place = group - s.before + row, start + row * s.step
                if oh < 0 or oh >= e.OH:
                    fill_line(strips, place, s.step, 0)
                    continue
                fill_line(strips, place, s.before, 0)
                place += s.before
                for ow in range(e.OW):
                    share = get(dout, source + oh * e.OW + ow) / (get(rows, oh) * get(cols, ow))
                    put(strips, place + ow, share)
                fill_line(strips, place + e.OW, s.step - s.before - e.OW, 0)
            first = group * s.stride
            height = min(s.groups * s.stride, e.H - first)
            one = dx.dtype.type(1)
            collect_shares(
                s.shape, strips, corner, s.step, one, dx, target + first * e.W, height, e.W
            )


@driver
def spread(
    worker: int, workers: int, dout: In, dx: Out, rows: In, cols: In, lines: Out, e: Extents
) -> None:
    """A task is a plane: each row of windows makes a line, which is added to the rows it sees."""
    start = worker * e.line
    for plane in range(e.planes * worker // workers, e.planes * (worker + 1) // workers):
        fill_line(dx, plane * e.H * e.W, e.H * e.W, 0)
        for oh in range(e.OH):
            source = (plane * e.OH + oh) * e.OW
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
