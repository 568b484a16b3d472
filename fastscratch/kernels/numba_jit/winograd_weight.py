"""Convolution backward weight by minimal filtering: fewer products for a window.

The adjoint of ``winograd``: with a tile's gradient (m x m) and what it sees of x, m + taps - 1
pixels on either axis,

::

    D = A dout A'      V = B' x B      S[point, c, oc] = sum over tiles of V[point, c]*D[point, oc]
    dw = G' S G

S is thus a product of matrices for each point. A task sums over a *slot* of blocks of tiles, for a
range of channels and one of output channels; the slots are added up at the end. Where windows are
cut into pieces, each piece has channels of x of its own.
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
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes_of
from fastscratch.kernels.numba_jit.winograd_blocks import (
    SLICE_BYTES,
    cut_tiles,
    find_block,
    loader,
    slice_line,
)
from fastscratch.kernels.numba_jit.winograd_pieces import (
    axes,
    cut_window,
    lines_of,
    on_axes,
    piece_at,
    piece_channels,
    piece_start,
    places,
    places_at,
    places_of,
)
from fastscratch.kernels.numba_jit.winograd_points import FILTERINGS
from fastscratch.kernels.numba_jit.winograd_tile import kind_of, product_of, transform_by
from fastscratch.types import Array, Padding, Pair

TILES = {"winograd2": 72, "winograd4": 42, "gauss": 32}
"""Tiles of a block: their products are added to S, which costs as much as 20 tiles."""

RANGE = 64
"""Channels, and output channels, of a range: S is to stay in L2."""

PIECES_RANGE = 128
"""Channels of all pieces of windows in a range. With 64, four pieces took up to 1.08 times as long:
the gradients are transformed for each range anew."""


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
    window_h: int
    window_w: int
    stride: int
    pieces: int
    whole: int
    lines: int
    """As in `winograd_pieces`."""
    images: int
    batches: int
    blocks_h: int
    blocks_w: int
    """As in `winograd_blocks.Blocks`."""
    ranges: int
    panel_ranges: int
    """Ranges of channels, and of panels of output channels."""
    unit: int
    rows: int
    """Channels that are not divided, and those of all pieces of a range, at most."""
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
    filtering: tuple[str, int, bool]
    """By which `FILTERINGS` has it."""
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
    algorithm: str, window: Pair, stride: int, dout: tuple[int, ...], x: tuple[int, ...],
    padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Ranges that fit the cache, and slots for enough tasks."""
    C, OC = x[1] // groups, dout[1] // groups
    cut, lines = cut_window(max(window), stride), lines_of(window)
    key = algorithm, cut.taps, lines > 0
    filtering = FILTERINGS[key]
    dilation = (dilation[0] if window[0] > 1 else 1), (dilation[1] if window[1] > 1 else 1)
    m, points, side = filtering.step, filtering.points, SLICE_BYTES // dtype.itemsize
    m_h, m_w = on_axes(m, 1, lines)
    window_taps, all_pieces = window[0] * window[1], places_of(cut.pieces, lines)
    vectors = 1 if lanes_of(dtype) >= OC else 2
    width = vectors * lanes_of(dtype)
    panels = -(-OC // width)
    b = cut_tiles(dout[0], dout[2], dout[3], dilation, (m_h, m_w), TILES[algorithm])
    work = dout[0] * groups * C * OC * -(-dout[2] // m_h) * -(-dout[3] // m_w) * points
    work *= all_pieces
    ranges, panel_ranges = -(-C // RANGE), min(-(-OC // RANGE), panels)
    unit = side if cut.pieces > 1 else 1
    if cut.pieces > 1:
        ranges = min(-(-C * all_pieces // PIECES_RANGE), -(-C // side))
    dw_bytes = groups * panels * width * C * window_taps * dtype.itemsize
    slots = -(-wanted_tasks(work) // (groups * ranges * panel_ranges))
    slots = max(min(slots, b.blocks, PARTIAL_BYTES // dw_bytes), 1)
    units = -(-C // unit)
    channels = min(-(-units // ranges) * unit, C)
    most_panels = -(-panels // panel_ranges)
    piece = piece_channels(channels, cut.pieces, side)
    rows = all_pieces * piece
    line = slice_line(rows - piece + -(-channels // side) * side, dtype)
    gradient_line = slice_line(most_panels * width, dtype)
    source_step = odd_lines(b.tiles * line, dtype.itemsize)
    gradient_step = odd_lines(b.tiles * gradient_line, dtype.itemsize)
    sums_step = odd_lines(most_panels * rows * width, dtype.itemsize)
    extents = Extents._make((
        dout[0], groups, C, OC, *x[2:], *dout[2:], -padding[0], -padding[2], *dilation,
        *window, stride, cut.pieces, cut.whole, lines,
        b.images, b.batches, b.blocks_h, b.blocks_w, ranges, panel_ranges, unit, rows, width, slots,
        line, gradient_line, source_step, gradient_step, sums_step,
    ))  # fmt: skip
    local = side * b.pixels((m_h, m_w), filtering.side, cut, lines)
    return Plan(
        Constants(extents), Constants(Slots(groups, C, OC, window_taps, slots, width)),
        key, vectors, work,
        slots * dw_bytes // dtype.itemsize, slots * groups * panels * width,
        # D: behind the points lies the sum of a tile's gradient.
        local, local, points * source_step, (points + 1) * gradient_step,
        points * sums_step, max(most_panels, cut.taps**2) * width,
    )  # fmt: skip


@cache
def correlate_tiles(algorithm: str, taps: int, lines: bool, vectors: int) -> Driver:
    """The driver of a filtering, for pieces of so many taps and panels of so many vectors."""
    filtering = FILTERINGS[algorithm, taps, lines]
    m, points, row_of_points = filtering.step, filtering.points, filtering.line
    columns_of_taps = 1 if lines else taps
    load_source = loader(filtering, "source", shared=columns_of_taps - 1)
    load_gradient = loader(filtering, "gradient", summed=True)
    transform_sums = transform_by(kind_of(filtering, "sums"))
    multiply = _multiplier(vectors)

    def correlate(
        worker: int, workers: int, queue: Tasks, dout: In, x: In, partial: Out, bias_sums: Out,
        turned: Out, local: Out, sources: Out, gradients: Out, sums: Out, line: Out, e: Extents,
    ) -> None:  # fmt: skip
        """The sums of each slot of blocks, for each group and pair of ranges."""
        width, window = e.width, e.window_h * e.window_w
        m_h, m_w = axes(m, 1, e.lines)
        side = SLICE_BYTES // x.itemsize
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
            c_units = (e.C + e.unit - 1) // e.unit
            c_start = c_units * part // e.ranges * e.unit
            c_stop = min(c_units * (part + 1) // e.ranges * e.unit, e.C)
            first_panel = all_panels * panel_range // e.panel_ranges
            panels = all_panels * (panel_range + 1) // e.panel_ranges - first_panel
            channels = piece = c_stop - c_start
            if e.pieces > 1 and channels > side:
                piece = (channels + side - 1) // side * side
            if e.whole < e.pieces:  # what no product is added to
                fill_line(sums, sums_start, points * e.sums_step, 0)
            oc_start, oc_stop = first_panel * width, min((first_panel + panels) * width, e.OC)
            bias_start = of_slot * all_panels * width + oc_start
            if part == 0:
                fill_line(bias_sums, bias_start, panels * width, 0)
            first_unit = units * slot // e.slots
            for unit in range(first_unit, units * (slot + 1) // e.slots):
                batch, top, left, height, across = find_block(
                    unit, e.OH, e.OW, m_h * e.dilation_h, m_w * e.dilation_w, e.blocks_h, e.blocks_w
                )
                n = batch * e.images
                images = min(e.images, e.N * e.dilation_h - n)
                count = images * height * across * e.dilation_w
                load_source(
                    x, (group * e.C + c_start) * e.H * e.W, e.groups * e.C * e.H * e.W, n, images,
                    e.H, e.W, channels,
                    e.origin_h, e.origin_w, e.dilation_h, e.dilation_w, top, left,
                    height, across, e.stride, e.pieces, e.whole, e.lines, piece,
                    turned, turned_start, local, local_start,
                    sources, sources_start, e.line, e.source_step,
                )  # fmt: skip
                load_gradient(
                    dout, (group * e.OC + oc_start) * e.OH * e.OW,
                    e.groups * e.OC * e.OH * e.OW, n, images, e.OH, e.OW,
                    oc_stop - oc_start, 0, 0, e.dilation_h, e.dilation_w, top, left,
                    height, across, 1, 1, 1, e.lines, 0, turned, turned_start, local, local_start,
                    gradients, gradients_start, e.gradient_line, e.gradient_step,
                )  # fmt: skip
                for point in range(points):
                    first, stop = places_at(point, points, e.pieces, e.whole, e.lines)
                    multiply(
                        count, first * piece, stop * piece, panels,
                        sources, sources_start + point * e.source_step,
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
                source = sums_start + panel * e.rows * width
                target = ((out + panel) * e.C + c_start) * window * width
                if e.pieces == 1:
                    transform_sums(
                        channels, vectors, sums, source,
                        row_of_points * e.sums_step, e.sums_step, width,
                        partial, target, columns_of_taps * width, width, window * width,
                    )  # fmt: skip
                    continue
                for place in range(places(e.pieces, e.lines)):
                    row, column = piece_at(place, e.pieces, e.whole, e.lines)
                    for c in range(channels):
                        transform_sums(
                            1, vectors, sums, source + (place * piece + c) * width,
                            row_of_points * e.sums_step, e.sums_step, width,
                            line, line_start, columns_of_taps * width, width, 0,
                        )  # fmt: skip
                        _put_piece(
                            line, line_start, taps, row, column,
                            partial, target + c * window * width, e,
                        )  # fmt: skip
            task = take(queue)

    variant = f"{algorithm}{taps}" + "line" * lines + "single" * (vectors == 1)
    return driver(correlate, variant)


def _multiplier(vectors: int) -> Callable[..., None]:
    """What multiplies at a point, for panels of so many vectors."""
    tile_product = product_of(vectors)

    @inner
    def multiply(
        count: int, first: int, stop: int, panels: int, sources: Array, source: int,
        gradients: Array, gradient: int, sums: Array, out: int, adding: int, e: Extents,
    ) -> None:  # fmt: skip
        """S of one point and some channels, of so many tiles more."""
        width = e.width
        channels = stop - first
        tiles = (channels + ROWS - 1) // ROWS
        for panel in range(panels):
            for tile in range(tiles):
                c = first + channels * tile // tiles
                tile_product(
                    first + channels * (tile + 1) // tiles - c, sources, source + c, 1, e.line,
                    count, gradients, gradient + panel * width, e.gradient_line,
                    sums, out + (panel * e.rows + c) * width, width, adding,
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


@inner
def _put_piece(
    piece: Array, start: int, taps: int, row: int, column: int, weights: Array, target: int,
    e: Extents,
) -> None:  # fmt: skip
    """The taps of a piece of the windows, for a channel, to their places."""
    top = piece_start(row, e.stride, taps, e.whole)
    left = piece_start(column, e.stride, taps, e.whole)
    taps_h, taps_w = axes(taps, 1, e.lines)
    for kh in range(taps_h - int(row >= e.whole)):
        for kw in range(taps_w - int(column >= e.whole)):
            tap = (top + kh * e.stride) * e.window_w + left + kw * e.stride
            source = start + (kh * taps_w + kw) * e.width
            copy_line(piece, source, weights, target + tap * e.width, e.width)
