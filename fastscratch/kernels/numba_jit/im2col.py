"""The matrix of all windows, and its adjoint."""

from typing import Any, NamedTuple

from fastscratch.kernels.numba_jit.compile import In, Out, driver, inner, usable_workers
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.vectors import copy_16_bytes, copy_32_bytes, fill_line
from fastscratch.types import Array, Padding, Pair

TOGETHER = 8
"""Windows that are copied side by side: as many cache lines are written by turns."""


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
    return Extents(
        N, C, H, W, OH, OW, KH, KW, stride[0], stride[1], padding[0], padding[2],
        dilation[0], dilation[1],
    )  # fmt: skip


@driver
def copy_windows(worker: int, workers: int, x: In, columns: Out, e: Extents) -> None:
    """A task is a row of windows, whose columns are written one after the other."""
    width = e.C * e.KH * e.KW
    size = e.KW * x.itemsize
    jobs = e.N * e.OH
    for task in range(jobs * worker // workers, jobs * (worker + 1) // workers):
        n, oh = task // e.OH, task % e.OH
        top = oh * e.stride_h - e.pad_h
        first = min((max(-top, 0) + e.dilation_h - 1) // e.dilation_h, e.KH)
        stop = min((max(e.H - top, 0) + e.dilation_h - 1) // e.dilation_h, e.KH)
        stop = max(first, stop)
        # Windows between these may be copied in chunks: they lie within the width, and what is
        # read too much is within x.
        source = (n * e.C * e.H + top) * e.W - e.pad_w
        room = x.size - source - ((e.C - 1) * e.H + (stop - 1) * e.dilation_h) * e.W
        begin = (e.pad_w + e.stride_w - 1) // e.stride_w
        end = min((e.W + e.pad_w - e.KW) // e.stride_w + 1, e.OW)
        end = min(end, (room - 32 // x.itemsize) // e.stride_w + 1)
        if e.dilation_w > 1 or size > 32:
            end = begin
        ow = 0
        while ow < e.OW:
            place, target = source + ow * e.stride_w, (task * e.OW + ow) * width
            count = 1
            if ow < begin or ow >= end:
                left = ow * e.stride_w - e.pad_w
                _copy_elements(x, place, left, first, stop, columns, target, e)
            else:
                count = min(TOGETHER, end - ow)
                if size <= 16:
                    _copy_rows(x, place, first, stop, count, columns, target, copy_16_bytes, e)
                else:
                    _copy_rows(x, place, first, stop, count, columns, target, copy_32_bytes, e)
            ow += count


@inner
def _copy_rows(
    x: Array, source: int, first: int, stop: int, count: int, columns: Array, target: int,
    copy: Any, e: Extents,
) -> None:  # fmt: skip
    """Some windows, row by row: what a copy writes too much, the next one overwrites.

    Element by element took 4 times as long at 3 x 3.
    """
    width = e.C * e.KH * e.KW
    chunk = (16 if e.KW * x.itemsize <= 16 else 32) // x.itemsize
    at = 0
    for c in range(e.C):
        for kh in range(e.KH):
            row = source + (c * e.H + kh * e.dilation_h) * e.W
            if at + chunk > width:
                # It would write to the next window.
                for i in range(count):
                    for kw in range(e.KW):
                        inside = first <= kh < stop
                        value = get(x, row + i * e.stride_w + kw) if inside else x.dtype.type(0)
                        put(columns, target + i * width + at + kw, value)
            elif first <= kh < stop:
                for i in range(count):
                    copy(x, row + i * e.stride_w, columns, target + i * width + at)
            else:
                for i in range(count):
                    fill_line(columns, target + i * width + at, e.KW, 0)
            at += e.KW


@inner
def _copy_elements(
    x: Array, source: int, left: int, first: int, stop: int, columns: Array, target: int,
    e: Extents,
) -> None:  # fmt: skip
    """One window, wherever it lies."""
    for c in range(e.C):
        for kh in range(e.KH):
            row = source + (c * e.H + kh * e.dilation_h) * e.W
            for kw in range(e.KW):
                at = kw * e.dilation_w
                if first <= kh < stop and 0 <= left + at < e.W:
                    put(columns, target + kw, get(x, row + at))
                else:
                    put(columns, target + kw, 0)
            target += e.KW


@driver
def add_windows(worker: int, workers: int, columns: In, x: Out, e: Extents) -> None:
    """A task is a plane: zero, then every column's share."""
    width = e.C * e.KH * e.KW
    planes = e.N * e.C
    for plane in range(planes * worker // workers, planes * (worker + 1) // workers):
        n, c = plane // e.C, plane % e.C
        fill_line(x, plane * e.H * e.W, e.H * e.W, 0)
        for oh in range(e.OH):
            for kh in range(e.KH):
                ih = oh * e.stride_h - e.pad_h + kh * e.dilation_h
                if ih < 0 or ih >= e.H:
                    continue
                for kw in range(e.KW):
                    source = (n * e.OH + oh) * e.OW * width + (c * e.KH + kh) * e.KW + kw
                    left = kw * e.dilation_w - e.pad_w
                    place = (plane * e.H + ih) * e.W + left
                    if e.stride_w == 1:
                        first, stop = max(-left, 0), min(e.W - left, e.OW)
                        for ow in range(first, stop):
                            share = get(columns, source + ow * width)
                            put(x, place + ow, get(x, place + ow) + share)
                        continue
                    for ow in range(e.OW):
                        if 0 <= left + ow * e.stride_w < e.W:
                            at = place + ow * e.stride_w
                            put(x, at, get(x, at) + get(columns, source + ow * width))
