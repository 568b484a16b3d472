"""Convolution forward and backward input by minimal filtering: fewer products for a window.

Transformed, the products of a tile's outputs with a source channel become as many as its points::

    U = G weight G'      V = B' source B      M[point] = sum over ci of V[point, ci]*U[point, ci]
    out = A' M A + bias

M is thus a product of matrices for each point, tiles by source channels by output channels. The
weights are transformed first, all of them or, where they are many, some in a *round*. A task is a
block of tiles and a part of the round's output channels.

Windows may be cut into *pieces*, each of which has source channels of its own. Backward, those of
strided ones each make a *phase* of the output instead: panels of its own, from the same tiles.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
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
from fastscratch.kernels.numba_jit.lines import repeat_row
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import odd_lines, wanted_tasks
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes_of
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.kernels.numba_jit.winograd_blocks import (
    SLICE_BYTES,
    cut_tiles,
    find_block,
    loader,
    phase_outputs,
    slice_line,
)
from fastscratch.kernels.numba_jit.winograd_pieces import (
    ALONG_COLUMNS,
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
    values_at,
)
from fastscratch.kernels.numba_jit.winograd_points import FILTERINGS
from fastscratch.kernels.numba_jit.winograd_tile import kind_of, product_of, transform_by
from fastscratch.types import Array, Pair

PART_CHANNELS = 64
"""Output channels of a part at least: each part transforms its tiles anew."""

MOST_TILES, LEAST_COLUMNS = 84, 56
BLOCK_BYTES = 256 * 1024
"""Tiles of a block: as many as leave room in the L2 cache for their products and some weights, but
enough side by side, as so many columns of outputs, to be worth fetching the weights for."""

CHUNK, CHUNK_FEW, FEW_TAPS = 160, 80, 8
"""Channels summed in a row before they are added up: float32 loses digits in long sums. With few
taps a sum has little else: for 2x2 windows errors are 1.4 to 2.3 times PyTorch's in place of 1.8 to
3.0."""

SOURCES_BYTES = 8 * 1024 * 1024
"""What V of a task may take."""

POINTS_BYTES = 384 * 1024
BUNDLE_CHANNELS = 64
"""Where V is larger than the first, so many output channels are computed at a point before the
next: it comes from the L3 cache."""

ROUND_BYTES, ROUND_CHANNELS = 2304 * 1024, 128
"""What U of a round may take, or more, for so many output channels: each transforms V anew."""

PACKED_CHANNELS = 32
"""Source channels whose weights are turned round at once."""


class Extents(NamedTuple):
    """Extents of one round of a problem, all of them ints."""

    N: int
    groups: int
    CI: int
    """Source channels of a group."""
    CO: int
    """Output channels of a group."""
    SH: int
    SW: int
    """Source image."""
    DH: int
    DW: int
    """Output image."""
    out_top: int
    out_left: int
    """Row and column of the tiles where it begins."""
    tiled_h: int
    tiled_w: int
    """What is cut into tiles: the output, or a phase of it."""
    origin_h: int
    origin_w: int
    """Where the first window begins in the source."""
    dilation_h: int
    dilation_w: int
    flipped: int
    """Whether the weights are (source, output, taps), as backward, or (output, source, taps)."""
    window_h: int
    window_w: int
    stride: int
    """Of the windows."""
    pieces: int
    whole: int
    """Pieces of an axis of the windows, and those that have all taps."""
    lines: int
    """How tiles lie, as in `winograd_pieces`."""
    source_stride: int
    source_pieces: int
    """The same, where they see the source; 1 where they make phases of the output."""
    phases: int
    """Along an axis of the output."""
    piece: int
    depth: int
    """Source channels from a piece to the next, and of all of them."""
    images: int
    batches: int
    blocks_h: int
    blocks_w: int
    """As in `winograd_blocks.Blocks`."""
    parts: int
    """Parts that the round's output channels are cut into."""
    width: int
    """Output channels of a panel: two vectors of them, or one where they are no more."""
    bundle: int
    """Panels that are computed together."""
    line: int
    """Elements from a tile's channels to the next, in V."""
    source_step: int
    weight_step: int
    product_step: int
    """From a point to the next, in V, U and M."""
    first_panel: int
    panels: int
    """Of the round."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    rounds: tuple[Constants, ...]
    """Extents of each round."""
    filtering: tuple[str, int, bool]
    """By which `FILTERINGS` has it."""
    vectors: int
    """Of a panel."""
    work: int
    """Multiply-adds."""
    packed_size: int
    taps_size: int
    turned_size: int
    local_size: int
    sources_size: int
    products_size: int
    sums_size: int
    """Elements of scratch: shared for the packed weights, for each worker the others."""


def plan(
    algorithm: str, window: Pair, stride: int, source: tuple[int, ...], out: tuple[int, ...],
    before: Pair, dilation: Pair, groups: int, flipped: bool, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Cut a problem into rounds and tasks and lay out their scratch."""
    CI, CO = source[1] // groups, out[1] // groups
    cut, lines = cut_window(max(window), stride), lines_of(window)
    key = algorithm, cut.taps, lines > 0
    filtering = FILTERINGS[key]
    dilation = (dilation[0] if window[0] > 1 else 1), (dilation[1] if window[1] > 1 else 1)
    m, points, side = filtering.step, filtering.points, SLICE_BYTES // dtype.itemsize
    m_h, m_w = on_axes(m, 1, lines)
    vectors = 1 if lanes_of(dtype) >= CO else 2
    width = vectors * lanes_of(dtype)
    panels = -(-CO // width)
    phases, source_cut, out_start = 1, cut, (0, 0)
    origin = -before[0], -before[1]
    if flipped:
        origin = (
            before[0] - (window[0] - 1) * dilation[0],
            before[1] - (window[1] - 1) * dilation[1],
        )
    if flipped and stride > 1:
        phases, source_cut = stride, cut_window(1, 1)
        out_start = before[0] % stride, before[1] % stride
        origin = before[0] // stride - (cut.taps - 1), before[1] // stride - (cut.taps - 1)
    tiled_h, tiled_w = -(-(out[2] + out_start[0]) // phases), -(-(out[3] + out_start[1]) // phases)
    piece = piece_channels(CI, source_cut.pieces, side)
    depth = places_of(source_cut.pieces, lines) * piece
    work = out[0] * groups * depth * CO * phases**2
    work *= -(-tiled_h // m_h) * -(-tiled_w // m_w) * points
    # Backward, the products of all phases are as large as what they are made of.
    tile_channels = max(depth, phases**2 * width) if phases > 1 else max(depth, 1)
    tile_bytes = points * tile_channels * dtype.itemsize
    most = max(LEAST_COLUMNS // m, BLOCK_BYTES // tile_bytes)
    most = min(MOST_TILES, most, SOURCES_BYTES // tile_bytes)
    b = cut_tiles(out[0], tiled_h, tiled_w, dilation, (m_h, m_w), max(most, 1))
    line = slice_line(depth - piece + -(-CI // side) * side, dtype)
    source_step = odd_lines(b.tiles * line, dtype.itemsize)
    weight_step = odd_lines(depth * width, dtype.itemsize)
    panel_size = phases**2 * points * weight_step
    in_round = max(ROUND_BYTES // (groups * panel_size * dtype.itemsize), ROUND_CHANNELS // width)
    rounds = max(-(-panels // in_round), 1)
    in_round = -(-panels // rounds)
    # Half as many tasks as of other kernels: parts have their price.
    parts = -(-wanted_tasks(work) // (2 * max(b.blocks, 1) * rounds * groups))
    parts = max(min(parts, in_round * width // PART_CHANNELS), 1)
    bundle = 1
    if points * source_step * dtype.itemsize > POINTS_BYTES:
        bundle = max(min(-(-in_round // parts), BUNDLE_CHANNELS // (phases**2 * width)), 1)
    product_step = odd_lines(b.tiles * bundle * phases**2 * width, dtype.itemsize)
    firsts = [panels * i // rounds for i in range(rounds + 1)]
    local = side * b.pixels((m_h, m_w), filtering.side, source_cut, lines)
    return Plan(
        tuple(
            Constants(Extents._make((
                out[0], groups, CI, CO, *source[2:], *out[2:], *out_start, tiled_h, tiled_w,
                *origin, *dilation, int(flipped), *window, stride, cut.pieces, cut.whole, lines,
                source_cut.stride, source_cut.pieces, phases, piece, depth,
                b.images, b.batches, b.blocks_h, b.blocks_w, parts, width, bundle,
                line, source_step, weight_step, product_step, first, last - first,
            )))
            for first, last in pairwise(firsts)
        ),
        key, vectors, work, groups * in_round * panel_size,
        # Behind the weights as they are, those of a piece.
        PACKED_CHANNELS * (window[0] * window[1] + cut.taps**2) * width,
        local, local,
        # M: behind the points lies what is added to their products' results, the bias.
        points * source_step, (points + 1) * product_step,
        # Sums: what the tiles of a last, odd row or column have too much lies behind the others.
        (b.block_h * m_h + 1) * (b.block_w * b.dilation_w * phases * m_w + 1) * width,
    )  # fmt: skip


class Drivers(NamedTuple):
    """What computes a round: first one, then the other."""

    pack: Driver
    convolve_tiles: Driver


@cache
def drivers(algorithm: str, taps: int, lines: bool, vectors: int) -> Drivers:
    """The drivers of a filtering, for pieces of so many taps and panels of so many vectors."""
    filtering = FILTERINGS[algorithm, taps, lines]
    m, points, row_of_points = filtering.step, filtering.points, filtering.line
    columns_of_taps = 1 if lines else taps
    taps_of_piece = taps * columns_of_taps
    load_source = loader(filtering, "source", shared=columns_of_taps - 1)
    transform_weight = transform_by(kind_of(filtering, "weight"))
    transform_output = transform_by(kind_of(filtering, "output", added=True))
    multiply = _multiplier(vectors)

    def pack(worker: int, workers: int, weight: In, packed: Out, turned: Out, e: Extents) -> None:
        """packed[group, panel, point, ci, :] = U of a panel of output channels."""
        width = e.width
        turned_start = worker * (turned.size // workers)
        ranges = (e.CI + PACKED_CHANNELS - 1) // PACKED_CHANNELS
        for task in range(worker, e.groups * e.panels * ranges, workers):
            group, of_group = task // (e.panels * ranges), task % (e.panels * ranges)
            # The order in which the weights lie in memory: the other one takes half as long again.
            panel, part = of_group // ranges, of_group % ranges
            if e.flipped:
                panel, part = of_group % e.panels, of_group // e.panels
            ci = part * PACKED_CHANNELS
            depth = min(PACKED_CHANNELS, e.CI - ci)
            first = _turn_taps(
                weight, group, ci, depth, (e.first_panel + panel) * width, turned, turned_start, e
            )
            tap = -width if e.flipped else width
            window = e.window_h * e.window_w * width
            start = (group * e.panels + panel) * e.phases * e.phases * points * e.weight_step
            start += ci * width
            if e.pieces == 1:
                transform_weight(
                    depth, vectors, turned, first, columns_of_taps * tap, tap, window,
                    packed, start, row_of_points * e.weight_step, e.weight_step, width,
                )  # fmt: skip
                continue
            piece = turned_start + PACKED_CHANNELS * window
            for place in range(places(e.pieces, e.lines)):
                row, column = place // e.pieces, place % e.pieces
                if e.phases == 1:
                    row, column = piece_at(place, e.pieces, e.whole, e.lines)
                _take_piece(turned, first, tap, depth, row, column, taps, piece, e)
                transform_weight(
                    depth, vectors, turned, piece, columns_of_taps * width, width,
                    taps_of_piece * width,
                    packed, start, row_of_points * e.weight_step, e.weight_step, width,
                )  # fmt: skip
                if e.phases > 1:
                    start += points * e.weight_step
                    continue
                if ci + depth == e.CI:  # what fills the slices up to the next piece
                    for point in range(points):
                        fill_line(
                            packed, start + point * e.weight_step + depth * width,
                            (e.piece - e.CI) * width, 0,
                        )  # fmt: skip
                start += e.piece * width

    @inner
    def store(
        products: Array, products_start: int, sums: Array, sums_start: int, height: int,
        across: int, out: Array, plane: int, row: int, column: int, channels: int, e: Extents,
    ) -> None:  # fmt: skip
        """The outputs of one image's tiles, for a panel, turned round again.

        Rows and columns belong to the phases of dilated windows in turn, each of which has tiles of
        its own, or to those of strided ones, for which each tile has products.
        """
        width = e.width
        m_h, m_w = axes(m, 1, e.lines)
        line = e.bundle * e.phases * e.phases * width
        step_h, step_w = e.dilation_h * e.phases, e.dilation_w * e.phases
        left = max(e.out_left - column, 0)
        columns = min(across * m_w * step_w, e.out_left + e.DW - column)
        # From right to left: what a tile has beyond its row, the next row's first overwrites. Those
        # of several phases would overwrite each other's.
        row_step = columns if step_w == 1 else across * m_w * step_w
        last = across - 1
        for phase in range(e.phases):
            for tile_row in range(height):
                for column_phase in range(step_w):
                    source = (tile_row * e.dilation_w + column_phase // e.phases) * across + last
                    place = phase * e.phases + column_phase % e.phases
                    first = tile_row * m_h * row_step + last * m_w * step_w + column_phase
                    transform_output(
                        across, vectors, products, products_start + source * line + place * width,
                        row_of_points * e.product_step, e.product_step, -line,
                        sums, sums_start + first * width,
                        (step_w if e.lines == ALONG_COLUMNS else row_step) * width, step_w * width,
                        -m_w * step_w * width,
                    )  # fmt: skip
            first_row = row + phase
            # Rows of the tiles before the first one of the output are left out.
            top = (max(e.out_top - first_row, 0) + step_h - 1) // step_h
            rows = min(height * m_h, phase_outputs(e.out_top + e.DH, step_h, first_row)) - top
            target = (plane * e.DH + first_row + top * step_h - e.out_top) * e.DW
            target += column + left - e.out_left
            stretch, stretches = columns - left, rows
            if left == 0 and row_step == columns == step_h * e.DW:
                stretch, stretches = rows * columns, 1  # rows that lie together, here and there
            for r in range(stretches):
                transpose(
                    sums, sums_start + ((top + r) * row_step + left) * width, width, stretch,
                    channels, out, target + r * step_h * e.DW, e.DH * e.DW,
                )  # fmt: skip

    def convolve_tiles(
        worker: int, workers: int, queue: Tasks, source: In, packed: In, bias: In, out: Out,
        turned: Out, local: Out, sources: Out, products: Out, sums: Out, e: Extents,
    ) -> None:  # fmt: skip
        """Every task, each worker with its slice of the scratch."""
        turned_start = worker * (turned.size // workers)
        local_start = worker * (local.size // workers)
        sources_start = worker * (sources.size // workers)
        products_start = worker * (products.size // workers)
        sums_start = worker * (sums.size // workers)
        width = e.width
        m_h, m_w = axes(m, 1, e.lines)
        task = take(queue)
        blocks = e.batches * e.blocks_h * e.blocks_w
        while task < e.groups * blocks * e.parts:
            part, rest = task % e.parts, task // e.parts
            group = rest // blocks
            batch, top, left, height, across = find_block(
                rest % blocks, e.tiled_h, e.tiled_w, m_h * e.dilation_h, m_w * e.dilation_w,
                e.blocks_h, e.blocks_w,
            )  # fmt: skip
            n = batch * e.images
            images = min(e.images, e.N * e.dilation_h - n)
            load_source(
                source, group * e.CI * e.SH * e.SW, e.groups * e.CI * e.SH * e.SW, n, images,
                e.SH, e.SW, e.CI, e.origin_h, e.origin_w,
                e.dilation_h, e.dilation_w, top, left, height, across,
                e.source_stride, e.source_pieces, min(e.whole, e.source_pieces), e.lines,
                e.piece,
                turned, turned_start, local, local_start,
                sources, sources_start, e.line, e.source_step,
            )  # fmt: skip
            tiles = height * across * e.dilation_w
            line = e.bundle * e.phases * e.phases * width
            stop = e.panels * (part + 1) // e.parts
            for first in range(e.panels * part // e.parts, stop, e.bundle):
                panels = min(e.bundle, stop - first)
                first_phase = (group * e.panels + first) * e.phases * e.phases
                for point in range(points):
                    multiply(
                        point, points, images * tiles,
                        sources, sources_start + point * e.source_step,
                        packed, (first_phase * points + point) * e.weight_step,
                        panels, products, products_start + point * e.product_step, e,
                    )  # fmt: skip
                for panel in range(panels):
                    co = (e.first_panel + first + panel) * width
                    channels = min(width, e.CO - co)
                    channel = group * e.CO + co
                    start = products_start + panel * e.phases * e.phases * width
                    for phase in range(e.phases * e.phases):
                        repeat_row(
                            bias, channel, channels,
                            products, start + points * e.product_step + phase * width,
                            images * tiles, width, line,
                        )  # fmt: skip
                    for i in range(images):
                        image, phase = (n + i) // e.dilation_h, (n + i) % e.dilation_h
                        store(
                            products, start + i * tiles * line, sums, sums_start, height, across,
                            out, image * e.groups * e.CO + channel,
                            top * m_h * e.dilation_h * e.phases + phase,
                            left * m_w * e.dilation_w * e.phases, channels, e,
                        )  # fmt: skip
            task = take(queue)

    variant = f"{algorithm}{taps}" + "line" * lines + "single" * (vectors == 1)
    return Drivers(driver(pack, variant), driver(convolve_tiles, variant))


@inner
def _turn_taps(
    weight: Array, group: int, ci: int, depth: int, co: int, turned: Array, start: int, e: Extents
) -> int:
    """turned[i, tap, :] = some weights of a panel; where the first is."""
    width, window = e.width, e.window_h * e.window_w
    count = min(width, e.CO - co)
    if count < width:
        fill_line(turned, start, depth * window * width, 0)
    if not e.flipped:
        first = ((group * e.CO + co) * e.CI + ci) * window
        transpose(
            weight, first, e.CI * window, count, depth * window, turned, start, width
        )  # fmt: skip
        return start
    for i in range(depth):
        transpose(
            weight, ((group * e.CI + ci + i) * e.CO + co) * window, window, count, window,
            turned, start + i * window * width, width,
        )  # fmt: skip
    return start + (window - 1) * width


@inner
def _take_piece(
    turned: Array, first: int, tap: int, depth: int, row: int, column: int, taps: int, piece: int,
    e: Extents,
) -> None:  # fmt: skip
    """turned[piece + (i, tap, :)] = the taps of a piece of some weights, missing ones as zeros.

    Those of phases are turned round piece by piece: in place of the last, the first is missing.
    """
    width = e.width
    taps_h, taps_w = axes(taps, 1, e.lines)
    fill_line(turned, piece, depth * taps_h * taps_w * width, 0)
    some_h, some_w = int(row >= e.whole), int(column >= e.whole)
    first_h, stop_h, first_w, stop_w = 0, taps_h - some_h, 0, taps_w - some_w
    top = piece_start(row, e.stride, taps, e.whole)
    left = piece_start(column, e.stride, taps, e.whole)
    if e.phases > 1:
        top, left = e.whole - 1 - row, e.whole - 1 - column
        first_h, stop_h, first_w, stop_w = some_h, taps, some_w, taps
    for i in range(depth):
        for kh in range(first_h, stop_h):
            for kw in range(first_w, stop_w):
                source = (top + kh * e.stride) * e.window_w + left + kw * e.stride
                copy_line(
                    turned, first + i * e.window_h * e.window_w * width + source * tap,
                    turned, piece + ((i * taps_h + kh) * taps_w + kw) * width, width,
                )  # fmt: skip


def _multiplier(vectors: int) -> Callable[..., None]:
    """What multiplies at a point, for panels of so many vectors."""
    tile_product = product_of(vectors)

    @inner
    def multiply(
        point: int, points: int, count: int, sources: Array, start: int, packed: Array,
        weights: int, panels: int, products: Array, out: int, e: Extents,
    ) -> None:  # fmt: skip
        """M of one point, for so many tiles and panels, but what is zero there."""
        width = e.width
        line = e.bundle * e.phases * e.phases * width
        tiles = (count + ROWS - 1) // ROWS
        first, stop = 0, e.depth
        row, column = values_at(point, points)
        if e.source_pieces > 1:
            first, stop = places_at(point, points, e.source_pieces, e.whole, e.lines)
            first, stop = first * e.piece, stop * e.piece
        most = CHUNK_FEW if e.window_h * e.window_w <= FEW_TAPS else CHUNK
        chunks = max((stop - first + most - 1) // most, 1)
        for panel in range(panels * e.phases * e.phases):
            phase_h, phase_w = panel // e.phases % e.phases, panel % e.phases
            if e.phases > 1 and (
                (row == 0 and phase_h >= e.whole) or (column == 0 and phase_w >= e.whole)
            ):
                for tile in range(count):
                    fill_line(products, out + tile * line + panel * width, width, 0)
                continue
            for chunk in range(chunks):
                ci = first + (stop - first) * chunk // chunks
                depth = first + (stop - first) * (chunk + 1) // chunks - ci
                for tile in range(tiles):
                    start_row = count * tile // tiles
                    tile_product(
                        count * (tile + 1) // tiles - start_row,
                        sources, start + start_row * e.line + ci, e.line, 1, depth,
                        packed, weights + panel * points * e.weight_step + ci * width, width,
                        products, out + start_row * line + panel * width, line, int(chunk > 0),
                    )  # fmt: skip

    return multiply
