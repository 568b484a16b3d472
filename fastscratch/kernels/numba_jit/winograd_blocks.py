"""Tiles of the minimal-filtering convolutions: how they are cut into blocks, and what they see.

A tile is 2x2 outputs, which see 4x4 of the source. A block is a rectangle of tiles of an image, or
all tiles of some images. What it sees is turned round, channels last, slice after slice of the
channels: every transform is then of whole vectors, whatever the extents of the image are.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import inner
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.kernels.numba_jit.winograd_tile import Matrix, transform_by
from fastscratch.types import Array

SIDE, STEP, TAPS = 4, 2, 3
"""Pixels that a tile sees along an axis, outputs that it has there, and taps of the window."""

POINTS = SIDE * SIDE
ONES = SIDE + 1
"""The point whose product each output of a tile has exactly once, and its gradient likewise."""

SOURCE = (1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1)
WEIGHT = (1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)
OUTPUT = (1, 1, 1, 0), (0, 1, -1, 1)
"""B', G and A' of F(2x2, 3x3) in Lavin and Gray, "Fast algorithms for convolutional neural
networks" (2016), section 4.1; the last rows of B' and A' with the other sign."""

TILES = 64
"""Tiles of a block at most: 48 to 200 are equally fast, 28 are 5 to 10 % slower."""

SLICE_BYTES = 64
"""What a pixel's channels in a slice take. With slices of 256 bytes, turning planes that lie 4 KiB
apart takes three times as long: their rows share one set of the L1 cache."""


class Blocks(NamedTuple):
    """How the tiles of a batch are cut; blocks of an image differ by one row or column at most."""

    images: int
    """Images of a block."""
    batches: int
    blocks_h: int
    blocks_w: int
    block_h: int
    block_w: int
    """Tiles of a block, at most."""


def cut_tiles(N: int, OH: int, OW: int, most: int) -> Blocks:
    """Blocks of so many tiles at most."""
    rows, columns = max(-(-OH // STEP), 1), max(-(-OW // STEP), 1)
    blocks_w = -(-columns // most)
    block_w = -(-columns // blocks_w)
    blocks_h = -(-rows // max(most // block_w, 1))
    images = 1
    if blocks_w == blocks_h == 1:
        images = max(min(most // (rows * columns), N), 1)
        images = -(-N // max(-(-N // images), 1))
    return Blocks(
        images, -(-N // max(images, 1)), blocks_h, blocks_w, -(-rows // blocks_h), block_w
    )  # fmt: skip


def slice_line(channels: int, dtype: np.dtype[np.floating]) -> int:
    """Elements from a tile's channels to the next: whole slices, an odd number of them."""
    side = SLICE_BYTES // dtype.itemsize
    return (-(-channels // side) | 1) * side


@inner
def find_block(
    index: int, OH: int, OW: int, blocks_h: int, blocks_w: int
) -> tuple[int, int, int, int, int]:
    """The batch that a block is of, its first row and column of tiles, and how many it has."""
    column, rest = index % blocks_w, index // blocks_w
    row, batch = rest % blocks_h, rest // blocks_h
    rows, columns = (OH + STEP - 1) // STEP, (OW + STEP - 1) // STEP
    top, left = rows * row // blocks_h, columns * column // blocks_w
    height = rows * (row + 1) // blocks_h - top
    return batch, top, left, height, columns * (column + 1) // blocks_w - left


def loader(matrix: Matrix) -> Callable[..., None]:
    """A function that transforms what a block of tiles sees, for a transform."""
    transform, side = transform_by(matrix), len(matrix[0])

    @inner
    def load(
        source: Array, start: int, image_step: int, images: int, H: int, W: int, channels: int,
        ih: int, iw: int, height: int, across: int, turned: Array, turned_start: int,
        local: Array, local_start: int, out: Array, out_start: int, line: int, step: int,
    ) -> None:  # fmt: skip
        """out[point, tile, :] = the transform of some images' tiles, from pixel (ih, iw) on."""
        part = SLICE_BYTES // source.itemsize
        rows, columns = (height - 1) * STEP + side, (across - 1) * STEP + side
        # What lies outside of the image stays zero, slice after slice.
        fill_line(local, local_start, rows * columns * part, 0)
        for image in range(images):
            tiles = out_start + image * height * across * line
            for c in range(0, channels, part):
                _turn(
                    source, start + image * image_step + c * H * W, H, W, ih, iw,
                    min(part, channels - c), turned, turned_start,
                    local, local_start, rows, columns,
                )  # fmt: skip
                for row in range(height):
                    first = local_start + row * STEP * columns * part
                    target = tiles + row * across * line + c
                    for column in range(across):
                        transform(
                            part // lanes(source),
                            local, first + column * STEP * part, columns * part, part,
                            out, target + column * line, SIDE * step, step,
                        )  # fmt: skip

    return load


@inner
def _turn(
    source: Array, start: int, H: int, W: int, ih: int, iw: int, channels: int,
    turned: Array, turned_start: int, local: Array, local_start: int, rows: int, columns: int,
) -> None:  # fmt: skip
    """local[r, q, :] = source[:, ih + r, iw + q] where that is inside; the rest is left alone."""
    top, left = max(ih, 0), max(iw, 0)
    seen_h, seen_w = min(ih + rows, H) - top, min(iw + columns, W) - left
    if seen_h <= 0 or seen_w <= 0:
        return
    side, line = lanes(source), SLICE_BYTES // source.itemsize
    for c in range(0, channels, side):
        first, count = start + (c * H + top) * W + left, min(side, channels - c)
        # Whole rows are one stretch: their length need not be that of whole vectors.
        stretch, stretches = (seen_h * W, 1) if seen_w == W else (seen_w, seen_h)
        for r in range(stretches):
            transpose(
                source, first + r * W, H * W, count, stretch,
                turned, turned_start + r * stretch * line + c, line,
            )  # fmt: skip
    for r in range(seen_h):
        target = ((top - ih + r) * columns + left - iw) * line
        copy_line(
            turned, turned_start + r * seen_w * line, local, local_start + target, seen_w * line
        )
