"""Convolution by vectors of pixels, to their places: for a first layer, and few output channels.

The formula is that of ``correlate``. With few source channels a sum is short, and what is done with
it afterwards counts: vectors of output channels have to be turned round, while vectors that run
along a row of pixels are stored where they belong, the last of a row over the one before it. 5x5 on
one channel takes 0.7 of the time, 3x3 on three 0.65. And where output channels fill their vectors
badly, fewer products are computed in vain.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    Out,
    Tasks,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import (
    CHUNK,
    LOCAL_BYTES,
    Correlation,
    span,
    wanted_tasks,
)
from fastscratch.kernels.numba_jit.tile import WIDE_ROWS, WIDE_VECTORS, tile_wide
from fastscratch.kernels.numba_jit.vectors import copy_vector, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window_split
from fastscratch.types import Array

PIXELS, WINDOWS = 256, 8192
"""Pixels of a task, or so many elements of the source that they see: whole planes that fit L1."""


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
    step_h: int
    step_w: int
    origin_h: int
    origin_w: int
    """Where the first window begins in the source."""
    flipped: int
    blocks: int
    """Blocks of rows that an image is cut into."""
    row_vectors: int
    """Vectors of a row."""
    local_w: int
    local_plane: int
    part_h: int
    part_w: int
    """The local image, and its parts, as in ``planes``; its height is that of its block."""
    reach: int
    """Rows that a window sees."""
    chunks: int
    """Of the products of a sum."""
    in_place: int
    """Whether windows are read from the source itself: neighbours, none of which leaves it."""


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


def plan(c: Correlation, dtype: np.dtype[np.floating]) -> Plan | None:
    """Blocks of rows; None if it is not the way for this shape."""
    CI, CO = c.channels
    side, (DH, DW) = lanes_of(dtype), c.out[2:]
    depth = CI * c.taps
    if len(c.phases) > 1 or side > DW or 0 in c.out:
        return None
    # What both ways compute in vain, in multiply-adds and steps of their ends. One vector of output
    # channels has too few sums to hide their latency; and of two with twelve rows each is loaded.
    rows_cost = -(-CO // side) * side * DW * (depth + 16)
    wide_cost = CO * -(-DW // side) * side * (depth + 8)
    if side >= CO:
        rows_cost += rows_cost // 3
    if ROWS > 6:
        wide_cost += CO * -(-DW // side) * side * depth // 12
    if rows_cost <= wide_cost:
        return None
    (phase,) = c.phases
    low, reach = span(phase)
    work = c.out[0] * c.groups * CO * depth * DH * DW
    pixels = max(PIXELS, WINDOWS // (CI * c.step[0] * c.step[1]))
    blocks = max(-(-DH * DW // pixels), -(-wanted_tasks(work) // (c.out[0] * c.groups)))
    blocks = min(blocks, DH)
    row_vectors = -(-DW // side)
    if DH // blocks * row_vectors < max(WIDE_VECTORS[min(CO, 3) :]):
        return None
    block = -(-DH // blocks)
    local_w = (DW - 1) * c.step[1] + reach[1]
    part_h = -(-((block - 1) * c.step[0] + reach[0]) // c.step[0])
    part_w = -(-local_w // c.step[1])
    part = part_h * part_w
    plane = c.step[0] * c.step[1] * part
    end = [low[i] + (c.out[2 + i] - 1) * c.step[i] + reach[i] for i in range(2)]
    in_place = c.step[1] == 1 and min(low) >= 0 and end[0] <= c.source[2] and end[1] <= c.source[3]
    row_step = part_w
    if in_place:
        plane, row_step = c.source[2] * c.source[3], c.step[0] * c.source[3]
    elif CI * plane * dtype.itemsize > LOCAL_BYTES:
        return None
    places = []
    for _, (h, w) in phase.taps:
        r, q = h - low[0], w - low[1]
        index = r % c.step[0] * c.step[1] + q % c.step[1]
        place = index * part + r // c.step[0] * part_w + q // c.step[1]
        places.append(r * c.source[3] + q if in_place else place)
    k_offsets = np.add.outer(np.arange(CI) * plane, np.array(places, np.intp)).ravel()
    columns = np.minimum(np.arange(row_vectors) * side, DW - side)
    rows = np.arange(block)
    chunks = -(-depth // CHUNK)
    extents = Extents._make((
        c.out[0], c.groups, CI, CO, *c.source[2:], DH, DW, c.taps, *c.step, *low, int(c.flipped),
        blocks, row_vectors, local_w, plane, part_h, part_w, reach[0], chunks, int(in_place),
    ))  # fmt: skip
    return Plan(
        Constants(np.array([tap for tap, _ in phase.taps], np.intp), extents),
        Constants(
            k_offsets.astype(np.intp), np.add.outer(rows * row_step, columns).ravel(),
            np.add.outer(rows * DW, columns).ravel(), np.arange(max(WIDE_VECTORS)) * side, extents,
        ),
        work, c.groups * CO * depth, 0 if in_place else CI * plane,
        max(rows * WIDE_VECTORS[rows] for rows in range(len(WIDE_VECTORS))) * side,
    )  # fmt: skip


@driver
def pack(
    worker: int, workers: int, weight: In, packed: Out, tap_order: Offsets, e: Extents
) -> None:
    """packed[group, panel, ci, tap, :] = the weights of a panel's output channels."""
    panels = (e.CO + WIDE_ROWS - 1) // WIDE_ROWS
    co_step, ci_step = (e.taps, e.CO * e.taps) if e.flipped else (e.CI * e.taps, e.taps)
    for task in range(worker, e.groups * panels, workers):
        group, panel = task // panels, task % panels
        first, stop = e.CO * panel // panels, e.CO * (panel + 1) // panels
        target = (group * e.CO + first) * e.CI * e.taps
        for ci in range(e.CI):
            for t in range(e.taps):
                source = group * e.CO * e.CI * e.taps + ci * ci_step + get(tap_order, t)
                for co in range(first, stop):
                    put(packed, target, get(weight, source + co * co_step))
                    target += 1


@inner
def _panel(
    rows: int, count: int, packed: Array, weights: int, k_offsets: Array, local: Array,
    local_start: int, places: Array, bias: Array, bias_start: int, out: Array, target: int,
    targets: Array, sums: Array, sums_start: int, dense: Array, e: Extents,
) -> None:  # fmt: skip
    """So many vectors of pixels of some output channels; the last ones may be computed twice.

    What comes in chunks is summed elsewhere, for vectors that overlap would be added to twice.
    """
    side, depth, plane = lanes(local), e.CI * e.taps, e.DH * e.DW
    vectors = WIDE_VECTORS[rows]
    width = vectors * side
    direct = e.chunks == 1
    for i in range((count + vectors - 1) // vectors):
        first = min(i * vectors, count - vectors)
        for chunk in range(e.chunks):
            k = depth * chunk // e.chunks
            tile_wide(
                rows, packed, weights + k * rows, k_offsets, k,
                depth * (chunk + 1) // e.chunks - k, local, local_start, places, first,
                bias, bias_start, chunk, out if direct else sums, target if direct else sums_start,
                plane if direct else width, targets if direct else dense, first if direct else 0,
            )  # fmt: skip
        if not direct:
            for r in range(rows):
                for v in range(vectors):
                    place = target + r * plane + targets[first + v]
                    copy_vector(sums, sums_start + r * width + v * side, out, place)


@driver
def correlate_wide(
    worker: int, workers: int, queue: Tasks, source: In, packed: In, bias: In, out: Out, local: Out,
    sums: Out, k_offsets: Offsets, places: Offsets, targets: Offsets, dense: Offsets, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    local_start = worker * (local.size // workers)
    panels = (e.CO + WIDE_ROWS - 1) // WIDE_ROWS
    task = take(queue)
    while task < e.N * e.groups * e.blocks:
        block, image = task % e.blocks, task // e.blocks
        group = image % e.groups
        top = e.DH * block // e.blocks
        height = e.DH * (block + 1) // e.blocks - top
        start, first_row = image * e.CI * e.SH * e.SW, top * e.step_h + e.origin_h
        if not e.in_place:
            copy_window_split(
                source, start, e.SH, e.SW, first_row, e.origin_w, e.CI, local, local_start,
                (height - 1) * e.step_h + e.reach, e.local_w, e.local_plane,
                e.step_h, e.step_w, e.part_h, e.part_w,
            )  # fmt: skip
        start += first_row * e.SW + e.origin_w
        for panel in range(panels):
            co = e.CO * panel // panels
            _panel(
                e.CO * (panel + 1) // panels - co, height * e.row_vectors,
                packed, (group * e.CO + co) * e.CI * e.taps, k_offsets,
                source if e.in_place else local, start if e.in_place else local_start, places,
                bias, group * e.CO + co, out, ((image * e.CO + co) * e.DH + top) * e.DW, targets,
                sums, worker * (sums.size // workers), dense, e,
            )  # fmt: skip
        task = take(queue)
