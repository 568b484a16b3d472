"""Convolution forward and backward input by minimal filtering: fewer products for a window.

Transformed, the products of a tile's outputs with a source channel become as many as its points::

    U = G weight G'      V = B' source B      M[point] = sum over ci of V[point, ci]*U[point, ci]
    out = A' M A + bias

M is thus a product of matrices for each point, tiles by source channels by output channels. The
weights are transformed first, all of them or, where they are many, some in a *round*. A task is a
block of tiles and a part of the round's output channels.
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
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes_of
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.kernels.numba_jit.winograd_blocks import (
    SLICE_BYTES,
    cut_tiles,
    find_block,
    loader,
    phase_outputs,
    slice_line,
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

CHUNK = 160
"""Channels summed in a row before they are added up: float32 loses digits in long sums."""

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
    origin_h: int
    origin_w: int
    """Where the first window begins in the source."""
    dilation_h: int
    dilation_w: int
    flipped: int
    """Whether the weights are (source, output, taps), as backward, or (output, source, taps)."""
    window: int
    """Taps of both axes."""
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
    algorithm: str, taps: int, source: tuple[int, ...], out: tuple[int, ...], origin: Pair,
    dilation: Pair, groups: int, flipped: bool, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Cut a problem into rounds and tasks and lay out their scratch."""
    CI, CO = source[1] // groups, out[1] // groups
    filtering = FILTERINGS[algorithm, taps]
    m, points, window = filtering.step, filtering.points, taps * taps
    vectors = 1 if lanes_of(dtype) >= CO else 2
    width = vectors * lanes_of(dtype)
    panels = -(-CO // width)
    work = out[0] * groups * CI * CO * -(-out[2] // m) * -(-out[3] // m) * points
    tile_bytes = points * max(CI, 1) * dtype.itemsize
    most = max(LEAST_COLUMNS // m, BLOCK_BYTES // tile_bytes)
    most = min(MOST_TILES, most, SOURCES_BYTES // tile_bytes)
    b = cut_tiles(out[0], out[2], out[3], dilation, m, max(most, 1))
    line = slice_line(CI, dtype)
    source_step = odd_lines(b.tiles * line, dtype.itemsize)
    weight_step = odd_lines(CI * width, dtype.itemsize)
    panel_size = points * weight_step
    in_round = max(ROUND_BYTES // (groups * panel_size * dtype.itemsize), ROUND_CHANNELS // width)
    rounds = max(-(-panels // in_round), 1)
    in_round = -(-panels // rounds)
    # Half as many tasks as of other kernels: parts have their price.
    parts = -(-wanted_tasks(work) // (2 * max(b.blocks, 1) * rounds * groups))
    parts = max(min(parts, in_round * width // PART_CHANNELS), 1)
    bundle = 1
    if points * source_step * dtype.itemsize > POINTS_BYTES:
        bundle = max(min(-(-in_round // parts), BUNDLE_CHANNELS // width), 1)
    product_step = odd_lines(b.tiles * bundle * width, dtype.itemsize)
    firsts = [panels * i // rounds for i in range(rounds + 1)]
    local = SLICE_BYTES // dtype.itemsize * b.pixels(m, filtering.side)
    return Plan(
        tuple(
            Constants(Extents._make((
                out[0], groups, CI, CO, *source[2:], *out[2:], *origin, *dilation, int(flipped),
                window, b.images, b.batches, b.blocks_h, b.blocks_w, parts, width, bundle,
                line, source_step, weight_step, product_step, first, last - first,
            )))
            for first, last in pairwise(firsts)
        ),
        vectors, work, groups * in_round * panel_size, PACKED_CHANNELS * window * width,
        local, local,
        # M: behind the points lies what is added to their products' results, the bias.
        points * source_step, (points + 1) * product_step,
        # Sums: what the tiles of a last, odd row or column have too much lies behind the others.
        (b.block_h * m + 1) * (b.block_w * b.dilation_w * m + 1) * width,
    )  # fmt: skip


class Drivers(NamedTuple):
    """What computes a round: first one, then the other."""

    pack: Driver
    convolve_tiles: Driver


@cache
def drivers(algorithm: str, taps: int, vectors: int) -> Drivers:
    """The drivers of an algorithm, for windows of an extent and panels of so many vectors."""
    filtering = FILTERINGS[algorithm, taps]
    m, points, row_of_points = filtering.step, filtering.points, filtering.line
    load_source = loader(filtering, "source", shared=taps - 1)
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
            transform_weight(
                depth, vectors, turned, first, taps * tap, tap, e.window * width,
                packed, (group * e.panels + panel) * points * e.weight_step + ci * width,
                row_of_points * e.weight_step, e.weight_step, width,
            )  # fmt: skip

    @inner
    def store(
        products: Array, products_start: int, sums: Array, sums_start: int, height: int,
        across: int, out: Array, target: int, rows: int, columns: int, channels: int, e: Extents,
    ) -> None:  # fmt: skip
        """The outputs of one image's tiles, for a panel, turned round again."""
        width = e.width
        line = e.bundle * width
        # From right to left: what a tile has beyond its row, the next row's first overwrites. Those
        # of several phases would overwrite each other's.
        row_step = columns if e.dilation_w == 1 else across * m * e.dilation_w
        last = across - 1
        for row in range(height):
            for phase in range(e.dilation_w):
                first = sums_start + (row * m * row_step + last * m * e.dilation_w + phase) * width
                transform_output(
                    across, vectors, products, products_start + last * line,
                    row_of_points * e.product_step, e.product_step, -line,
                    sums, first, row_step * width, e.dilation_w * width, -m * e.dilation_w * width,
                )  # fmt: skip
                products_start += across * line
        stretch, stretches = columns, rows
        if row_step == columns == e.dilation_h * e.DW:  # rows that lie together, here and there
            stretch, stretches = rows * columns, 1
        for row in range(stretches):
            transpose(
                sums, sums_start + row * row_step * width, width, stretch, channels,
                out, target + row * e.dilation_h * e.DW, e.DH * e.DW,
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
        task = take(queue)
        blocks = e.batches * e.blocks_h * e.blocks_w
        while task < e.groups * blocks * e.parts:
            part, rest = task % e.parts, task // e.parts
            group = rest // blocks
            batch, top, left, height, across = find_block(
                rest % blocks, e.DH, e.DW, e.dilation_h, e.dilation_w, m, e.blocks_h, e.blocks_w
            )
            n = batch * e.images
            images = min(e.images, e.N * e.dilation_h - n)
            load_source(
                source, group * e.CI * e.SH * e.SW, e.groups * e.CI * e.SH * e.SW, n, images,
                e.SH, e.SW, e.CI, e.origin_h, e.origin_w,
                e.dilation_h, e.dilation_w, top, left, height, across,
                turned, turned_start, local, local_start,
                sources, sources_start, e.line, e.source_step,
            )  # fmt: skip
            tiles = height * across * e.dilation_w
            first_column = left * m * e.dilation_w
            columns = min(across * m * e.dilation_w, e.DW - first_column)
            stop = e.panels * (part + 1) // e.parts
            for first in range(e.panels * part // e.parts, stop, e.bundle):
                panels = min(e.bundle, stop - first)
                for point in range(points):
                    multiply(
                        images * tiles, sources, sources_start + point * e.source_step,
                        packed, ((group * e.panels + first) * points + point) * e.weight_step,
                        points * e.weight_step,
                        panels, products, products_start + point * e.product_step, e,
                    )  # fmt: skip
                for panel in range(panels):
                    co = (e.first_panel + first + panel) * width
                    channels = min(width, e.CO - co)
                    channel = group * e.CO + co
                    start = products_start + panel * width
                    repeat_row(
                        bias, channel, channels, products, start + points * e.product_step,
                        images * tiles, width, e.bundle * width,
                    )  # fmt: skip
                    for i in range(images):
                        image, phase = (n + i) // e.dilation_h, (n + i) % e.dilation_h
                        row = top * m * e.dilation_h + phase
                        plane = image * e.groups * e.CO + channel
                        store(
                            products, start + i * tiles * e.bundle * width,
                            sums, sums_start, height, across,
                            out, (plane * e.DH + row) * e.DW + first_column,
                            min(height * m, phase_outputs(e.DH, e.dilation_h, row)),
                            columns, channels, e,
                        )  # fmt: skip
            task = take(queue)

    variant = f"{algorithm}{taps}" + "single" * (vectors == 1)
    return Drivers(driver(pack, variant), driver(convolve_tiles, variant))


@inner
def _turn_taps(
    weight: Array, group: int, ci: int, depth: int, co: int, turned: Array, start: int, e: Extents
) -> int:
    """turned[i, tap, :] = some weights of a panel; where the first is."""
    width = e.width
    count = min(width, e.CO - co)
    if count < width:
        fill_line(turned, start, depth * e.window * width, 0)
    if not e.flipped:
        first = ((group * e.CO + co) * e.CI + ci) * e.window
        transpose(
            weight, first, e.CI * e.window, count, depth * e.window, turned, start, width
        )  # fmt: skip
        return start
    for i in range(depth):
        transpose(
            weight, ((group * e.CI + ci + i) * e.CO + co) * e.window, e.window, count, e.window,
            turned, start + i * e.window * width, width,
        )  # fmt: skip
    return start + (e.window - 1) * width


def _multiplier(vectors: int) -> Callable[..., None]:
    """What multiplies at a point, for panels of so many vectors."""
    tile_product = product_of(vectors)

    @inner
    def multiply(
        count: int, sources: Array, start: int, packed: Array, weights: int, panel_step: int,
        panels: int, products: Array, out: int, e: Extents,
    ) -> None:  # fmt: skip
        """M of one point, for so many tiles and panels."""
        width = e.width
        line = e.bundle * width
        tiles = (count + ROWS - 1) // ROWS
        chunks = max((e.CI + CHUNK - 1) // CHUNK, 1)
        for panel in range(panels):
            for chunk in range(chunks):
                ci, stop = e.CI * chunk // chunks, e.CI * (chunk + 1) // chunks
                for tile in range(tiles):
                    row = count * tile // tiles
                    tile_product(
                        count * (tile + 1) // tiles - row,
                        sources, start + row * e.line + ci, e.line, 1, stop - ci,
                        packed, weights + panel * panel_step + ci * width, width,
                        products, out + row * line + panel * width, line, int(chunk > 0),
                    )  # fmt: skip

    return multiply
