"""Convolution forward and backward input by minimal filtering: fewer products for a 3x3 window.

Transformed, the 36 products of a tile's four outputs with a source channel become 16::

    U = G weight G'      V = B' source B      M[point] = sum over ci of V[point, ci]*U[point, ci]
    out = A' M A + bias

M is thus 16 products of matrices, tiles by source channels by output channels. A task is a block of
tiles and a part of the output channels.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import Constants, In, Out, driver, inner
from fastscratch.kernels.numba_jit.lines import repeat_row
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import CHUNK, odd_lines, wanted_tasks
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.kernels.numba_jit.winograd_blocks import (
    ONES,
    OUTPUT,
    POINTS,
    SIDE,
    SLICE_BYTES,
    SOURCE,
    STEP,
    TAPS,
    TILES,
    WEIGHT,
    cut_tiles,
    find_block,
    loader,
    slice_line,
)
from fastscratch.kernels.numba_jit.winograd_tile import tile_product, transform_by
from fastscratch.types import Array, Pair

PART_CHANNELS = 64
"""Output channels of a part at least: each part transforms its tiles anew."""

SOURCES_BYTES = 8 * 1024 * 1024
"""What V of a task may take; 64 tiles of 2048 channels in float32 take as much."""

PACKED_CHANNELS = 32
"""Source channels whose weights are turned round at once."""

WINDOW = TAPS * TAPS

load_source = loader(SOURCE)
transform_weight = transform_by(WEIGHT)
transform_output = transform_by(OUTPUT)


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

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
    flipped: int
    """Whether the weights are (source, output, taps), as backward, or (output, source, taps)."""
    images: int
    batches: int
    blocks_h: int
    blocks_w: int
    """As in `winograd_blocks.Blocks`."""
    parts: int
    """Parts that the output channels are cut into."""
    line: int
    """Elements from a tile's channels to the next, in V."""
    source_step: int
    weight_step: int
    product_step: int
    """From a point to the next, in V, U and M."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    extents: Constants
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
    source: tuple[int, ...], out: tuple[int, ...], channels: Pair, groups: int, origin: Pair,
    flipped: bool, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Cut a problem into tasks and lay out their scratch."""
    CI, CO = channels
    width = 2 * lanes_of(dtype)
    panels = -(-CO // width)
    work = out[0] * groups * CI * CO * -(-out[2] // STEP) * -(-out[3] // STEP) * POINTS
    most = max(min(TILES, SOURCES_BYTES // (POINTS * CI * dtype.itemsize)), 1)
    b = cut_tiles(out[0], out[2], out[3], most)
    # Half as many tasks as of other kernels: parts have their price.
    tasks = max(b.batches * groups * b.blocks_h * b.blocks_w, 1)
    parts = max(min(-(-wanted_tasks(work) // (2 * tasks)), CO // PART_CHANNELS), 1)
    tiles = b.images * b.block_h * b.block_w
    line = slice_line(CI, dtype)
    source_step = odd_lines(tiles * line, dtype.itemsize)
    weight_step = odd_lines(CI * width, dtype.itemsize)
    product_step = odd_lines(tiles * width, dtype.itemsize)
    extents = Extents._make((
        out[0], groups, CI, CO, *source[2:], *out[2:], *origin, int(flipped),
        b.images, b.batches, b.blocks_h, b.blocks_w, parts,
        line, source_step, weight_step, product_step,
    ))  # fmt: skip
    seen = ((b.block_h - 1) * STEP + SIDE) * ((b.block_w - 1) * STEP + SIDE)
    local = SLICE_BYTES // dtype.itemsize * seen
    return Plan(
        Constants(extents), work, groups * panels * POINTS * weight_step,
        PACKED_CHANNELS * WINDOW * width, local, local, POINTS * source_step,
        # Sums: what the tiles of a last, odd row or column have too much lies behind the others.
        POINTS * product_step, (b.block_h * STEP + 1) * (b.block_w * STEP + 1) * width,
    )  # fmt: skip


@driver
def pack(worker: int, workers: int, weight: In, packed: Out, taps: Out, e: Extents) -> None:
    """packed[group, panel, point, ci, :] = U of two vectors of output channels."""
    width = 2 * lanes(weight)
    panels = (e.CO + width - 1) // width
    taps_start = worker * (taps.size // workers)
    ranges = (e.CI + PACKED_CHANNELS - 1) // PACKED_CHANNELS
    for task in range(worker, e.groups * panels * ranges, workers):
        group, rest = task // (panels * ranges), task % (panels * ranges)
        # The order in which the weights lie in memory: the other one takes half as long again.
        panel, part = rest // ranges, rest % ranges
        if e.flipped:
            panel, part = rest % panels, rest // panels
        ci_start, co_start = part * PACKED_CHANNELS, panel * width
        count, depth = min(width, e.CO - co_start), min(PACKED_CHANNELS, e.CI - ci_start)
        if count < width:
            fill_line(taps, taps_start, depth * WINDOW * width, 0)
        start = group * e.CO * e.CI
        first, tap = taps_start, width
        if e.flipped:
            first, tap = taps_start + (WINDOW - 1) * width, -width
            for ci in range(depth):
                transpose(
                    weight, (start + (ci_start + ci) * e.CO + co_start) * WINDOW, WINDOW,
                    count, WINDOW, taps, taps_start + ci * WINDOW * width, width,
                )  # fmt: skip
        else:
            transpose(
                weight, (start + co_start * e.CI + ci_start) * WINDOW, e.CI * WINDOW,
                count, depth * WINDOW, taps, taps_start, width,
            )  # fmt: skip
        target = (group * panels + panel) * POINTS * e.weight_step + ci_start * width
        for ci in range(depth):
            transform_weight(
                2, taps, first + ci * WINDOW * width, TAPS * tap, tap,
                packed, target + ci * width, SIDE * e.weight_step, e.weight_step,
            )  # fmt: skip


@inner
def _multiply(
    point: int, count: int, sources: Array, sources_start: int, packed: Array, weights: int,
    bias: Array, bias_start: int, channels: int, products: Array, products_start: int, e: Extents,
) -> None:  # fmt: skip
    """M of one point, for so many tiles and two vectors of output channels."""
    width = 2 * lanes(sources)
    start = sources_start + point * e.source_step
    out = products_start + point * e.product_step
    if point == ONES:
        # Each output of a tile has the product of this point once.
        repeat_row(bias, bias_start, channels, products, out, count)
    tiles = (count + ROWS - 1) // ROWS
    chunks = max((e.CI + CHUNK - 1) // CHUNK, 1)
    for chunk in range(chunks):
        ci, stop = e.CI * chunk // chunks, e.CI * (chunk + 1) // chunks
        for tile in range(tiles):
            row = count * tile // tiles
            tile_product(
                count * (tile + 1) // tiles - row, sources, start + row * e.line + ci, e.line, 1,
                stop - ci, packed, weights + point * e.weight_step + ci * width, width,
                products, out + row * width, width, int(chunk > 0 or point == ONES),
            )  # fmt: skip


@inner
def _store(
    products: Array, products_start: int, sums: Array, sums_start: int, height: int, across: int,
    out: Array, target: int, rows: int, columns: int, channels: int, e: Extents,
) -> None:  # fmt: skip
    """The outputs of one image's tiles, for two vectors of output channels, turned round again."""
    width = 2 * lanes(out)
    for row in range(height):
        # From right to left: what a tile has beyond its row, the first of the next row overwrites.
        for column in range(across - 1, -1, -1):
            transform_output(
                2, products, products_start + (row * across + column) * width,
                SIDE * e.product_step, e.product_step,
                sums, sums_start + (row * columns + column) * STEP * width, columns * width, width,
            )  # fmt: skip
    stretch, stretches = (rows * columns, 1) if columns == e.DW else (columns, rows)
    for row in range(stretches):
        transpose(
            sums, sums_start + row * stretch * width, width, stretch, channels,
            out, target + row * e.DW, e.DH * e.DW,
        )  # fmt: skip


@driver
def convolve_tiles(
    worker: int, workers: int, source: In, packed: In, bias: In, out: Out, turned: Out,
    local: Out, sources: Out, products: Out, sums: Out, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    turned_start = worker * (turned.size // workers)
    local_start = worker * (local.size // workers)
    sources_start = worker * (sources.size // workers)
    products_start = worker * (products.size // workers)
    sums_start = worker * (sums.size // workers)
    width = 2 * lanes(source)
    panels = (e.CO + width - 1) // width
    for task in range(worker, e.batches * e.blocks_h * e.blocks_w * e.groups * e.parts, workers):
        part, rest = task % e.parts, task // e.parts
        group = rest % e.groups
        batch, top, left, height, across = find_block(
            rest // e.groups, e.DH, e.DW, e.blocks_h, e.blocks_w
        )
        n = batch * e.images
        images = min(e.images, e.N - n)
        load_source(
            source, (n * e.groups + group) * e.CI * e.SH * e.SW, e.groups * e.CI * e.SH * e.SW,
            images, e.SH, e.SW, e.CI, top * STEP + e.origin_h, left * STEP + e.origin_w,
            height, across, turned, turned_start, local, local_start,
            sources, sources_start, e.line, e.source_step,
        )  # fmt: skip
        rows, columns = (
            min(height * STEP, e.DH - top * STEP),
            min(across * STEP, e.DW - left * STEP),
        )
        for panel in range(panels * part // e.parts, panels * (part + 1) // e.parts):
            co = panel * width
            channels = min(width, e.CO - co)
            for point in range(POINTS):
                _multiply(
                    point, images * height * across, sources, sources_start,
                    packed, (group * panels + panel) * POINTS * e.weight_step,
                    bias, group * e.CO + co, channels, products, products_start, e,
                )  # fmt: skip
            for i in range(images):
                plane = ((n + i) * e.groups + group) * e.CO + co
                _store(
                    products, products_start + i * height * across * width, sums, sums_start,
                    height, across, out, (plane * e.DH + top * STEP) * e.DW + left * STEP,
                    rows, columns, channels, e,
                )  # fmt: skip
