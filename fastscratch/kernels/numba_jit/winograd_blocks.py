"""Tiles of the minimal-filtering convolutions: how they are cut into blocks, and what they see.

A tile is m x m outputs, which see m + taps - 1 pixels of the source on either axis, or a line of m
of them. A block is a rectangle of tiles of an image, or all tiles of some images. What it sees is
turned round, channels last, slice after slice of the channels: every transform is then of whole
vectors, whatever the image's extents are.

A dilated window sees every ``dilation``-th row and column, so that an image is as many *phases* on
either axis. Those of the rows count as images; those of the columns are parts of each row of a
block's tiles, one behind the other, as their pixels lie side by side.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import inner
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.kernels.numba_jit.winograd_pieces import (
    ALONG_COLUMNS,
    Cut,
    axes,
    on_axes,
    piece_at,
    piece_start,
    places,
)
from fastscratch.kernels.numba_jit.winograd_points import Filtering
from fastscratch.kernels.numba_jit.winograd_tile import kind_of, transform_by
from fastscratch.types import Array, Pair

SLICE_BYTES = 64
"""What a pixel's channels in a slice take. With slices of 256 bytes, turning planes that lie 4 KiB
apart takes three times as long: their rows share one set of the L1 cache."""


class Blocks(NamedTuple):
    """How the tiles of a batch are cut; blocks of an image differ by one row or column at most."""

    images: int
    """Images of a block, or phases of the rows of images."""
    batches: int
    blocks_h: int
    blocks_w: int
    block_h: int
    block_w: int
    """Tiles of a block, at most, for each phase of the columns."""
    dilation_w: int

    @property
    def blocks(self) -> int:
        """Blocks of all images."""
        return self.batches * self.blocks_h * self.blocks_w

    @property
    def tiles(self) -> int:
        """Tiles of a block, at most."""
        return self.images * self.block_h * self.block_w * self.dilation_w

    def pixels(self, steps: Pair, side: int, cut: Cut, lines: int) -> int:
        """Pixels that the tiles of one image see, where a tile sees ``side`` along its axes.

        Through windows that are cut into pieces, those of all of them.
        """
        sides, reaches = on_axes(side, 1, lines), on_axes(cut.reach, 0, lines)
        rows = _seen_pixels(self.block_h, steps[0], sides[0], cut.stride, reaches[0])
        columns = _seen_pixels(self.block_w, steps[1], sides[1], cut.stride, reaches[1])
        return rows * columns * self.dilation_w


def cut_tiles(N: int, OH: int, OW: int, dilation: Pair, steps: Pair, most: int) -> Blocks:
    """Blocks of so many tiles at most, or of one row and column of each phase."""
    dilation_h, dilation_w = dilation
    rows = max(-(-OH // (dilation_h * steps[0])), 1)
    columns = max(-(-OW // (dilation_w * steps[1])), 1)
    blocks_w = min(-(-columns * dilation_w // most), columns)
    block_w = -(-columns // blocks_w)
    blocks_h = -(-rows // max(most // (block_w * dilation_w), 1))
    images, of_all = 1, N * dilation_h
    if blocks_w == blocks_h == 1:
        images = max(min(most // (rows * columns * dilation_w), of_all), 1)
        images = -(-of_all // max(-(-of_all // images), 1))
    return Blocks(
        images, -(-of_all // max(images, 1)), blocks_h, blocks_w, -(-rows // blocks_h), block_w,
        dilation_w,
    )  # fmt: skip


def slice_line(channels: int, dtype: np.dtype[np.floating]) -> int:
    """Elements from a tile's channels to the next: whole slices, an odd number of them."""
    side = SLICE_BYTES // dtype.itemsize
    return (-(-channels // side) | 1) * side


def _seen_pixels(tiles: int, step: int, side: int, stride: int, reach: int) -> int:
    """Pixels that tiles side by side see along an axis, dilation aside."""
    return ((tiles - 1) * step + side - 1) * stride + 1 + reach


seen_pixels = inner(_seen_pixels)


@inner
def phase_outputs(extent: int, dilation: int, phase: int) -> int:
    """The outputs of a phase: none where there are more phases than outputs."""
    return max((extent - phase + dilation - 1) // dilation, 0)


@inner
def find_block(
    index: int, OH: int, OW: int, step_h: int, step_w: int, blocks_h: int, blocks_w: int
) -> tuple[int, int, int, int, int]:  # fmt: skip
    """The batch that a block is of, its first row and column of tiles, and how many it has.

    A tile's outputs, with those of the other phases, take up ``step_h`` x ``step_w``.
    """
    column, rest = index % blocks_w, index // blocks_w
    row, batch = rest % blocks_h, rest // blocks_h
    rows, columns = (OH + step_h - 1) // step_h, (OW + step_w - 1) // step_w
    top, left = rows * row // blocks_h, columns * column // blocks_w
    height = rows * (row + 1) // blocks_h - top
    return batch, top, left, height, columns * (column + 1) // blocks_w - left


def loader(filtering: Filtering, factor: str, **options: Any) -> Callable[..., None]:
    """A function that transforms what a block of tiles sees, as a factor of a filtering."""
    kind = kind_of(filtering, factor, **options)
    transform, side, step, points = transform_by(kind), kind.side, filtering.step, filtering.line
    taps = filtering.taps

    @inner
    def load(
        source: Array, start: int, image_step: int, first: int, images: int, H: int, W: int,
        channels: int, origin_h: int, origin_w: int, dilation_h: int, dilation_w: int, top: int,
        left: int, height: int, across: int, stride: int, pieces: int, whole: int,
        lines: int, piece_step: int, turned: Array, turned_start: int,
        local: Array, local_start: int, out: Array, out_start: int, line: int, point_step: int,
    ) -> None:  # fmt: skip
        """out[point, tile, :] = the transform of the tiles of some images, or of their phases.

        Row and column 0 of the first phases of tiles are ``origin_h`` and ``origin_w`` of an image.
        The channels of a piece of the windows follow those of the one before.
        """
        part = SLICE_BYTES // source.itemsize
        reach_h, reach_w = axes(piece_start(pieces - 1, stride, taps, whole), 0, lines)
        (step_h, step_w), (side_h, side_w) = axes(step, 1, lines), axes(side, 1, lines)
        rows = seen_pixels(height, step_h, side_h, stride, reach_h)
        columns = seen_pixels(across, step_w, side_w, stride, reach_w) * dilation_w
        pixel, row_step = stride * dilation_w * part, stride * columns * part
        if lines == ALONG_COLUMNS:  # the axis that is transformed
            row_step = pixel
        iw = left * step_w * stride * dilation_w + origin_w
        # What lies outside of the image stays zero, slice after slice.
        fill_line(local, local_start, rows * columns * part, 0)
        for i in range(images):
            image, phase = (first + i) // dilation_h, (first + i) % dilation_h
            ih = top * step_h * stride * dilation_h + phase + origin_h
            if dilation_h > 1:  # nor is every phase inside where another is
                fill_line(local, local_start, rows * columns * part, 0)
            for c in range(0, channels, part):
                if channels - c < part:  # nothing is computed on what the memory was left with
                    fill_line(turned, turned_start, rows * columns * part, 0)
                _turn(
                    source, start + image * image_step + c * H * W, H, W, ih, iw, dilation_h,
                    min(part, channels - c), turned, turned_start,
                    local, local_start, rows, columns,
                )  # fmt: skip
                tiles = out_start + i * height * dilation_w * across * line
                for row in range(height):
                    for column in range(dilation_w):
                        for place in range(places(pieces, lines)):
                            corner = row * step_h * stride * columns + column
                            if pieces > 1:
                                piece_h, piece_w = piece_at(place, pieces, whole, lines)
                                corner += piece_start(piece_h, stride, taps, whole) * columns
                                corner += piece_start(piece_w, stride, taps, whole) * dilation_w
                            transform(
                                across, part // lanes(source), local, local_start + corner * part,
                                row_step, pixel, step_w * pixel,
                                out, tiles + place * piece_step + c,
                                points * point_step, point_step, line,
                            )  # fmt: skip
                        tiles += across * line

    return load


@inner
def _turn(
    source: Array, start: int, H: int, W: int, ih: int, iw: int, step: int, channels: int,
    turned: Array, turned_start: int, local: Array, local_start: int, rows: int, columns: int,
) -> None:  # fmt: skip
    """local[r, q, :] = source[:, ih + r*step, iw + q], where inside; the rest is left alone."""
    first_row = max((step - 1 - ih) // step, 0)
    seen_h = min((H - 1 - ih) // step + 1, rows) - first_row
    left = max(iw, 0)
    seen_w = min(iw + columns, W) - left
    if seen_h <= 0 or seen_w <= 0:
        return
    side, line = lanes(source), SLICE_BYTES // source.itemsize
    for c in range(0, channels, side):
        count = min(side, channels - c)
        first = start + (c * H + ih + first_row * step) * W + left
        # Whole rows are one stretch: their length need not be that of whole vectors.
        stretch, stretches = (seen_h * W, 1) if seen_w == step * W else (seen_w, seen_h)
        for r in range(stretches):
            transpose(
                source, first + r * step * W, H * W, count, stretch,
                turned, turned_start + r * stretch * line + c, line,
            )  # fmt: skip
    for r in range(seen_h):
        target = ((first_row + r) * columns + left - iw) * line
        copy_line(
            turned, turned_start + r * seen_w * line, local, local_start + target, seen_w * line
        )
