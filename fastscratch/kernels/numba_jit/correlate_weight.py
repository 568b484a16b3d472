"""Convolution backward weight: tiles of (channel, tap) times output channels, summed over pixels.

::

    dw[oc, c, tap] = sum over n, q of dout[n, oc, q]*x[n, c, q*step + offset[tap]]

The pixels of a few rows of an image are a *unit*: x is copied into a local, padded image and dout
is transposed, pixels first. A task sums over a *slot* of units for a range of channels; the slots
are added up at the end. How many slots and ranges there are depends on the shape alone.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    OffsetsOut,
    Out,
    Tasks,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.lines import add_line, put
from fastscratch.kernels.numba_jit.machine import ADDRESSED_ROWS
from fastscratch.kernels.numba_jit.phases import CHUNK, LOCAL_BYTES, odd_lines, wanted_tasks
from fastscratch.kernels.numba_jit.tile import tile_rows
from fastscratch.kernels.numba_jit.vectors import add_rows, copy_line, fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window, transpose
from fastscratch.types import Array, Padding, Pair

PARTIAL_BYTES = 4 * 1024 * 1024
"""What all slots' sums may take together, if there is more than one."""

RANGE_ROWS = 32
"""Rows (channels times taps) of a range at least: each range transposes dout anew."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    groups: int
    C: int
    """Channels of x in a group."""
    OC: int
    """Output channels of a group."""
    H: int
    W: int
    OH: int
    OW: int
    taps: int
    step_h: int
    step_w: int
    ih_start: int
    iw_start: int
    """Where the first window begins in x."""
    block_h: int
    block_w: int
    """Pixels of a unit."""
    blocks_h: int
    blocks_w: int
    local_h: int
    local_w: int
    local_plane: int
    """The local image; elements from one channel to the next."""
    ranges: int
    slots: int


class Slots(NamedTuple):
    """Extents of sums that are to be gathered, all of them ints."""

    groups: int
    C: int
    OC: int
    taps: int
    slots: int
    width: int
    """Output channels that are computed together."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    adding: Constants
    gathering: Constants
    """Tables and extents for the two drivers."""
    work: int
    """Multiply-adds."""
    partial_size: int
    bias_sums_size: int
    local_size: int
    turned_size: int
    pixels_size: int
    """Elements of scratch: shared for the sums, for each worker the others."""
    pointwise: bool
    """Whether a pixel of x meets the same pixel of dout alone: see ``pointwise_weight``."""


def plan(
    dout_shape: tuple[int, ...], x_shape: tuple[int, ...], dw_shape: tuple[int, ...],
    stride: Pair, padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Units of about a chunk of pixels; ranges that fit the cache; slots for enough tasks."""
    N, OC, OH, OW = dout_shape
    _, C, KH, KW = dw_shape
    span_h, span_w = (KH - 1) * dilation[0] + 1, (KW - 1) * dilation[1] + 1
    blocks_w = -(-OW // CHUNK)
    block_w = -(-OW // blocks_w)
    blocks_h = -(-OH // max(CHUNK // block_w, 1))
    block_h = -(-OH // blocks_h)
    blocks_h = -(-OH // block_h)
    local_h = (block_h - 1) * stride[0] + span_h
    local_w = (block_w - 1) * stride[1] + span_w
    plane = odd_lines(local_h * local_w, dtype.itemsize)

    same = x_shape[2:] == (OH, OW) and stride == (1, 1) and not any(padding)
    pointwise = same and KH * KW == 1 and blocks_w == 1

    units = N * blocks_h * blocks_w
    width = 2 * lanes_of(dtype)
    dw_bytes = -(-OC // groups // width) * groups * width * C * KH * KW * dtype.itemsize
    ranges = -(-C // max(LOCAL_BYTES // (plane * dtype.itemsize), 1))
    work = N * OC * C * KH * KW * OH * OW
    tasks = wanted_tasks(work)
    slots = -(-tasks // (groups * ranges))
    slots = max(min(slots, units, PARTIAL_BYTES // dw_bytes), 1)
    wanted = -(-tasks // (groups * slots))
    ranges = max(ranges, min(wanted, C * KH * KW // RANGE_ROWS, C))

    taps = np.add.outer(np.arange(KH) * dilation[0] * local_w, np.arange(KW) * dilation[1])
    offsets = np.add.outer(np.arange(C) * plane, taps.ravel()).ravel().astype(np.intp)
    extents = Extents._make((
        N, groups, C, OC // groups, x_shape[2], x_shape[3], OH, OW, KH * KW, *stride,
        -padding[0], -padding[2], block_h, block_w, blocks_h, blocks_w,
        local_h, local_w, plane, ranges, slots,
    ))  # fmt: skip
    count = block_h * block_w
    return Plan(
        Constants(extents) if pointwise else Constants(offsets, extents),
        Constants(Slots(groups, C, OC // groups, KH * KW, slots, width)), work,
        slots * dw_bytes // dtype.itemsize,
        slots * groups * -(-OC // groups // width) * width,
        -(-C // ranges) * plane, count * width, count, pointwise,
    )  # fmt: skip


@inner
def _place_pixels(height: int, across: int, pixels: Array, start: int, e: Extents) -> None:
    """Where each pixel of a unit lies in the local image."""
    for r in range(height):
        for c in range(across):
            offset = r * e.step_h * e.local_w + c * e.step_w
            put(pixels, start + r * across + c, offset)


@inner
def turn(
    dout: Array, n: int, channel: int, channels: int, top: int, left: int, height: int, across: int,
    turned: Array, start: int, e: Extents,
) -> None:  # fmt: skip
    """turned[pixel, :] = the pixels of a unit of some channels, zeros beyond the last channel."""
    width, plane = 2 * lanes(dout), e.OH * e.OW
    if channels < width:
        fill_line(turned, start, height * across * width, 0)
    source = (n * e.groups * e.OC + channel) * plane + top * e.OW + left
    if across == e.OW:
        transpose(dout, source, plane, channels, height * across, turned, start, width)
        return
    for r in range(height):
        target = start + r * across * width
        transpose(dout, source + r * e.OW, plane, channels, across, turned, target, width)


@inner
def _unit(
    unit: int, group: int, c_start: int, c_stop: int, dout: Array, x: Array, partial: Array,
    partial_start: int, bias_sums: Array, bias_start: int, row_offsets: Array, local: Array,
    local_start: int, turned: Array, turned_start: int, pixels: Array, pixels_start: int,
    e: Extents,
) -> None:  # fmt: skip
    """Add one unit's products to the sums of a range of channels."""
    width = 2 * lanes(x)
    column, rest = unit % e.blocks_w, unit // e.blocks_w
    row, n = rest % e.blocks_h, rest // e.blocks_h
    top, left = row * e.block_h, column * e.block_w
    height, across = min(e.block_h, e.OH - top), min(e.block_w, e.OW - left)
    copy_window(
        x, ((n * e.groups + group) * e.C + c_start) * e.H * e.W, e.H, e.W,
        top * e.step_h + e.ih_start, left * e.step_w + e.iw_start, c_stop - c_start,
        local, local_start, e.local_h, e.local_w, e.local_plane,
    )  # fmt: skip
    count = height * across
    if e.blocks_w > 1:
        _place_pixels(height, across, pixels, pixels_start, e)
    first, rows = c_start * e.taps, (c_stop - c_start) * e.taps
    tiles = (rows + ADDRESSED_ROWS - 1) // ADDRESSED_ROWS
    for block in range((e.OC + width - 1) // width):
        channels = min(width, e.OC - block * width)
        vectors = 2 if 2 * channels > width else 1
        channel = group * e.OC + block * width
        turn(dout, n, channel, channels, top, left, height, across, turned, turned_start, e)
        if c_start == 0:
            add_rows(turned, turned_start, count, bias_sums, bias_start + block * width)
        out = partial_start + (block * e.C * e.taps + first) * width
        for tile in range(tiles):
            r = rows * tile // tiles
            tile_rows(
                rows * (tile + 1) // tiles - r, vectors,
                local, local_start - c_start * e.local_plane, row_offsets, first + r,
                pixels, pixels_start, pixels_start + count,
                turned, turned_start - pixels_start * width, width, partial, out + r * width, width,
            )  # fmt: skip


@driver
def correlate_weight(
    worker: int, workers: int, queue: Tasks, dout: In, x: In, partial: Out, bias_sums: Out,
    local: Out, turned: Out, pixels: OffsetsOut, row_offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """The sums of each slot of units, for each group and range of channels."""
    width = 2 * lanes(x)
    blocks = (e.OC + width - 1) // width
    units = e.N * e.blocks_h * e.blocks_w
    local_start = worker * (local.size // workers)
    turned_start = worker * (turned.size // workers)
    pixels_start = worker * (pixels.size // workers)
    _place_pixels(e.block_h, e.block_w, pixels, pixels_start, e)
    task = take(queue)
    while task < e.slots * e.groups * e.ranges:
        part, rest = task % e.ranges, task // e.ranges
        group, slot = rest % e.groups, rest // e.groups
        c_start, c_stop = e.C * part // e.ranges, e.C * (part + 1) // e.ranges
        start = (slot * e.groups + group) * blocks * e.C * e.taps * width
        for block in range(blocks):
            rows = start + (block * e.C + c_start) * e.taps * width
            fill_line(partial, rows, (c_stop - c_start) * e.taps * width, 0)
        bias_start = (slot * e.groups + group) * blocks * width
        if part == 0:
            fill_line(bias_sums, bias_start, blocks * width, 0)
        for unit in range(units * slot // e.slots, units * (slot + 1) // e.slots):
            _unit(
                unit, group, c_start, c_stop, dout, x, partial, start, bias_sums, bias_start,
                row_offsets, local, local_start, turned, turned_start, pixels, pixels_start, e,
            )  # fmt: skip
        task = take(queue)


@driver
def gather(
    worker: int, workers: int, dw: Out, db: Out, partial: Out, bias_sums: Out, e: Slots
) -> None:
    """Add up the slots, in order, and turn the sums round."""
    width = e.width
    blocks = (e.OC + width - 1) // width
    size = e.C * e.taps * width
    for index in range(worker, e.groups * blocks, workers):
        group, block = index // blocks, index % blocks
        oc_start = group * e.OC + block * width
        channels = min(width, e.OC - block * width)
        for slot in range(1, e.slots):
            place = (slot * e.groups * blocks + index) * size
            add_line(partial, place, partial, index * size, size)
            place = (slot * e.groups * blocks + index) * width
            add_line(bias_sums, place, bias_sums, index * width, width)
        transpose(
            partial, index * size, width, e.C * e.taps, channels,
            dw, oc_start * e.C * e.taps, e.C * e.taps,
        )  # fmt: skip
        copy_line(bias_sums, index * width, db, oc_start, channels)
