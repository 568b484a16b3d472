"""Backward weight for windows of one pixel: a matrix product of dout with x, which stays in place.

Units, slots and ranges are those of ``correlate_weight``, and so are the sums, which its `gather`
adds up. The rows of a tile are channels of x: no local image is made of them. That takes 0.7 to 0.9
of the time.
"""

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import In, Out, Tasks, driver, inner
from fastscratch.kernels.numba_jit.correlate_weight import Extents, turn
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.product_tile import product_tile
from fastscratch.kernels.numba_jit.vectors import add_rows, fill_line, lanes
from fastscratch.types import Array


@inner
def _unit(
    unit: int, group: int, c_start: int, c_stop: int, dout: Array, x: Array, partial: Array,
    partial_start: int, bias_sums: Array, bias_start: int, turned: Array, turned_start: int,
    e: Extents,
) -> None:  # fmt: skip
    """Add one unit's products to the sums of a range of channels."""
    width, plane = 2 * lanes(x), e.H * e.W
    row, n = unit % e.blocks_h, unit // e.blocks_h
    top = row * e.block_h
    height = min(e.block_h, e.OH - top)
    count, rows = height * e.W, c_stop - c_start
    source = ((n * e.groups + group) * e.C + c_start) * plane + top * e.W
    tiles = (rows + ROWS - 1) // ROWS
    for block in range((e.OC + width - 1) // width):
        channels = min(width, e.OC - block * width)
        channel = group * e.OC + block * width
        turn(dout, n, channel, channels, top, 0, height, e.W, turned, turned_start, e)
        if c_start == 0:
            add_rows(turned, turned_start, count, bias_sums, bias_start + block * width)
        for tile in range(tiles):
            r = rows * tile // tiles
            out = partial_start + (block * e.C + c_start + r) * width
            product_tile(
                rows * (tile + 1) // tiles - r, 2, 0, x, source + r * plane, plane, count,
                turned, turned_start, partial, out, width, partial, out, width,
            )  # fmt: skip


@driver
def multiply_pixels(
    worker: int, workers: int, queue: Tasks, dout: In, x: In, partial: Out, bias_sums: Out,
    turned: Out, e: Extents,
) -> None:  # fmt: skip
    """The sums of each slot of units, for each group and range of channels."""
    width = 2 * lanes(x)
    blocks = (e.OC + width - 1) // width
    units = e.N * e.blocks_h
    task = take(queue)
    while task < e.slots * e.groups * e.ranges:
        part, rest = task % e.ranges, task // e.ranges
        group, slot = rest % e.groups, rest // e.groups
        c_start, c_stop = e.C * part // e.ranges, e.C * (part + 1) // e.ranges
        start = (slot * e.groups + group) * blocks * e.C * width
        for block in range(blocks):
            fill_line(
                partial, start + (block * e.C + c_start) * width, (c_stop - c_start) * width, 0
            )
        bias_start = (slot * e.groups + group) * blocks * width
        if part == 0:
            fill_line(bias_sums, bias_start, blocks * width, 0)
        for unit in range(units * slot // e.slots, units * (slot + 1) // e.slots):
            _unit(
                unit, group, c_start, c_stop, dout, x, partial, start, bias_sums, bias_start,
                turned, worker * (turned.size // workers), e,
            )  # fmt: skip
        task = take(queue)
