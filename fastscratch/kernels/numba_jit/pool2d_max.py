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
from fastscratch.kernels.numba_jit.lines import get, put, rectify
from fastscratch.kernels.numba_jit.pool_collect import Strips, collect_largest
from fastscratch.kernels.numba_jit.pool_forward import max_rows
from fastscratch.kernels.numba_jit.pool_tile import block_side, form_of, windows_inside
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line
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
    form: int
    """What `form_of` says of them."""
    rectified: int
    """Whether negative maxima become zeros."""


@lru_cache(maxsize=256)
def extents_of(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, rectified: bool = False,
) -> Extents:  # fmt: skip
    """The extents of a problem, and which windows lie inside."""
    inside = windows_inside(x, y, kernel_size, stride, padding, dilation)
    form = form_of(kernel_size, stride, dilation)
    return Extents._make((
        x[0] * x[1], *x[2:], *y[2:], *kernel_size, *stride, padding[0], padding[2], *dilation,
        *inside, form, int(rectified),
    ))  # fmt: skip


@lru_cache(maxsize=256)
def tap_offsets(e: Extents) -> Array:
    """Where each tap of a window lies, from its first."""
    rows = np.arange(e.KH) * e.dilation_h * e.W
    return np.add.outer(rows, np.arange(e.KW) * e.dilation_w).ravel().astype(np.intp)


@driver
def find(
    worker: int, workers: int, y: Out, argmax: WindowOut, x: In, offsets: Offsets, e: Extents
) -> None:
    """Rows of windows, each worker its share."""
    total = e.planes * e.OH
    start, end = total * worker // workers, total * (worker + 1) // workers
    side = block_side(x, e.ow_stop - e.ow_first)
    task = start
    while task < end:
        plane, oh = task // e.OH, task % e.OH
        # Rows at the rim see fewer rows of their windows; those inside go together.
        top = oh * e.stride_h - e.pad_h
        first_kh, stop_kh = 0, e.KH
        if e.oh_first <= oh < e.oh_stop:
            rows, form = min(e.oh_stop - oh, end - task), e.form
        else:
            rows, form = 1, 0
            first_kh = min(max((-top + e.dilation_h - 1) // e.dilation_h, 0), e.KH)
            stop_kh = min(max((e.H - top + e.dilation_h - 1) // e.dilation_h, first_kh), e.KH)
        first, stop = e.ow_first, e.ow_stop
        if side == 0 or first_kh == stop_kh:
            stop = first
        else:
            source = (plane * e.H + top) * e.W + first * e.stride_w - e.pad_w
            cut = (
                side, form, e.stride_w, e.stride_h * e.W, rows, stop - first, e.W,
                first_kh * e.KW, stop_kh * e.KW, e.OW,
            )  # fmt: skip
            max_rows(cut, x, source, offsets, y, argmax, task * e.OW + first)
        if stop - first < e.OW:
            for row in range(rows):
                target = (task + row) * e.OW
                for ow in range(first):
                    _find_one(x, plane, oh + row, ow, y, argmax, target + ow, e)
                for ow in range(stop, e.OW):
                    _find_one(x, plane, oh + row, ow, y, argmax, target + ow, e)
        if e.rectified:
            rectify(y, task * e.OW, rows * e.OW)
        task += rows


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
def collect(
    worker: int, workers: int, dout: In, argmax: WindowIn, dx: Out, strips: Out,
    numbers: WindowOut, e: Extents, s: Strips,
) -> None:  # fmt: skip
    """A task is a plane; each worker has a strip of dout and one of argmax."""
    start = worker * s.size
    corner = start + s.before * (s.step + 1)
    for plane in range(e.planes * worker // workers, e.planes * (worker + 1) // workers):
        source, target = plane * e.OH * e.OW, plane * e.H * e.W
        if s.in_place:
            collect_largest(s.shape, dout, argmax, source, e.OW, dx, target, e.H, e.W)
            continue
        for group in range(0, (e.H + s.stride - 1) // s.stride, s.groups):
            for row in range(s.before + s.groups + s.after):
                oh, place = group - s.before + row, start + row * s.step
                if oh < 0 or oh >= e.OH:
                    # Of windows that are not there, argmax is read, but never mind.
                    fill_line(strips, place, s.step, 0)
                    continue
                fill_line(strips, place, s.before, 0)
                copy_line(dout, source + oh * e.OW, strips, place + s.before, e.OW)
                for ow in range(e.OW):
                    number = get(argmax, source + oh * e.OW + ow)
                    put(numbers, place + s.before + ow, number)
                behind = s.before + e.OW
                fill_line(strips, place + behind, s.step - behind, 0)
            first = group * s.stride
            height = min(s.groups * s.stride, e.H - first)
            collect_largest(
                s.shape, strips, numbers, corner, s.step, dx, target + first * e.W, height, e.W
            )


@driver
def scatter(worker: int, workers: int, dout: In, argmax: WindowIn, dx: Out, e: Extents) -> None:
    """A task is a plane. An argmax that names no element of the image is dropped."""
    for plane in range(e.planes * worker // workers, e.planes * (worker + 1) // workers):
        start = plane * e.H * e.W
        fill_line(dx, start, e.H * e.W, 0)
        for oh in range(e.OH):
            source = (plane * e.OH + oh) * e.OW
            for ow in range(e.OW):
                offset = int(get(argmax, source + ow))
                if offset < 0 or offset >= e.KH * e.KW:
                    continue
                ih = oh * e.stride_h - e.pad_h + offset // e.KW * e.dilation_h
                iw = ow * e.stride_w - e.pad_w + offset % e.KW * e.dilation_w
                if 0 <= ih < e.H and 0 <= iw < e.W:
                    place = start + ih * e.W + iw
                    put(dx, place, get(dx, place) + get(dout, source + ow))
