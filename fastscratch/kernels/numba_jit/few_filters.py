"""Convolution backward weight with few filters to a group.

::

    dw[oc, kh, (kw, c)] = sum over n, oh, ow of dout[n, oc, oh, ow]
                          * x[n, oh*step_h + kh*dilation_h, (ow*step_w + kw, c)]

With fewer output channels than a vector has lanes, vectors of them are part empty. Here x is turned
to [row][pixel][channel]: what a row of a window sees is then one stretch, all taps and channels of
it, and the vectors run along that. The tile's rows are the filters, its k is the pixels of a row. A
task sums over a *slot* of blocks of rows, for a range of the channels of a group.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import Constants, In, Offsets, Out, Tasks, driver, inner
from fastscratch.kernels.numba_jit.lines import add_line, put, sum_line
from fastscratch.kernels.numba_jit.machine import ADDRESSED_ROWS
from fastscratch.kernels.numba_jit.phases import wanted_tasks
from fastscratch.kernels.numba_jit.tile import tile_rows
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.types import Array, Padding, Pair

LOCAL_BYTES, MOST_LOCAL = 128 * 1024, 4 * 1024 * 1024
"""Of the rows that a block of rows sees, about, and at most."""

MOST_CHANNELS = 64
"""Of a range."""

PARTIAL_BYTES = 4 * 1024 * 1024
"""What all slots' sums may take together, if there is more than one."""

PAGE = 4096

LEAST_COLUMNS = 8
"""Pixels of a row, the depth of a tile."""


LEAST_SUMS = 4
"""Of a tile, in vectors."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    groups: int
    C: int
    OC: int
    """Channels of a group."""
    H: int
    W: int
    OH: int
    OW: int
    KH: int
    KW: int
    step_h: int
    step_w: int
    dilation_h: int
    top: int
    left: int
    """Zeros around the image."""
    block_h: int
    blocks_h: int
    """Rows of a block, at most, and blocks of an image."""
    local_w: int
    """Pixels of a row of the local image."""
    ranges: int
    slots: int
    span: int
    """Elements of a filter's sums for a row of taps: whole vectors."""
    line: int
    sums: int
    """Elements of a filter's sums, a vector for db behind the others, and of a task's."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    adding: Constants
    gathering: Constants
    """Tables and extents for the two drivers."""
    work: int
    """Multiply-adds."""
    partial_size: int
    local_size: int
    """Elements of scratch: shared for the sums, for each worker the local image."""


def plan(
    dout: tuple[int, ...], x: tuple[int, ...], dw: tuple[int, ...], stride: Pair, padding: Padding,
    dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> Plan | None:  # fmt: skip
    """Blocks that fit the cache and slots for enough tasks; None where other tiles are fuller."""
    N, _, OH, OW = dout
    OC, C, KH, KW = dw
    OC //= groups
    side = lanes_of(dtype)
    if side <= OC or OW < LEAST_COLUMNS or (dilation[1] > 1 and KW > 1):
        return None
    ranges = -(-C // MOST_CHANNELS)
    channels = -(-C // ranges)
    vectors = -(-KW * channels // side)
    local_w = (OW - 1) * stride[1] + KW
    row, reach = local_w * channels, (KH - 1) * dilation[0] + 1
    block_h = (LOCAL_BYTES // (row * dtype.itemsize) - reach) // stride[0] + 1
    block_h = max(min(OH, block_h), 1)
    seen = (block_h - 1) * stride[0] + reach
    # Multiply-adds of vectors for a pixel: here, where few sums do not hide their latency, x is
    # turned and each row's sums are fetched; and with vectors of filters.
    here = ranges * KH * vectors * OC * max(1, LEAST_SUMS / (OC * min(2, vectors)))
    moved = C * stride[1] * seen / (4 * block_h)
    # Planes that are pages apart fall into one set of the cache.
    here += moved if x[2] * x[3] * dtype.itemsize % PAGE else 4 * moved
    if here * (1 + 4 / OW) > 0.9 * C * KH * KW or seen * row * dtype.itemsize > MOST_LOCAL:
        return None
    blocks_h = -(-OH // block_h)
    work = N * groups * OC * C * KH * KW * OH * OW
    line = KH * vectors * side + side
    sums = OC * line
    slots = -(-wanted_tasks(work) // (groups * ranges))
    slots = min(slots, N * blocks_h, PARTIAL_BYTES // (groups * ranges * sums * dtype.itemsize))
    slots = max(slots, 1)
    extents = Extents._make((
        N, groups, C, OC, *x[2:], OH, OW, KH, KW, *stride, dilation[0], padding[0], padding[2],
        block_h, blocks_h, local_w, ranges, slots, vectors * side, line, sums,
    ))  # fmt: skip
    offsets = np.concatenate([np.arange(OC) * OH * OW, np.arange(OW)]).astype(np.intp)
    return Plan(
        Constants(offsets, extents), Constants(extents), work, slots * groups * ranges * sums,
        seen * row + vectors * side,
    )  # fmt: skip


@inner
def _turn(
    x: Array, start: int, first: int, rows: int, channels: int, local: Array, local_start: int,
    e: Extents,
) -> None:  # fmt: skip
    """local[row, pixel, channel] of the rows that a block sees; beside the image it stays zero."""
    line, count = e.local_w * channels, min(e.W, e.local_w - e.left)
    for r in range((rows - 1) * e.step_h + (e.KH - 1) * e.dilation_h + 1):
        target = local_start + r * line
        if first + r < 0 or first + r >= e.H:
            fill_line(local, target, line, 0)
        elif count > 0:
            transpose(
                x, start + (first + r) * e.W, e.H * e.W, channels, count,
                local, target + e.left * channels, channels,
            )  # fmt: skip


@inner
def _add(
    dout: Array, start: int, local: Array, local_start: int, rows: int, channels: int,
    partial: Array, out: int, offsets: Array, e: Extents,
) -> None:  # fmt: skip
    """partial[oc, kh, :] += sum over some rows of dout[oc, row, :]*local[row, :, taps]"""
    line, side = e.local_w * channels, lanes(dout)
    for t in range(rows):
        for kh in range(e.KH):
            for column in range(0, e.KW * channels, 2 * side):
                source = local_start + (t * e.step_h + kh * e.dilation_h) * line + column
                vectors = 2 if column + side < e.KW * channels else 1
                _add_row(
                    vectors, dout, start + t * e.OW, local, source, e.step_w * channels,
                    partial, out + kh * e.span + column, offsets, e,
                )  # fmt: skip


@inner
def _add_row(
    vectors: int, dout: Array, start: int, source: Array, source_start: int, step: int,
    partial: Array, out: int, offsets: Array, e: Extents,
) -> None:  # fmt: skip
    """partial[oc, :] += sum over a row of dout[oc, pixel]*source[pixel, :]"""
    for oc in range(0, e.OC, ADDRESSED_ROWS):
        tile_rows(
            min(ADDRESSED_ROWS, e.OC - oc), vectors, dout, start, offsets, oc,
            offsets, e.OC, e.OC + e.OW, source, source_start - e.OC * step, step,
            partial, out + oc * e.line, e.line,
        )  # fmt: skip


@inner
def _add_pixels(dout: Array, start: int, count: int, partial: Array, total: int) -> None:
    """partial[i] += the sum of every lanes-th pixel, from the i-th on."""
    side = lanes(dout)
    for k in range(0, count, side):
        add_line(dout, start + k, partial, total, min(side, count - k))


@driver
def correlate_weight(
    worker: int, workers: int, queue: Tasks, dout: In, x: In, partial: Out, local: Out,
    offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """The sums of each slot of blocks, for each group and range of channels."""
    local_start = worker * (local.size // workers)
    task = take(queue)
    while task < e.slots * e.groups * e.ranges:
        part, rest = task % e.ranges, task // e.ranges
        group, slot = rest % e.groups, rest // e.groups
        c = e.C * part // e.ranges
        channels = e.C * (part + 1) // e.ranges - c
        out = task * e.sums
        fill_line(partial, out, e.sums, 0)
        fill_line(local, local_start, local.size // workers, 0)
        units = e.N * e.blocks_h
        for unit in range(units * slot // e.slots, units * (slot + 1) // e.slots):
            n, block = unit // e.blocks_h, unit % e.blocks_h
            top = e.OH * block // e.blocks_h
            rows = e.OH * (block + 1) // e.blocks_h - top
            image = n * e.groups + group
            _turn(
                x, (image * e.C + c) * e.H * e.W, top * e.step_h - e.top, rows, channels,
                local, local_start, e,
            )  # fmt: skip
            start = image * e.OC * e.OH * e.OW + top * e.OW
            _add(dout, start, local, local_start, rows, channels, partial, out, offsets, e)
            if part == 0:
                for oc in range(e.OC):
                    total = out + oc * e.line + e.KH * e.span
                    _add_pixels(dout, start + oc * e.OH * e.OW, rows * e.OW, partial, total)
        task = take(queue)


@driver
def gather(worker: int, workers: int, dw: Out, db: Out, partial: Out, e: Extents) -> None:
    """Add up the slots, in order, and put the sums where they belong."""
    for index in range(worker, e.groups * e.ranges, workers):
        group, part = index // e.ranges, index % e.ranges
        sums = index * e.sums
        for slot in range(1, e.slots):
            place = (slot * e.groups * e.ranges + index) * e.sums
            add_line(partial, place, partial, sums, e.sums)
        c = e.C * part // e.ranges
        channels = e.C * (part + 1) // e.ranges - c
        for oc in range(e.OC):
            out = ((group * e.OC + oc) * e.C + c) * e.KH * e.KW
            for kh in range(e.KH):
                transpose(
                    partial, sums + oc * e.line + kh * e.span, channels, e.KW, channels,
                    dw, out + kh * e.KW, e.KH * e.KW,
                )  # fmt: skip
            if part == 0:
                total = sums + oc * e.line + e.KH * e.span
                put(db, group * e.OC + oc, sum_line(partial, total, lanes(dw)))
