"""Convolution forward and backward input: tiles of pixels times output channels.

Both are sums over source channels and taps (see ``phases``)::

    out[co, q] = bias[co] + sum over ci, tap of source[ci, q*step + offset[tap]]*packed[ci, tap, co]

A task is a block of pixels of one phase, image and group. It copies the part of the source that it
sees into a local, zero-padded image, where tables of offsets name any pixel and any tap.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    OffsetsOut,
    Out,
    Tasks,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.lines import copy_steps, get, put, repeat_row
from fastscratch.kernels.numba_jit.machine import ADDRESSED_ROWS, ROWS
from fastscratch.kernels.numba_jit.phases import (
    CHUNK,
    FIRST_H,
    FIRST_W,
    LOCAL_BYTES,
    ORIGIN_H,
    ORIGIN_W,
    PHASE_FIELDS,
    PIXELS_H,
    PIXELS_W,
    TAP_FIRST,
    TAPS,
    Correlation,
    largest,
    odd_lines,
    phase_table,
    span,
    wanted_tasks,
)
from fastscratch.kernels.numba_jit.tile import tile_rows
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window, transpose
from fastscratch.types import Array, Pair

PIXELS = 512
"""Pixels of a task at most: their sums are to stay in the L1 or L2 cache."""


FEW_PIXELS = 100
"""Pixels that repay the reading of the weights: a task takes more than one image for them."""


LEAST_RUN = 6
"""Pixels of a row that have large tiles of their own: evenly spaced, they need no address each.

As many sums as hide the latency of a multiply-add.
"""


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
    taps: int
    phases: int
    step_h: int
    step_w: int
    out_h: int
    out_w: int
    flipped: int
    """As in `phases.Correlation`."""
    images: int
    block_h: int
    block_w: int
    """Images of a task, and pixels of each."""
    parts: int
    """Parts that the output channels are cut into."""
    blocks_h: int
    blocks_w: int
    local_h: int
    local_w: int
    local_plane: int
    """The local image; elements from one channel to the next."""


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
    pixels_size: int
    """Elements of scratch: shared for the weights, for each worker the others."""


def plan(c: Correlation, dtype: np.dtype[np.floating]) -> Plan:
    """Cut a problem into tasks and lay out its local images."""
    CI, CO = c.channels
    spans = [span(phase) for phase in c.phases]
    reach = largest([extent for _, extent in spans])
    pixels = largest([phase.pixels for phase in c.phases])
    width = 2 * lanes_of(dtype)
    work = c.out[0] * c.groups * CO * CI * c.taps * pixels[0] * pixels[1]
    images, block_h, block_w, parts = _cut(
        c, pixels, reach, CI * dtype.itemsize, wanted_tasks(work), -(-CO // width)
    )
    local_h = (block_h - 1) * c.step[0] + reach[0]
    local_w = (block_w - 1) * c.step[1] + reach[1]
    plane = odd_lines(local_h * local_w, dtype.itemsize)
    k_offsets = []
    for phase, (low, _) in zip(c.phases, spans, strict=True):
        places = [(h - low[0]) * local_w + w - low[1] for _, (h, w) in phase.taps]
        k_offsets.append(np.add.outer(np.arange(CI) * plane, np.array(places, np.intp)).ravel())
    extents = Extents._make((
        c.out[0], c.groups, CI, CO, *c.source[2:], *c.out[2:], c.taps, len(c.phases),
        *c.step, *c.out_step, int(c.flipped),
        images, block_h, block_w, parts, -(-pixels[0] // block_h), -(-pixels[1] // block_w),
        local_h, local_w, plane,
    ))  # fmt: skip
    phases, tap_order = phase_table(c.phases)
    offsets = np.concatenate(k_offsets).astype(np.intp)
    return Plan(
        Constants(tap_order, phases, extents), Constants(phases, offsets, extents), work,
        c.groups * -(-CO // width) * width * CI * c.taps,
        images * CI * plane, images * block_h * block_w * width, images * block_h * block_w,
    )  # fmt: skip


def _cut(
    c: Correlation, pixels: Pair, reach: Pair, column: int, wanted: int, blocks: int
) -> tuple[int, int, int, int]:
    """Images, rows and columns of a task, and parts of the output channels.

    Local images are to fit the cache (``column`` is the bytes that a pixel of the source takes,
    over all channels), and few pixels would not repay the weights that are read for them. Where
    that leaves fewer tasks than wanted, the ``blocks`` of output channels are shared out, too.
    """
    width = pixels[1]
    room = max(LOCAL_BYTES // column, 1)
    while width > PIXELS or (
        width > 4 * ROWS and ((width - 1) * c.step[1] + reach[1]) * reach[0] > room
    ):
        width = -(-width // 2)
    across = -(-pixels[1] // width)
    local_w = (width - 1) * c.step[1] + reach[1]
    most = max(min((room // local_w - reach[0]) // c.step[0] + 1, PIXELS // width), 1)
    per_row = max(c.out[0] * c.groups * len(c.phases) * across, 1)
    down = max(-(-pixels[0] // most), min(-(-wanted // per_row), pixels[0] * width // FEW_PIXELS))
    height = -(-pixels[0] // down)
    local = ((height - 1) * c.step[0] + reach[0]) * local_w * column
    images = 1
    if height * width <= FEW_PIXELS // 2:
        images = max(min(c.out[0], FEW_PIXELS // (height * width), 3 * LOCAL_BYTES // local), 1)
    tasks = max(-(-c.out[0] // images) * c.groups * len(c.phases) * across * down, 1)
    return images, height, width, min(blocks, -(-wanted // tasks))


@inner
def _pack(
    weight: Array, tap_order: Array, phases: Array, packed: Array, block: int, e: Extents
) -> None:
    """packed[phase, group, block, ci, tap, :] = the weights of the block's output channels."""
    width = 2 * lanes(weight)
    blocks = (e.CO + width - 1) // width
    group, co_start = block // blocks, block % blocks * width
    count = min(width, e.CO - co_start)
    co_stride = e.taps if e.flipped else e.CI * e.taps
    ci_stride = e.CO * e.taps if e.flipped else e.taps
    start = group * e.CO * e.CI * e.taps + co_start * co_stride
    for phase in range(e.phases):
        first, taps = phases[phase * PHASE_FIELDS + TAP_FIRST], phases[phase * PHASE_FIELDS + TAPS]
        target = (e.groups * blocks * first + block * taps) * e.CI * width
        if count < width:
            fill_line(packed, target, e.CI * taps * width, 0)
        if taps < e.taps:
            for ci in range(e.CI):
                for t in range(taps):
                    source = start + ci * ci_stride + tap_order[first + t]
                    for co in range(count):
                        put(packed, target + co, get(weight, source + co * co_stride))
                    target += width
        elif e.flipped:
            for ci in range(e.CI):
                transpose(
                    weight, start + ci * ci_stride, co_stride, count, taps,
                    packed, target + ci * taps * width, width,
                )  # fmt: skip
        else:
            transpose(weight, start, co_stride, count, e.CI * taps, packed, target, width)


@inner
def _load(
    source: Array, n: int, images: int, group: int, top: int, left: int, height: int, across: int,
    base: int, phases: Array, local: Array, local_start: int, pixels: Array, pixels_start: int,
    e: Extents,
) -> None:  # fmt: skip
    """Make the local images of a task, and the table of where each of its pixels lies in them."""
    image = e.CI * e.local_plane
    ih, iw = top * e.step_h + phases[base + ORIGIN_H], left * e.step_w + phases[base + ORIGIN_W]
    for i in range(images):
        copy_window(
            source, ((n + i) * e.groups + group) * e.CI * e.SH * e.SW, e.SH, e.SW, ih, iw, e.CI,
            local, local_start + i * image, e.local_h, e.local_w, e.local_plane,
        )  # fmt: skip
        for r in range(height):
            place = pixels_start + (i * height + r) * across
            for c in range(across):
                offset = i * image + r * e.step_h * e.local_w + c * e.step_w
                put(pixels, place + c, offset)


@inner
def _store(
    sums: Array, start: int, height: int, across: int, channels: int, out: Array, target: int,
    e: Extents,
) -> None:  # fmt: skip
    """Turn the sums of one image's pixels round, channels first."""
    width = 2 * lanes(sums)
    plane = e.DH * e.DW
    if e.out_w == 1 and e.out_h == 1 and across == e.DW:
        transpose(sums, start, width, height * across, channels, out, target, plane)
        return
    for r in range(height):
        line, place = start + r * across * width, target + r * e.out_h * e.DW
        if e.out_w == 1:
            transpose(sums, line, width, across, channels, out, place, plane)
        else:
            for co in range(channels):
                copy_steps(sums, line + co, width, out, place + co * plane, e.out_w, across)


@inner
def _task(
    task: int, source: Array, packed: Array, bias: Array, out: Array, phases: Array,
    k_offsets: Array, local: Array, local_start: int, sums: Array, sums_start: int,
    pixels: Array, pixels_start: int, e: Extents,
) -> None:  # fmt: skip
    """A block of pixels of some images, times a part of the output channels of a group."""
    width = 2 * lanes(source)
    blocks = (e.CO + width - 1) // width
    part, rest = task % e.parts, task // e.parts
    column, rest = rest % e.blocks_w, rest // e.blocks_w
    row, rest = rest % e.blocks_h, rest // e.blocks_h
    group, rest = rest % e.groups, rest // e.groups
    batches = (e.N + e.images - 1) // e.images
    n, phase = rest % batches * e.images, rest // batches
    base = phase * PHASE_FIELDS
    top, left = row * e.block_h, column * e.block_w
    height = min(e.block_h, phases[base + PIXELS_H] - top)
    across = min(e.block_w, phases[base + PIXELS_W] - left)
    if height <= 0 or across <= 0:
        return
    images = min(e.images, e.N - n)
    _load(
        source, n, images, group, top, left, height, across, base, phases,
        local, local_start, pixels, pixels_start, e,
    )  # fmt: skip
    count = images * height * across
    run, most = count, ADDRESSED_ROWS
    if across >= LEAST_RUN and ROWS > LEAST_RUN:
        run, most = across, ROWS
    tiles = (run + most - 1) // most
    first, taps = phases[base + TAP_FIRST], phases[base + TAPS]
    total, k_first = e.CI * taps, e.CI * first
    chunks = max((total + CHUNK - 1) // CHUNK, 1)
    corner = (phases[base + FIRST_H] + top * e.out_h) * e.DW
    corner += phases[base + FIRST_W] + left * e.out_w
    for block in range(blocks * part // e.parts, blocks * (part + 1) // e.parts):
        co_start = block * width
        channels = min(width, e.CO - co_start)
        vectors = 2 if 2 * channels > width else 1
        repeat_row(bias, group * e.CO + co_start, channels, sums, sums_start, count, width, width)
        weights = (e.groups * blocks * first + (group * blocks + block) * taps) * e.CI * width
        for chunk in range(chunks):
            k_start, k_stop = total * chunk // chunks, total * (chunk + 1) // chunks
            for tile in range(count // run * tiles):
                i = tile % tiles
                p = run * i // tiles
                rows = run * (i + 1) // tiles - p
                p += tile // tiles * run
                tile_rows(
                    rows, vectors, local, local_start, pixels, pixels_start + p,
                    k_offsets, k_first + k_start, k_first + k_stop,
                    packed, weights - k_first * width, width,
                    sums, sums_start + p * width, width,
                )  # fmt: skip
        for i in range(images):
            target = (((n + i) * e.groups + group) * e.CO + co_start) * e.DH * e.DW + corner
            start = sums_start + i * height * across * width
            _store(sums, start, height, across, channels, out, target, e)


@driver
def pack(
    worker: int, workers: int, weight: In, packed: Out, tap_order: Offsets, phases: Offsets,
    e: Extents,
) -> None:  # fmt: skip
    """Bring the weights into the order in which the tile reads them."""
    width = 2 * lanes(weight)
    for block in range(worker, e.groups * ((e.CO + width - 1) // width), workers):
        _pack(weight, tap_order, phases, packed, block, e)


@driver
def correlate(
    worker: int, workers: int, queue: Tasks, source: In, packed: In, bias: In, out: Out,
    local: Out, sums: Out, pixels: OffsetsOut, phases: Offsets, k_offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    local_start = worker * (local.size // workers)
    sums_start = worker * (sums.size // workers)
    pixels_start = worker * (pixels.size // workers)
    batches = (e.N + e.images - 1) // e.images
    tasks = e.phases * batches * e.groups * e.blocks_h * e.blocks_w * e.parts
    task = take(queue)
    while task < tasks:
        _task(
            task, source, packed, bias, out, phases, k_offsets, local, local_start,
            sums, sums_start, pixels, pixels_start, e,
        )  # fmt: skip
        task = take(queue)
