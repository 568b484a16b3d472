"""Convolution with few output channels in a group: vectors run along the pixels of a plane.

Backward input of a first layer, and a convolution in many small groups, are of this kind: with one
to four output channels, a vector of output channels would be empty for the most part. The formula
and the phases are those of ``correlate``; here the local image is taken apart by the step, so that
the pixels of a row are neighbours, and rows are computed as one long line, rims included: what lies
between the rows is computed and dropped.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import Constants, In, Offsets, Out, driver, inner
from fastscratch.kernels.numba_jit.lines import copy_steps, get, put
from fastscratch.kernels.numba_jit.phases import (
    CHUNK,
    FIRST_H,
    FIRST_W,
    ORIGIN_H,
    ORIGIN_W,
    PHASE_FIELDS,
    PIXELS_H,
    PIXELS_W,
    TAP_FIRST,
    TAPS,
    Correlation,
    largest,
    phase_table,
    span,
    wanted_tasks,
)
from fastscratch.kernels.numba_jit.tile import PIXEL_ROWS, PIXEL_VECTORS, tile_pixels
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window_split
from fastscratch.types import Array

PLANES_BYTES = 128 * 1024
"""What the local images of a task may take."""

LINE = 4096
"""Elements of the line of pixels of a task at most."""


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
    taps: int
    phases: int
    step_h: int
    step_w: int
    out_h: int
    out_w: int
    flipped: int
    block_h: int
    block_w: int
    blocks_h: int
    blocks_w: int
    local_h: int
    local_w: int
    local_plane: int
    part_h: int
    part_w: int
    """Each part of the local image, of which there are step_h*step_w."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    packing: Constants
    computing: Constants
    """Tables and extents for the two drivers."""
    work: int
    """Multiply-adds."""
    packed_size: int
    local_size: int
    sums_size: int
    """Elements of scratch: shared for the weights, for each worker the others."""


def plan(c: Correlation, dtype: np.dtype[np.floating]) -> Plan:
    """Cut a problem into blocks of whole rows, where they fit."""
    CI, CO = c.channels
    spans = [span(phase) for phase in c.phases]
    reach = largest([extent for _, extent in spans])
    height, width = largest([phase.pixels for phase in c.phases])
    slack = max(PIXEL_VECTORS) * lanes_of(dtype)
    column = CI * dtype.itemsize

    block_w = width
    while block_w > LINE // 4 or (
        block_w > slack
        and ((block_w - 1) * c.step[1] + reach[1]) * reach[0] * column > PLANES_BYTES
    ):
        block_w = -(-block_w // 2)
    blocks_w = -(-width // block_w)
    local_w = (block_w - 1) * c.step[1] + reach[1]
    part_w = -(-local_w // c.step[1])
    rows = PLANES_BYTES // (column * local_w)
    block_h = max(min((rows - reach[0]) // c.step[0] + 1, LINE // part_w, height), 1)
    images = max(c.out[0] * c.groups * len(c.phases) * blocks_w, 1)
    work = c.out[0] * c.groups * CO * CI * c.taps * height * width
    block_h = min(block_h, -(-height // min(-(-wanted_tasks(work) // images), height)))
    local_h = (block_h - 1) * c.step[0] + reach[0]
    part_h = -(-local_h // c.step[0])
    part = part_h * part_w
    plane = c.step[0] * c.step[1] * part

    k_offsets = []
    for phase, (low, _) in zip(c.phases, spans, strict=True):
        places = []
        for _, (h, w) in phase.taps:
            r, q = h - low[0], w - low[1]
            index = r % c.step[0] * c.step[1] + q % c.step[1]
            places.append(index * part + r // c.step[0] * part_w + q // c.step[1])
        k_offsets.append(np.add.outer(np.arange(CI) * plane, np.array(places, np.intp)).ravel())
    extents = Extents._make((
        c.out[0], c.groups, CI, CO, *c.source[2:], *c.out[2:], c.taps, len(c.phases),
        *c.step, *c.out_step, int(c.flipped),
        block_h, block_w, -(-height // block_h), blocks_w, local_h, local_w, plane, part_h, part_w,
    ))  # fmt: skip
    table, tap_order = phase_table(c.phases)
    offsets = np.concatenate(k_offsets).astype(np.intp)
    return Plan(
        Constants(tap_order, table, extents), Constants(table, offsets, extents), work,
        c.groups * CO * CI * c.taps,
        CI * plane + slack, min(CO, PIXEL_ROWS) * (block_h * part_w + slack),
    )  # fmt: skip


@inner
def _task(
    task: int, source: Array, packed: Array, bias: Array, out: Array, phases: Array,
    k_offsets: Array, local: Array, local_start: int, sums: Array, sums_start: int, e: Extents,
) -> None:  # fmt: skip
    """One block of pixels of one group."""
    column, rest = task % e.blocks_w, task // e.blocks_w
    row, rest = rest % e.blocks_h, rest // e.blocks_h
    group, rest = rest % e.groups, rest // e.groups
    n, phase = rest % e.N, rest // e.N
    base = phase * PHASE_FIELDS
    top, left = row * e.block_h, column * e.block_w
    height = min(e.block_h, phases[base + PIXELS_H] - top)
    across = min(e.block_w, phases[base + PIXELS_W] - left)
    if height <= 0 or across <= 0:
        return
    first, taps = phases[base + TAP_FIRST], phases[base + TAPS]
    copy_window_split(
        source, (n * e.groups + group) * e.CI * e.SH * e.SW, e.SH, e.SW,
        top * e.step_h + phases[base + ORIGIN_H], left * e.step_w + phases[base + ORIGIN_W], e.CI,
        local, local_start, e.local_h, e.local_w, e.local_plane,
        e.step_h, e.step_w, e.part_h, e.part_w,
    )  # fmt: skip
    side = lanes(source)
    line = (height - 1) * e.part_w + across
    total = e.CI * taps
    chunks = max((total + CHUNK - 1) // CHUNK, 1)
    plane = e.DH * e.DW
    for co_start in range(0, e.CO, PIXEL_ROWS):
        rows = min(PIXEL_ROWS, e.CO - co_start)
        advance = PIXEL_VECTORS[rows] * side
        length = (line + advance - 1) // advance * advance
        for r in range(rows):
            fill_line(sums, sums_start + r * length, length, bias[group * e.CO + co_start + r])
        weights = (first * e.groups * e.CO + (group * e.CO + co_start) * taps) * e.CI
        k_first = e.CI * first
        for p in range(0, line, advance):
            for chunk in range(chunks):
                tile_pixels(
                    rows, packed, weights - k_first, total, k_offsets,
                    k_first + total * chunk // chunks, k_first + total * (chunk + 1) // chunks,
                    local, local_start + p, sums, sums_start + p, length,
                )  # fmt: skip
        for r in range(rows):
            target = ((n * e.groups + group) * e.CO + co_start + r) * plane
            target += (phases[base + FIRST_H] + top * e.out_h) * e.DW
            target += phases[base + FIRST_W] + left * e.out_w
            for h in range(height):
                start = sums_start + r * length + h * e.part_w
                place = target + h * e.out_h * e.DW
                if e.out_w == 1:
                    copy_line(sums, start, out, place, across)
                else:
                    copy_steps(sums, start, 1, out, place, e.out_w, across)


@driver
def pack(
    worker: int, workers: int, weight: In, packed: Out, tap_order: Offsets, phases: Offsets,
    e: Extents,
) -> None:  # fmt: skip
    """packed[phase, group, co, ci, tap] = the weights."""
    for phase in range(e.phases):
        first, taps = phases[phase * PHASE_FIELDS + TAP_FIRST], phases[phase * PHASE_FIELDS + TAPS]
        for group in range(worker, e.groups, workers):
            target = (first * e.groups + group * taps) * e.CO * e.CI
            for co in range(e.CO):
                for ci in range(e.CI):
                    pair = (group * e.CO + co) * e.CI + ci
                    if e.flipped:
                        pair = (group * e.CI + ci) * e.CO + co
                    for t in range(taps):
                        value = get(weight, pair * e.taps + get(tap_order, first + t))
                        put(packed, target + t, value)
                    target += taps


@driver
def correlate_planes(
    worker: int, workers: int, source: In, packed: In, bias: In, out: Out, local: Out, sums: Out,
    phases: Offsets, k_offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    local_start = worker * (local.size // workers)
    sums_start = worker * (sums.size // workers)
    # What lies between rows is never copied: left as it is, it might be numbers too small for full
    # speed.
    fill_line(local, local_start, local.size // workers, 0)
    for task in range(worker, e.phases * e.N * e.groups * e.blocks_h * e.blocks_w, workers):
        _task(
            task, source, packed, bias, out, phases, k_offsets, local, local_start,
            sums, sums_start, e,
        )  # fmt: skip
