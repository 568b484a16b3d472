"""Copying into the forms that the tile reads: zero-padded local images, transposed blocks."""

from fastscratch.kernels.numba_jit.compile import inner
from fastscratch.kernels.numba_jit.lines import copy_steps
from fastscratch.kernels.numba_jit.tile import transpose_block, transpose_part
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes
from fastscratch.types import Array


@inner
def copy_window(
    x: Array, x_start: int, H: int, W: int, ih_start: int, iw_start: int, channels: int,
    local: Array, local_start: int, height: int, width: int, channel_stride: int,
) -> None:  # fmt: skip
    """local[c, r, q] = x[c, ih_start + r, iw_start + q], and 0 where that lies outside x."""
    before = min(max(-iw_start, 0), width)
    after = min(max(W - iw_start, before), width)
    if iw_start == 0 and width == W:
        # Whole rows: one long row.
        first = min(max(-ih_start, 0), height)
        inside = max(min(H - ih_start, height), first) - first
        for c in range(channels):
            source, target = x_start + (c * H + ih_start + first) * W, local_start
            target += c * channel_stride
            fill_line(local, target, first * W, 0)
            copy_line(x, source, local, target + first * W, inside * W)
            fill_line(local, target + (first + inside) * W, (height - first - inside) * W, 0)
        return
    for c in range(channels):
        for r in range(height):
            ih = ih_start + r
            target = local_start + c * channel_stride + r * width
            if ih < 0 or ih >= H:
                fill_line(local, target, width, 0)
                continue
            source = x_start + (c * H + ih) * W + iw_start
            fill_line(local, target, before, 0)
            copy_line(x, source + before, local, target + before, after - before)
            fill_line(local, target + after, width - after, 0)


@inner
def copy_window_split(
    x: Array, x_start: int, H: int, W: int, ih_start: int, iw_start: int, channels: int,
    local: Array, local_start: int, height: int, width: int, channel_stride: int,
    step_h: int, step_w: int, part_height: int, part_width: int,
) -> None:  # fmt: skip
    """`copy_window` taken apart: element (r, q) goes to part (r % step_h, q % step_w).

    Each part is an image of its own, in which pixels that windows ``step`` apart see are
    neighbours.
    """
    part = part_height * part_width
    for c in range(channels):
        for q in range(step_w):
            # What a division gives is kept from row to row: with four of them for each row, padding
            # planes of 32x32 took as long as a fifth of the products of 16 channels.
            count = (width - q + step_w - 1) // step_w
            first = iw_start + q
            before = min(max((-first + step_w - 1) // step_w, 0), count)
            after = min(max((W - first + step_w - 1) // step_w, before), count)
            source = x_start + (c * H + ih_start) * W + first + before * step_w
            column = local_start + c * channel_stride + q * part
            phase, row = 0, 0
            for ih in range(ih_start, ih_start + height):
                target = column + phase * step_w * part + row * part_width
                if ih < 0 or ih >= H:
                    fill_line(local, target, count, 0)
                else:
                    fill_line(local, target, before, 0)
                    if step_w == 1:
                        copy_line(x, source, local, target + before, after - before)
                    else:
                        copy_steps(x, source, step_w, local, target + before, 1, after - before)
                    fill_line(local, target + after, count - after, 0)
                source += W
                phase += 1
                if phase == step_h:
                    phase, row = 0, row + 1


@inner
def transpose(
    src: Array, src_start: int, src_stride: int, rows: int, cols: int,
    dst: Array, dst_start: int, dst_stride: int,
) -> None:  # fmt: skip
    """dst[c, r] = src[r, c], by squares of vectors and parts of them."""
    side = lanes(src)
    for c in range(0, cols, side):
        for r in range(0, rows, side):
            height, across = min(side, rows - r), min(side, cols - c)
            source, target = src_start + r * src_stride + c, dst_start + c * dst_stride + r
            if height == side and across == side:
                transpose_block(src, source, src_stride, dst, target, dst_stride)
            else:
                transpose_part(src, source, src_stride, height, across, dst, target, dst_stride)
