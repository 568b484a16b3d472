"""Convolution backward weight by minimal filtering: fewer products for a 3x3 window.

The adjoint of ``winograd``: with a tile's gradient (2x2) and what it sees of x (4x4),

::

    D = A dout A'      V = B' x B      S[point, c, oc] = sum over tiles of V[point, c]*D[point, oc]
    dw = G' S G

S is thus 16 products of matrices. A task sums over a *slot* of blocks of tiles, for a range of
channels and one of output channels; the slots are added up at the end.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import Constants, In, Out, driver, inner
from fastscratch.kernels.numba_jit.correlate_weight import PARTIAL_BYTES, Slots
from fastscratch.kernels.numba_jit.lines import add_line
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import odd_lines, wanted_tasks
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.winograd_blocks import (
    ONES,
    OUTPUT,
    POINTS,
    SIDE,
    SLICE_BYTES,
    SOURCE,
    STEP,
    TAPS,
    WEIGHT,
    cut_tiles,
    find_block,
    loader,
    slice_line,
)
from fastscratch.kernels.numba_jit.winograd_tile import tile_product, transform_by, turned_round
from fastscratch.types import Array, Padding

TILES = 96
"""Tiles of a block: their products are added to S, which costs as much as 20 tiles."""

RANGE = 64
"""Channels, and output channels, of a range: S is to stay in the L2 cache."""

WINDOW = TAPS * TAPS

load_source = loader(SOURCE)
load_gradient = loader(turned_round(OUTPUT))
transform_sums = transform_by(turned_round(WEIGHT))


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
    origin_h: int
    origin_w: int
    """Where the first window begins in x."""
    images: int
    batches: int
    blocks_h: int
    blocks_w: int
    """As in `winograd_blocks.Blocks`."""
    ranges: int
    panel_ranges: int
    """Ranges of channels, and of pairs of vectors of output channels."""
    slots: int
    line: int
    gradient_line: int
    """Elements from a tile's channels to the next, in V and D."""
    source_step: int
    gradient_step: int
    sums_step: int
    """From a point to the next, in V, D and S."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    adding: Constants
    gathering: Constants
    """Extents for the two drivers."""
    work: int
    """Multiply-adds."""
    partial_size: int
    bias_sums_size: int
    turned_size: int
    local_size: int
    sources_size: int
    gradients_size: int
    sums_size: int
    line_size: int
    """Elements of scratch: shared for the slots, for each worker the others."""


def plan(
    dout: tuple[int, ...], x: tuple[int, ...], dw: tuple[int, ...], padding: Padding, groups: int,
    dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Ranges that fit the cache, and slots for enough tasks."""
    C, OC = dw[1], dw[0] // groups
    width = 2 * lanes_of(dtype)
    panels = -(-OC // width)
    b = cut_tiles(dout[0], dout[2], dout[3], TILES)
    units = b.batches * b.blocks_h * b.blocks_w
    work = dout[0] * groups * C * OC * -(-dout[2] // STEP) * -(-dout[3] // STEP) * POINTS
    ranges = -(-C // RANGE)
    panel_ranges = min(-(-OC // RANGE), panels)
    dw_bytes = groups * panels * width * C * WINDOW * dtype.itemsize
    slots = -(-wanted_tasks(work) // (groups * ranges * panel_ranges))
    slots = max(min(slots, units, PARTIAL_BYTES // dw_bytes), 1)
    channels, most_panels = -(-C // ranges), -(-panels // panel_ranges)
    tiles = b.images * b.block_h * b.block_w
    line, gradient_line = slice_line(channels, dtype), slice_line(most_panels * width, dtype)
    source_step = odd_lines(tiles * line, dtype.itemsize)
    gradient_step = odd_lines(tiles * gradient_line, dtype.itemsize)
    sums_step = odd_lines(most_panels * channels * width, dtype.itemsize)
    extents = Extents._make((
        dout[0], groups, C, OC, *x[2:], *dout[2:], -padding[0], -padding[2],
        b.images, b.batches, b.blocks_h, b.blocks_w, ranges, panel_ranges, slots,
        line, gradient_line, source_step, gradient_step, sums_step,
    ))  # fmt: skip
    seen = ((b.block_h - 1) * STEP + SIDE) * ((b.block_w - 1) * STEP + SIDE)
    local = SLICE_BYTES // dtype.itemsize * seen
    return Plan(
        Constants(extents), Constants(Slots(groups, C, OC, WINDOW, slots)), work,
        slots * dw_bytes // dtype.itemsize, slots * groups * OC,
        local, local, POINTS * source_step, POINTS * gradient_step,
        POINTS * sums_step, most_panels * width,
    )  # fmt: skip


@inner
def _multiply(
    count: int, channels: int, panels: int, sources: Array, sources_start: int,
    gradients: Array, gradients_start: int, sums: Array, sums_start: int, adding: int, e: Extents,
) -> None:  # fmt: skip
    """S of so many tiles more."""
    width = 2 * lanes(sources)
    tiles = (channels + ROWS - 1) // ROWS
    for point in range(POINTS):
        for panel in range(panels):
            b = gradients_start + point * e.gradient_step + panel * width
            out = sums_start + point * e.sums_step + panel * channels * width
            for tile in range(tiles):
                c = channels * tile // tiles
                tile_product(
                    channels * (tile + 1) // tiles - c,
                    sources, sources_start + point * e.source_step + c, 1, e.line, count,
                    gradients, b, e.gradient_line, sums, out + c * width, width, adding,
                )  # fmt: skip


@inner
def _add_bias(
    gradients: Array, gradients_start: int, count: int, channels: int, line: Array, line_start: int,
    bias_sums: Array, bias_start: int, e: Extents,
) -> None:  # fmt: skip
    """The sums of dout: each output of a tile is in the gradient of one point once."""
    fill_line(line, line_start, channels, 0)
    start = gradients_start + ONES * e.gradient_step
    for tile in range(count):
        add_line(gradients, start + tile * e.gradient_line, line, line_start, channels)
    add_line(line, line_start, bias_sums, bias_start, channels)


@driver
def correlate_tiles(
    worker: int, workers: int, dout: In, x: In, partial: Out, bias_sums: Out, turned: Out,
    local: Out, sources: Out, gradients: Out, sums: Out, line: Out, e: Extents,
) -> None:  # fmt: skip
    """The sums of each slot of blocks, for each group and each pair of ranges."""
    width = 2 * lanes(x)
    all_panels = (e.OC + width - 1) // width
    units = e.batches * e.blocks_h * e.blocks_w
    turned_start = worker * (turned.size // workers)
    local_start = worker * (local.size // workers)
    sources_start = worker * (sources.size // workers)
    gradients_start = worker * (gradients.size // workers)
    sums_start = worker * (sums.size // workers)
    line_start = worker * (line.size // workers)
    for task in range(worker, e.slots * e.groups * e.ranges * e.panel_ranges, workers):
        panel_range, rest = task % e.panel_ranges, task // e.panel_ranges
        part, rest = rest % e.ranges, rest // e.ranges
        group, slot = rest % e.groups, rest // e.groups
        c_start, c_stop = e.C * part // e.ranges, e.C * (part + 1) // e.ranges
        first_panel = all_panels * panel_range // e.panel_ranges
        panels = all_panels * (panel_range + 1) // e.panel_ranges - first_panel
        channels = c_stop - c_start
        oc_start, oc_stop = first_panel * width, min((first_panel + panels) * width, e.OC)
        bias_start = (slot * e.groups + group) * e.OC + oc_start
        if part == 0:
            fill_line(bias_sums, bias_start, oc_stop - oc_start, 0)
        first_unit = units * slot // e.slots
        for unit in range(first_unit, units * (slot + 1) // e.slots):
            batch, top, left, height, across = find_block(unit, e.OH, e.OW, e.blocks_h, e.blocks_w)
            n = batch * e.images
            images = min(e.images, e.N - n)
            count = images * height * across
            load_source(
                x, ((n * e.groups + group) * e.C + c_start) * e.H * e.W, e.groups * e.C * e.H * e.W,
                images, e.H, e.W, channels, top * STEP + e.origin_h, left * STEP + e.origin_w,
                height, across, turned, turned_start, local, local_start,
                sources, sources_start, e.line, e.source_step,
            )  # fmt: skip
            load_gradient(
                dout, ((n * e.groups + group) * e.OC + oc_start) * e.OH * e.OW,
                e.groups * e.OC * e.OH * e.OW, images, e.OH, e.OW, oc_stop - oc_start,
                top * STEP, left * STEP, height, across, turned, turned_start, local, local_start,
                gradients, gradients_start, e.gradient_line, e.gradient_step,
            )  # fmt: skip
            _multiply(
                count, channels, panels, sources, sources_start, gradients, gradients_start,
                sums, sums_start, int(unit > first_unit), e,
            )  # fmt: skip
            if part == 0:
                _add_bias(
                    gradients, gradients_start, count, oc_stop - oc_start, line, line_start,
                    bias_sums, bias_start, e,
                )  # fmt: skip
        if units == 0:
            fill_line(sums, sums_start, POINTS * e.sums_step, 0)
        out = (slot * e.groups + group) * all_panels + first_panel
        for panel in range(panels):
            for c in range(channels):
                transform_sums(
                    2, sums, sums_start + (panel * channels + c) * width,
                    SIDE * e.sums_step, e.sums_step,
                    partial, (((out + panel) * e.C) + c_start + c) * WINDOW * width,
                    TAPS * width, width,
                )  # fmt: skip
