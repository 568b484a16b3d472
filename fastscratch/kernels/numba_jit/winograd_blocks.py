"""Tiles of the minimal-filtering convolutions: how they are cut into blocks, and what they see.

A tile is m x m outputs, which see (m + 2) x (m + 2) of the source. A block is a rectangle of tiles
of an image, or all tiles of some images. What it sees is turned round, channels last, slice after
slice of the channels: every transform is then of whole vectors, whatever the image's extents are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import inner
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.kernels.numba_jit.winograd_points import Filtering
from fastscratch.kernels.numba_jit.winograd_tile import kind_of, transform_by
from fastscratch.types import Array

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

    @property
    def blocks(self) -> int:
        """Blocks of all images."""
        return self.batches * self.blocks_h * self.blocks_w

    @property
    def tiles(self) -> int:
        """Tiles of a block, at most."""
        return self.images * self.block_h * self.block_w

    def pixels(self, step: int, side: int) -> int:
        """Pixels that the tiles of one image see, where a tile sees ``side`` on either axis."""
        return ((self.block_h - 1) * step + side) * ((self.block_w - 1) * step + side)


def cut_tiles(N: int, OH: int, OW: int, step: int, most: int) -> Blocks:
    """Blocks of so many tiles at most."""
    rows, columns = max(-(-OH // step), 1), max(-(-OW // step), 1)
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
    index: int, OH: int, OW: int, step: int, blocks_h: int, blocks_w: int
) -> tuple[int, int, int, int, int]:
    """The batch that a block is of, its first row and column of tiles, and how many it has."""
    column, rest = index % blocks_w, index // blocks_w
    row, batch = rest % blocks_h, rest // blocks_h
    rows, columns = (OH + step - 1) // step, (OW + step - 1) // step
    top, left = rows * row // blocks_h, columns * column // blocks_w
    height = rows * (row + 1) // blocks_h - top
    return batch, top, left, height, columns * (column + 1) // blocks_w - left


def loader(filtering: Filtering, factor: str, **options: Any) -> Callable[..., None]:
    """A function that transforms what a block of tiles sees, as a factor of a filtering."""
    kind = kind_of(filtering, factor, **options)
    transform, seen, step, points = transform_by(kind), kind.side, filtering.step, filtering.line

    @inner
    def load(
        source: Array, start: int, image_step: int, images: int, H: int, W: int, channels: int,
        ih: int, iw: int, height: int, across: int, turned: Array, turned_start: int,
        local: Array, local_start: int, out: Array, out_start: int, line: int, point_step: int,
    ) -> None:  # fmt: skip
        """out[point, tile, :] = the transform of some images' tiles, from pixel (ih, iw) on."""
        part = SLICE_BYTES // source.itemsize
        rows, columns = (height - 1) * step + seen, (across - 1) * step + seen
        # What lies outside of the image stays zero, slice after slice.
        fill_line(local, local_start, rows * columns * part, 0)
        for image in range(images):
            tiles = out_start + image * height * across * line
            for c in range(0, channels, part):
                if channels - c < part:  # nothing is computed on what the memory was left with
                    fill_line(turned, turned_start, rows * columns * part, 0)
                _turn(
                    source, start + image * image_step + c * H * W, H, W, ih, iw,
                    min(part, channels - c), turned, turned_start,
                    local, local_start, rows, columns,
                )  # fmt: skip
                for row in range(height):
                    transform(
                        across, part // lanes(source),
                        local, local_start + row * step * columns * part,
                        columns * part, part, step * part,
                        out, tiles + row * across * line + c, points * point_step, point_step, line,
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
