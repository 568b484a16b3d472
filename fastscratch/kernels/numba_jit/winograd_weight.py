"""Convolution backward weight by minimal filtering: fewer products for a window.

The adjoint of ``winograd``: with a tile's gradient (m x m) and what it sees of x, m + taps - 1
pixels on either axis,

::

    D = A dout A'      V = B' x B      S[point, c, oc] = sum over tiles of V[point, c]*D[point, oc]
    dw = G' S G

S is thus a product of matrices for each point. A task sums over a *slot* of blocks of tiles, for a
range of channels and one of output channels; the slots are added up at the end.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import (
    Constants,
    Driver,
    In,
    Out,
    Tasks,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.correlate_weight import PARTIAL_BYTES, Slots
from fastscratch.kernels.numba_jit.lines import add_line
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import odd_lines, wanted_tasks
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes_of
from fastscratch.kernels.numba_jit.winograd_blocks import (
    SLICE_BYTES,
    cut_tiles,
    find_block,
    loader,
    slice_line,
)
from fastscratch.kernels.numba_jit.winograd_points import FILTERINGS
from fastscratch.kernels.numba_jit.winograd_tile import kind_of, product_of, transform_by
from fastscratch.types import Array, Padding, Pair

TILES = {"winograd2": 72, "winograd4": 42, "gauss": 32}
"""Tiles of a block: their products are added to S, which costs as much as 20 tiles."""

RANGE = 64
"""Channels, and output channels, of a range: S is to stay in L2."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    groups: int
    C: int
    """Channels of x of a group."""
    OC: int
    """Output channels of a group."""
    H: int
    W: int
    OH: int
    OW: int
    origin_h: int
    origin_w: int
    """Where the first window begins in x."""
    dilation_h: int
    dilation_w: int
    images: int
    batches: int
    blocks_h: int
    blocks_w: int
    """As in `winograd_blocks.Blocks`."""
    ranges: int
    panel_ranges: int
    """Ranges of channels, and of panels of output channels."""
    width: int
    """Of a panel: two vectors, or one where the output channels are no more."""
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
    vectors: int
    """Of a panel."""
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
    algorithm: str, taps: int, dout: tuple[int, ...], x: tuple[int, ...], padding: Padding,
    dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Ranges that fit the cache, and slots for enough tasks."""
    C, OC = x[1] // groups, dout[1] // groups
    filtering = FILTERINGS[algorithm, taps]
    m, points, window = filtering.step, filtering.points, taps * taps
    vectors = 1 if lanes_of(dtype) >= OC else 2
    width = vectors * lanes_of(dtype)
    panels = -(-OC // width)
    b = cut_tiles(dout[0], dout[2], dout[3], dilation, m, TILES[algorithm])
    work = dout[0] * groups * C * OC * -(-dout[2] // m) * -(-dout[3] // m) * points
    ranges, panel_ranges = -(-C // RANGE), min(-(-OC // RANGE), panels)
    dw_bytes = groups * panels * width * C * window * dtype.itemsize
    slots = -(-wanted_tasks(work) // (groups * ranges * panel_ranges))
    slots = max(min(slots, b.blocks, PARTIAL_BYTES // dw_bytes), 1)
    channels, most_panels = -(-C // ranges), -(-panels // panel_ranges)
    line, gradient_line = slice_line(channels, dtype), slice_line(most_panels * width, dtype)
    source_step = odd_lines(b.tiles * line, dtype.itemsize)
    gradient_step = odd_lines(b.tiles * gradient_line, dtype.itemsize)
    sums_step = odd_lines(most_panels * channels * width, dtype.itemsize)
    extents = Extents._make((
        dout[0], groups, C, OC, *x[2:], *dout[2:], -padding[0], -padding[2], *dilation,
        b.images, b.batches, b.blocks_h, b.blocks_w, ranges, panel_ranges, width, slots,
        line, gradient_line, source_step, gradient_step, sums_step,
    ))  # fmt: skip
    local = SLICE_BYTES // dtype.itemsize * b.pixels(m, filtering.side)
    return Plan(
        Constants(extents), Constants(Slots(groups, C, OC, window, slots, width)), vectors, work,
        slots * dw_bytes // dtype.itemsize, slots * groups * panels * width,
        # D: behind the points lies the sum of a tile's gradient.
        local, local, points * source_step, (points + 1) * gradient_step,
        points * sums_step, most_panels * width,
    )  # fmt: skip


@cache
def correlate_tiles(algorithm: str, taps: int, vectors: int) -> Driver:
    """The driver of an algorithm, for windows of an extent and panels of so many vectors."""
    filtering = FILTERINGS[algorithm, taps]
    m, points, row_of_points = filtering.step, filtering.points, filtering.line
    window = taps * taps
    load_source = loader(filtering, "source", shared=taps - 1)
    load_gradient = loader(filtering, "gradient", summed=True)
    transform_sums = transform_by(kind_of(filtering, "sums"))
    multiply = _multiplier(vectors)

    def correlate(
        worker: int, workers: int, queue: Tasks, dout: In, x: In, partial: Out, bias_sums: Out,
        turned: Out, local: Out, sources: Out, gradients: Out, sums: Out, line: Out, e: Extents,
    ) -> None:  # fmt: skip
        """The sums of each slot of blocks, for each group and pair of ranges."""
        width = e.width
        all_panels = (e.OC + width - 1) // width
        units = e.batches * e.blocks_h * e.blocks_w
        turned_start = worker * (turned.size // workers)
        local_start = worker * (local.size // workers)
        sources_start = worker * (sources.size // workers)
        gradients_start = worker * (gradients.size // workers)
        sums_start = worker * (sums.size // workers)
        line_start = worker * (line.size // workers)
        if 0 < e.OC % width <= width // 2:
            # Nobody loads the last vector. What it holds is multiplied and dropped: denormals, as
            # which whole numbers pass, took up to 58 times as long.
            fill_line(gradients, gradients_start, gradients.size // workers, 0)
        task = take(queue)
        while task < e.slots * e.groups * e.ranges * e.panel_ranges:
            panel_range, rest = task % e.panel_ranges, task // e.panel_ranges
            part, of_slot = rest % e.ranges, rest // e.ranges
            group, slot = of_slot % e.groups, of_slot // e.groups
            c_start, c_stop = e.C * part // e.ranges, e.C * (part + 1) // e.ranges
            first_panel = all_panels * panel_range // e.panel_ranges
            panels = all_panels * (panel_range + 1) // e.panel_ranges - first_panel
            channels = c_stop - c_start
            oc_start, oc_stop = first_panel * width, min((first_panel + panels) * width, e.OC)
            bias_start = of_slot * all_panels * width + oc_start
            if part == 0:
                fill_line(bias_sums, bias_start, panels * width, 0)
            first_unit = units * slot // e.slots
            for unit in range(first_unit, units * (slot + 1) // e.slots):
                batch, top, left, height, across = find_block(
                    unit, e.OH, e.OW, e.dilation_h, e.dilation_w, m, e.blocks_h, e.blocks_w
                )
                n = batch * e.images
                images = min(e.images, e.N * e.dilation_h - n)
                count = images * height * across * e.dilation_w
                load_source(
                    x, (group * e.C + c_start) * e.H * e.W, e.groups * e.C * e.H * e.W, n, images,
                    e.H, e.W, channels,
                    e.origin_h, e.origin_w, e.dilation_h, e.dilation_w, top, left,
                    height, across, turned, turned_start, local, local_start,
                    sources, sources_start, e.line, e.source_step,
                )  # fmt: skip
                load_gradient(
                    dout, (group * e.OC + oc_start) * e.OH * e.OW,
                    e.groups * e.OC * e.OH * e.OW, n, images, e.OH, e.OW,
                    oc_stop - oc_start, 0, 0, e.dilation_h, e.dilation_w, top, left,
                    height, across, turned, turned_start, local, local_start,
                    gradients, gradients_start, e.gradient_line, e.gradient_step,
                )  # fmt: skip
                for point in range(points):
                    multiply(
                        count, channels, panels, sources, sources_start + point * e.source_step,
                        gradients, gradients_start + point * e.gradient_step,
                        sums, sums_start + point * e.sums_step, int(unit > first_unit), e,
                    )  # fmt: skip
                if part == 0:
                    _add_bias(
                        gradients, gradients_start + points * e.gradient_step, count,
                        oc_stop - oc_start, line, line_start,
                        bias_sums, bias_start, e,
                    )  # fmt: skip
            if units == 0:
                fill_line(sums, sums_start, points * e.sums_step, 0)
            out = of_slot * all_panels + first_panel
            for panel in range(panels):
                transform_sums(
                    channels, vectors, sums, sums_start + panel * channels * width,
                    row_of_points * e.sums_step, e.sums_step, width,
                    partial, ((out + panel) * e.C + c_start) * window * width,
                    taps * width, width, window * width,
                )  # fmt: skip
            task = take(queue)

    return driver(correlate, f"{algorithm}{taps}" + "single" * (vectors == 1))


def _multiplier(vectors: int) -> Callable[..., None]:
    """What multiplies at a point, for panels of so many vectors."""
    tile_product = product_of(vectors)

    @inner
    def multiply(
        count: int, channels: int, panels: int, sources: Array, source: int,
        gradients: Array, gradient: int, sums: Array, out: int, adding: int, e: Extents,
    ) -> None:  # fmt: skip
        """S of one point, of so many tiles more."""
        width = e.width
        tiles = (channels + ROWS - 1) // ROWS
        for panel in range(panels):
            for tile in range(tiles):
                c = channels * tile // tiles
                tile_product(
                    channels * (tile + 1) // tiles - c, sources, source + c, 1, e.line, count,
                    gradients, gradient + panel * width, e.gradient_line,
                    sums, out + (panel * channels + c) * width, width, adding,
                )  # fmt: skip

    return multiply


@inner
def _add_bias(
    gradients: Array, start: int, count: int, channels: int, line: Array, line_start: int,
    bias_sums: Array, bias_start: int, e: Extents,
) -> None:  # fmt: skip
    """The sums of dout, of which each tile has its own."""
    fill_line(line, line_start, channels, 0)
    for tile in range(count):
        add_line(gradients, start + tile * e.gradient_line, line, line_start, channels)
    add_line(line, line_start, bias_sums, bias_start, channels)
