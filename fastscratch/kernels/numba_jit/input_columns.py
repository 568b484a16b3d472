"""Convolution backward input by way of columns: a product, and col2im.

::

    columns[c, tap, n, oh, ow] = sum over oc of dout[n, oc, oh, ow]*weight[oc, c, tap]
    dx[n, c, ih, iw] = the sum of the columns that lie there

A correlation over dout with zeros around it multiplies more zeros than numbers where maps shrink,
and its phases are small where strides are large. A task makes the columns of some channels of an
image, or of some small images, and adds them up while they are in L2. The twin for Cython is
src_kernels/input_columns.pxd.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import Constants, In, Out, Tasks, driver, inner
from fastscratch.kernels.numba_jit.lines import add_line, get, put
from fastscratch.kernels.numba_jit.machine import MASKS, ROWS
from fastscratch.kernels.numba_jit.phases import CHUNK, TASKS, Correlation, wanted_tasks
from fastscratch.kernels.numba_jit.product_tile import product_tile
from fastscratch.kernels.numba_jit.vectors import (
    copy_line,
    copy_pair,
    fill_line,
    lanes,
    lanes_of,
    prefetch,
)
from fastscratch.types import Array, Padding, Pair

LEAST_ROWS = 4 * ROWS
"""Columns of a pixel, that make it a product."""

MADE_BYTES = 192 * 1024
"""Of the columns that a task makes, about."""

LARGEST_MADE = 1 << 20
"""Columns of a channel, at most."""

FETCHED_BYTES = 192 * 1024
"""Of the pixels of dout that are turned into steps at once."""

STEPS = 4
"""Of a task with small images."""


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
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    top: int
    left: int
    images: int
    parts: int
    """Images of a task; parts that the channels of a group are cut into."""
    panels: int
    """Tiles of the columns of a part."""
    steps: int
    """Of pixels, that are fetched at once."""
    line: int
    """Pixels of a task, up to the end of their last step."""
    chunks: int
    """Of the output channels."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    packing: Constants
    computing: Constants
    work: int
    """Multiply-adds."""
    packed_size: int
    fetched_size: int
    made_size: int
    """Elements of scratch: shared for the weights, for each worker the others."""


def plan(
    c: Correlation, weight: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair,
    is_few: bool, dtype: np.dtype[np.floating],
) -> Plan | None:  # fmt: skip
    """Cut the channels into parts; None if it is not the way for this shape."""
    N, _, OH, OW = c.source
    OC, C, KH, KW = weight
    side, area = lanes_of(dtype), OH * OW
    OC //= c.groups
    if 0 in c.out or not _pays(c, (KH, KW), stride, is_few, side):
        return None
    step = 2 * side
    images = min(max(STEPS * step // area, 1), max(N // TASKS, 1))
    line = -(-images * area // step) * step
    work = N * c.groups * OC * C * c.taps * area
    tasks = -(-N // images) * c.groups
    parts = max(
        -(-C * c.taps * line * dtype.itemsize // MADE_BYTES), -(-wanted_tasks(work) // tasks)
    )
    parts = min(parts, C)
    rows = -(-C // parts) * c.taps
    panels = -(-rows // ROWS)
    steps = min(max(FETCHED_BYTES // (OC * step * dtype.itemsize), 1), line // step)
    extents = Extents._make((
        N, c.groups, C, OC, *c.out[2:], OH, OW, KH, KW, *stride, *dilation, padding[0], padding[2],
        images, parts, panels, steps, line, -(-OC // CHUNK),
    ))  # fmt: skip
    return Plan(
        Constants(extents), Constants(extents), work,
        c.groups * parts * panels * ROWS * OC + step, steps * step * OC, rows * line,
    )  # fmt: skip


def _pays(c: Correlation, kernel: Pair, stride: Pair, is_few: bool, side: int) -> bool:
    """Whether this is the way: times as multiply-adds, as in the twin.

    With vectors of 64 bytes the constants are for 260 random shapes, of which it then takes 1.05
    times as long as the best way, and the other ways alone 1.35 times; else they are the twin's.
    """
    OC, C = c.channels
    area = c.source[2] * c.source[3]
    if C * c.taps < LEAST_ROWS or c.taps * area > LARGEST_MADE or c.taps == 1:
        return False
    (rows, row_products), (columns, column_products) = _axis(c, 0), _axis(c, 1)
    other: float
    if is_few:
        other = OC * row_products + (6 if MASKS else 8) * side * rows
        other *= C * kernel[1] * c.source[3] * (4.4 if MASKS else 1.8)
    else:
        other = OC * row_products * column_products
        other += (3.5 if MASKS else 16) * side * rows * columns
        other *= -(-C // side) * side * (2.9 if MASKS else 1.2)
        if side >= C:
            other *= 1.65 if MASKS else 1.4
    return bool(other > C * c.taps * area * (OC + (18.5 if MASKS else 12) * side))


def _axis(c: Correlation, axis: int) -> Pair:
    """The positions of all phases along an axis that taps reach, and how many by how many taps."""
    reached = {
        phase.first[axis]: (phase.pixels[axis], len({place[axis] for _, place in phase.taps}))
        for phase in c.phases
        if phase.taps
    }
    return (
        sum(positions for positions, _ in reached.values()),
        sum(positions * taps for positions, taps in reached.values()),
    )


@driver
def pack(worker: int, workers: int, weight: In, packed: Out, e: Extents) -> None:
    """packed[group, part, panel, oc, row] = the weights of columns; behind them zeros."""
    taps = e.KH * e.KW
    for task in range(worker, e.groups * e.parts * e.panels, workers):
        panel, part, group = (
            task % e.panels,
            task // e.panels % e.parts,
            task // e.panels // e.parts,
        )
        start, end = e.C * part // e.parts * taps, e.C * (part + 1) // e.parts * taps
        first = start + (end - start) * panel // e.panels
        stop = start + (end - start) * (panel + 1) // e.panels
        for oc in range(e.OC):
            source = (group * e.OC + oc) * e.C * taps + first
            copy_line(weight, source, packed, (task * e.OC + oc) * ROWS, stop - first)
    if worker == 0:
        step = 2 * lanes(weight)
        fill_line(packed, packed.size - step, step, 0)


@inner
def _fetch(
    dout: Array, n: int, group: int, first: int, stop: int, fetched: Array, start: int, e: Extents
) -> None:
    """fetched[step, oc, :] = the pixels of dout from first to stop, of image n and those behind."""
    step, area = 2 * lanes(dout), e.OH * e.OW
    at, target = first, start
    while at < stop:
        image, place = at // area, at % area
        source = ((n + image) * e.groups + group) * e.OC * area + place
        if place + step <= area:
            for oc in range(e.OC):
                prefetch(dout, source + oc * area + step)
                copy_pair(dout, source + oc * area, fetched, target + oc * step)
        else:
            fill_line(fetched, target, e.OC * step, 0)
            done = 0
            while done < min(step, stop - at):
                image, place = (at + done) // area, (at + done) % area
                piece = min(area - place, min(step, stop - at) - done)
                source = ((n + image) * e.groups + group) * e.OC * area + place
                for oc in range(e.OC):
                    line = target + oc * step + done
                    copy_line(dout, source + oc * area, fetched, line, piece)
                done += piece
        at += step
        target += e.OC * step


@inner
def _add(made: Array, start: int, dx: Array, target: int, e: Extents) -> None:
    """One plane of dx: zero, then the columns of each tap in their places."""
    fill_line(dx, target, e.H * e.W, 0)
    below = (e.OH - 1) * e.stride_h + (e.KH - 1) * e.dilation_h - e.top
    right = (e.OW - 1) * e.stride_w + (e.KW - 1) * e.dilation_w - e.left
    if e.KW > e.OW and e.top <= 0 and e.left <= 0 and below < e.H and right < e.W:
        # Few windows, none of which overhangs: along their rows.
        for window in range(e.OH * e.OW):
            row, column = window // e.OW * e.stride_h - e.top, window % e.OW * e.stride_w - e.left
            for kh in range(e.KH):
                place = target + (row + kh * e.dilation_h) * e.W + column
                source = start + kh * e.KW * e.line + window
                for kw in range(e.KW):
                    at = place + kw * e.dilation_w
                    put(dx, at, get(dx, at) + get(made, source + kw * e.line))
        return
    for kh in range(e.KH):
        row = kh * e.dilation_h - e.top
        first = max((-row + e.stride_h - 1) // e.stride_h, 0)
        stop = min((e.H - row + e.stride_h - 1) // e.stride_h, e.OH)
        for kw in range(e.KW):
            column = kw * e.dilation_w - e.left
            begin = max((-column + e.stride_w - 1) // e.stride_w, 0)
            end = min((e.W - column + e.stride_w - 1) // e.stride_w, e.OW)
            for oh in range(first, stop):
                source = start + oh * e.OW
                place = target + (row + oh * e.stride_h) * e.W + column
                if e.stride_w == 1:
                    add_line(made, source + begin, dx, place + begin, end - begin)
                    continue
                for ow in range(begin, end):
                    at = place + ow * e.stride_w
                    put(dx, at, get(dx, at) + get(made, source + ow))
            start += e.line


@inner
def _task(
    task: int, dout: Array, packed: Array, dx: Array, fetched: Array, fetched_start: int,
    made: Array, made_start: int, e: Extents,
) -> None:  # fmt: skip
    """The columns of some channels of some images, added up."""
    step, area, taps = 2 * lanes(dout), e.OH * e.OW, e.KH * e.KW
    part, rest = task % e.parts, task // e.parts
    group, n = rest % e.groups, rest // e.groups * e.images
    images = min(e.images, e.N - n)
    channel, last = e.C * part // e.parts, e.C * (part + 1) // e.parts
    rows = (last - channel) * taps
    for first in range(0, images * area, e.steps * step):
        stop = min(first + e.steps * step, images * area)
        _fetch(dout, n, group, first, stop, fetched, fetched_start, e)
        for panel in range(e.panels):
            row = rows * panel // e.panels
            count = rows * (panel + 1) // e.panels - row
            weights = ((group * e.parts + part) * e.panels + panel) * ROWS * e.OC
            for at in range(first, stop, step):
                target = made_start + row * e.line + at
                for chunk in range(e.chunks):
                    k, k_stop = e.OC * chunk // e.chunks, e.OC * (chunk + 1) // e.chunks
                    begin, begin_row = packed.size - step, 0
                    if chunk > 0:
                        begin, begin_row = target, e.line
                    product_tile(
                        count, 2, 1, packed, weights + k * ROWS, ROWS, k_stop - k,
                        fetched, fetched_start + (at - first) * e.OC + k * step,
                        packed if chunk == 0 else made, begin, begin_row, made, target, e.line,
                    )  # fmt: skip
    for i in range(images):
        for c in range(last - channel):
            plane = ((n + i) * e.groups + group) * e.C + channel + c
            source = made_start + c * taps * e.line + i * area
            _add(made, source, dx, plane * e.H * e.W, e)


@driver
def add_columns(
    worker: int, workers: int, queue: Tasks, dout: In, packed: In, dx: Out, fetched: Out,
    made: Out, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    task = take(queue)
    while task < (e.N + e.images - 1) // e.images * e.groups * e.parts:
        _task(
            task, dout, packed, dx, fetched, worker * (fetched.size // workers),
            made, worker * (made.size // workers), e,
        )  # fmt: skip
        task = take(queue)
