"""Convolution with windows of one pixel: a matrix product of the weights with columns of pixels.

::

    out[co, pixel] = bias[co] + sum over ci of weight[co, ci]*source[ci, pixel]

The pixels of all images are one long row, which tasks share out in steps of two vectors. A task
packs the columns of its steps, which stay in L2 for all panels of output channels; what a tile sums
goes straight to the output where that is one run of pixels. The other tiles read 1x1 windows from
as many pages as there are channels, and turn what they sum round: this takes 0.55 to 0.85 of the
time. Backward, with a stride, only one phase has a tap: the pixels between its own are zero.

The twin for Cython is src_kernels/correlate_columns.pxd.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import Constants, In, Out, Tasks, driver, inner
from fastscratch.kernels.numba_jit.depthwise_tile import split_row
from fastscratch.kernels.numba_jit.lines import copy_steps
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import CHUNK, Correlation, wanted_tasks
from fastscratch.kernels.numba_jit.product_tile import product_tile
from fastscratch.kernels.numba_jit.vectors import (
    copy_line,
    copy_pair,
    fill_line,
    lanes,
    lanes_of,
    prefetch,
)
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.types import Array

LEAST_CHANNELS, LEAST_PRODUCTS = 3 * ROWS, 768
"""Output channels that do not repay the columns; from so many products of channels on, those of a
tile do (0.9 to 2.7 times as fast, below 0.7 to 0.9 times), and with strides, which others copy more
slowly, always (1.0 to 2.3 times)."""

FEW_PIXELS = 256
"""Of all images, which do not repay packing the weights."""

COLUMNS_BYTES = 192 * 1024
"""Of the columns of a task, in L2 beside the weights that stream by."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints; names as in ``correlate``."""

    N: int
    groups: int
    CI: int
    CO: int
    SH: int
    SW: int
    DH: int
    DW: int
    step_h: int
    step_w: int
    out_h: int
    out_w: int
    flipped: int
    first_h: int
    first_w: int
    """The first pixel in the output."""
    origin_h: int
    origin_w: int
    """Where its window lies in the source."""
    height: int
    width: int
    """Pixels of an image."""
    as_it_lies: int
    """Whether the pixels of a channel lie in the source as they are summed."""
    as_it_goes: int
    """Whether they lie in the output as they are summed, too: a whole plane is one run then."""
    panels: int
    """Tiles of output channels."""
    parts: int
    """Parts that the panels are cut into."""
    blocks: int
    """Parts that the steps are cut into."""
    chunks: int
    """Of the source channels."""
    local_plane: int
    bias_start: int
    """Where the biases begin in what is packed: a row of a tile each."""
    unpacked: int
    """Whether the weights are read as they lie."""
    weight_step: int
    """From a row of a tile to the next; where those are neighbours, from a channel to the next."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    packing: Constants
    computing: Constants
    work: int
    """Multiply-adds."""
    packed_size: int
    local_size: int
    columns_size: int
    edge_size: int
    """Elements of scratch: shared for the weights, for each worker the others."""


def plan(c: Correlation, dtype: np.dtype[np.floating]) -> Plan | None:
    """Share out the steps; None if the windows are larger, or the output channels too few."""
    CI, CO = c.channels
    seen = [phase for phase in c.phases if phase.taps]
    strided = c.step != (1, 1) or c.out_step != (1, 1)
    too_few = ROWS if strided or CI * CO >= LEAST_PRODUCTS else LEAST_CHANNELS
    if c.taps > 1 or too_few >= CO or 0 in c.out or not seen:
        return None
    ((_, origin),), (height, width) = seen[0].taps, seen[0].pixels
    step, area = 2 * lanes_of(dtype), height * width
    as_it_lies = c.step == (1, 1) and origin == (0, 0) and c.source[2:] == (height, width)
    as_it_goes = c.out_step == (1, 1) and c.out[2:] == (height, width)
    steps = -(-c.out[0] * area // step)
    at_once = min(max(COLUMNS_BYTES // (CI * step * dtype.itemsize), 1), steps)
    work = c.out[0] * c.groups * CO * CI * area
    wanted = wanted_tasks(work)
    blocks = max(-(-steps // at_once), min(steps, -(-wanted // c.groups)))
    panels = -(-CO // ROWS)
    parts = min(panels, -(-wanted // (blocks * c.groups)))
    # A row that is taken apart is written on behind its end, by up to a vector.
    local_plane = 0 if as_it_lies else -(-steps // blocks) * step + step
    # Not rows that are pages apart, which fall into one set of the cache.
    unpacked = c.out[0] * area <= FEW_PIXELS and (c.flipped or CI * dtype.itemsize % 4096 != 0)
    bias_start = 0 if unpacked else c.groups * panels * ROWS * CI
    extents = Extents._make((
        c.out[0], c.groups, CI, CO, *c.source[2:], *c.out[2:], *c.step, *c.out_step,
        int(c.flipped), *seen[0].first, *origin, height, width, int(as_it_lies),
        int(as_it_goes), panels, parts, blocks, -(-CI // CHUNK), local_plane,
        bias_start, int(unpacked), (CO if c.flipped else CI) if unpacked else ROWS,
    ))  # fmt: skip
    # Behind the planes goes every second pixel of a row, which is not wanted.
    local_size = CI * local_plane + 2 * step + width if local_plane else 0
    return Plan(
        Constants(extents), Constants(extents), work,
        bias_start + c.groups * CO * step, local_size,
        -(-steps // blocks) * step * CI, ROWS * step,
    )  # fmt: skip


@driver
def pack(worker: int, workers: int, weight: In, packed: Out, bias: In, e: Extents) -> None:
    """packed[group, panel, ci, row] = the weights; behind them each bias, as a row of a tile."""
    step = 2 * lanes(weight)
    for task in range(worker, e.groups * e.panels, workers):
        group, panel = task // e.panels, task % e.panels
        first, stop = e.CO * panel // e.panels, e.CO * (panel + 1) // e.panels
        target = task * ROWS * e.CI
        if e.unpacked:
            pass
        elif e.flipped:
            for ci in range(e.CI):
                source = (group * e.CI + ci) * e.CO + first
                copy_line(weight, source, packed, target + ci * ROWS, stop - first)
        else:
            source = (group * e.CO + first) * e.CI
            transpose(weight, source, e.CI, stop - first, e.CI, packed, target, ROWS)
        for co in range(group * e.CO + first, group * e.CO + stop):
            fill_line(packed, e.bias_start + co * step, step, bias[co])


@inner
def _gather(
    source: Array, group: int, first: int, stop: int, local: Array, local_start: int, e: Extents
) -> None:
    """local[ci, :] = the pixels from first to stop, zeros where they lie outside the source."""
    spare = local_start + e.CI * e.local_plane + 2 * lanes(source)
    at = first
    while at < stop:
        row, column = at // e.width, at % e.width
        count = min(e.width - column, stop - at)
        n, ih = row // e.height, row % e.height * e.step_h + e.origin_h
        iw = column * e.step_w + e.origin_w
        before = min(max((-iw + e.step_w - 1) // e.step_w, 0), count)
        end = min(max((e.SW - iw + e.step_w - 1) // e.step_w, before), count)
        if ih < 0 or ih >= e.SH:
            before = end = count
        start = ((n * e.groups + group) * e.CI * e.SH + ih) * e.SW + iw + before * e.step_w
        for ci in range(e.CI):
            target = local_start + ci * e.local_plane + at - first
            place = start + ci * e.SH * e.SW
            fill_line(local, target, before, 0)
            if e.step_w == 1:
                copy_line(source, place, local, target + before, end - before)
            elif e.step_w == 2 and end > before:
                reads_on = place + 2 * lanes(source) <= source.size
                length = 2 * (end - before) - 1
                split_row(source, place, local, target + before, spare, length, reads_on)
            else:
                copy_steps(source, place, e.step_w, local, target + before, 1, end - before)
            fill_line(local, target + end, count - end, 0)
        at += count


@inner
def _columns(
    source: Array, start: int, plane: int, count: int, columns: Array, target: int, e: Extents
) -> None:
    """columns[step, ci, :] = source[ci, :] for whole steps, which lie together."""
    step = 2 * lanes(source)
    for ci in range(e.CI):
        for i in range(count):
            place = start + ci * plane + i * step
            prefetch(source, place + count * step)
            copy_pair(source, place, columns, target + (i * e.CI + ci) * step)


@inner
def _columns_in_pieces(
    source: Array, group: int, first: int, count: int, columns: Array, target: int, e: Extents
) -> None:
    """The columns of one step, which lie in several images, or end within it."""
    step, area = 2 * lanes(source), e.height * e.width
    if count < step:
        fill_line(columns, target, e.CI * step, 0)
    done = 0
    while done < count:
        n, at = (first + done) // area, (first + done) % area
        piece = min(area - at, count - done)
        start = (n * e.groups + group) * e.CI * area + at
        for ci in range(e.CI):
            copy_line(source, start + ci * area, columns, target + ci * step + done, piece)
        done += piece


@inner
def _fetch(
    source: Array, group: int, first: int, stop: int, local: Array, local_start: int,
    columns: Array, columns_start: int, e: Extents,
) -> None:  # fmt: skip
    """The columns of the pixels from first to stop."""
    step, area = 2 * lanes(source), e.height * e.width
    size = e.CI * step
    if not e.as_it_lies:
        _gather(source, group, first, stop, local, local_start, e)
        # Beyond the last pixel lies something finite.
        for ci in range(e.CI if (stop - first) % step else 0):
            rest = step - (stop - first) % step
            fill_line(local, local_start + ci * e.local_plane + stop - first, rest, 0)
        steps = (stop - first + step - 1) // step
        _columns(local, local_start, e.local_plane, steps, columns, columns_start, e)
        return
    at, target = first, columns_start
    while at < stop:
        n, place = at // area, at % area
        whole = min(area - place, stop - at) // step
        if whole > 0:
            start = (n * e.groups + group) * e.CI * area + place
            _columns(source, start, area, whole, columns, target, e)
            at += whole * step
            target += whole * size
        else:
            _columns_in_pieces(source, group, at, min(step, stop - at), columns, target, e)
            at += step
            target += size


@inner
def _store(
    edge: Array, edge_start: int, rows: int, channel: int, first: int, count: int, out: Array,
    e: Extents,
) -> None:  # fmt: skip
    """The pixels of a step, each run of them to its place; between strided ones are zeros."""
    step, area, plane = 2 * lanes(edge), e.height * e.width, e.DH * e.DW
    done = 0
    while done < count:
        n, at = (first + done) // area, (first + done) % area
        whole = area if e.as_it_goes else e.width
        run = min(whole - at % whole, count - done)
        q, column = at // e.width, at % e.width
        for r in range(rows):
            target = (n * e.groups * e.CO + channel + r) * plane
            place = edge_start + r * step + done
            if e.as_it_goes:
                copy_line(edge, place, out, target + at, run)
                continue
            # A pixel has the rows and columns up to the next: the first one those before it, too.
            top = q * e.out_h if q > 0 else 0
            bottom = (q + 1) * e.out_h if q + 1 < e.height else e.DH
            left = column * e.out_w if column > 0 else 0
            right = (column + run) * e.out_w if column + run < e.width else e.DW
            for h in range(top, bottom):
                fill_line(out, target + h * e.DW + left, right - left, 0)
            target += (q * e.out_h + e.first_h) * e.DW + column * e.out_w + e.first_w
            copy_steps(edge, place, 1, out, target, e.out_w, run)
        done += run


@inner
def _task(
    task: int, source: Array, weight: Array, packed: Array, out: Array, local: Array,
    local_start: int, columns: Array, columns_start: int, edge: Array, edge_start: int, e: Extents,
) -> None:  # fmt: skip
    """Some steps of pixels, times a part of the output channels of a group."""
    part, rest = task % e.parts, task // e.parts
    block, group = rest % e.blocks, rest // e.blocks
    step, area = 2 * lanes(source), e.height * e.width
    plane = e.DH * e.DW
    pixels = e.N * area
    steps = (pixels + step - 1) // step
    first = steps * block // e.blocks * step
    stop = min(steps * (block + 1) // e.blocks * step, pixels)
    _fetch(source, group, first, stop, local, local_start, columns, columns_start, e)
    for panel in range(e.panels * part // e.parts, e.panels * (part + 1) // e.parts):
        co = e.CO * panel // e.panels
        rows = e.CO * (panel + 1) // e.panels - co
        channel = group * e.CO + co
        weights, channel_step = (group * e.panels + panel) * ROWS * e.CI, ROWS
        if e.unpacked:
            weights, channel_step = channel * e.CI, 1
            if e.flipped:
                weights, channel_step = group * e.CI * e.CO + co, e.CO
        for at in range(first, stop, step):
            n, place = at // area, at % area
            count = min(step, stop - at)
            direct = e.as_it_goes and count == step and place + step <= area
            # One call for both: it is large.
            target, target_row = edge_start, step
            if direct:
                target, target_row = (n * e.groups * e.CO + channel) * plane + place, plane
            for chunk in range(e.chunks):
                k, k_stop = e.CI * chunk // e.chunks, e.CI * (chunk + 1) // e.chunks
                begin, begin_row = e.bias_start + channel * step, step
                if chunk > 0:
                    begin, begin_row = target, target_row
                product_tile(
                    rows, 2, e.flipped | 1 - e.unpacked, weight if e.unpacked else packed,
                    weights + k * channel_step, e.weight_step, k_stop - k,
                    columns, columns_start + (at - first) * e.CI + k * step,
                    packed if chunk == 0 else out if direct else edge, begin, begin_row,
                    out if direct else edge, target, target_row,
                )  # fmt: skip
            if not direct:
                _store(edge, edge_start, rows, channel, at, count, out, e)


@driver
def correlate_columns(
    worker: int, workers: int, queue: Tasks, source: In, weight: In, packed: In, out: Out,
    local: Out, columns: Out, edge: Out, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    task = take(queue)
    while task < e.groups * e.blocks * e.parts:
        _task(
            task, source, weight, packed, out, local, worker * (local.size // workers),
            columns, worker * (columns.size // workers), edge, worker * (edge.size // workers), e,
        )  # fmt: skip
        task = take(queue)
