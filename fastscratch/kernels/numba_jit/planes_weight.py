"""Convolution backward weight with few output channels in a group: dot products along pixels.

::

    dw[oc, c, tap] = sum over n of <dout[n, oc], x[n, c] seen through the tap>

x is copied into a local image that is taken apart by the stride, dout into lines of the same
pitch with zeros between the rows, so that each product runs along one line (see ``planes``).
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import Constants, In, Offsets, Out, driver, inner
from fastscratch.kernels.numba_jit.lines import dot_lines, sum_line
from fastscratch.kernels.numba_jit.phases import TASKS
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line
from fastscratch.kernels.numba_jit.window import copy_window_split
from fastscratch.types import Array, Padding, Pair

LINE = 2048
"""Elements of a line of pixels at most: a sum is no longer, and line and image stay in L1."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints; names as in ``correlate_weight``."""

    N: int
    groups: int
    C: int
    OC: int
    H: int
    W: int
    OH: int
    OW: int
    taps: int
    step_h: int
    step_w: int
    ih_start: int
    iw_start: int
    block_h: int
    block_w: int
    blocks_h: int
    blocks_w: int
    local_h: int
    local_w: int
    part_h: int
    part_w: int


class Plan(NamedTuple):
    """What a shape alone decides."""

    adding: Constants
    """Table and extents for the driver."""
    work: int
    """Multiply-adds."""
    local_size: int
    line_size: int
    """Elements of scratch that a worker needs."""


def suits(channels: int, groups: int) -> bool:
    """Whether it is better computed here: the groups are the tasks, so there must be many."""
    return channels <= 2 and groups >= TASKS


def plan(
    dout_shape: tuple[int, ...], x_shape: tuple[int, ...], dw_shape: tuple[int, ...],
    stride: Pair, padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Blocks of rows (of parts of rows, if they are long) that make a line."""
    N, OC, OH, OW = dout_shape
    _, C, KH, KW = dw_shape
    reach_h, reach_w = (KH - 1) * dilation[0] + 1, (KW - 1) * dilation[1] + 1
    block_w = OW
    while block_w > LINE // 4:
        block_w = -(-block_w // 2)
    local_w = (block_w - 1) * stride[1] + reach_w
    part_w = -(-local_w // stride[1])
    block_h = max(min(LINE // part_w, OH), 1)
    local_h = (block_h - 1) * stride[0] + reach_h
    part_h = -(-local_h // stride[0])
    part = part_h * part_w
    offsets = []
    for kh in range(KH):
        for kw in range(KW):
            r, q = kh * dilation[0], kw * dilation[1]
            index = r % stride[0] * stride[1] + q % stride[1]
            offsets.append(index * part + r // stride[0] * part_w + q // stride[1])
    extents = Extents._make((
        N, groups, C, OC // groups, *x_shape[2:], OH, OW, KH * KW, *stride,
        -padding[0], -padding[2], block_h, block_w, -(-OH // block_h), -(-OW // block_w),
        local_h, local_w, part_h, part_w,
    ))  # fmt: skip
    return Plan(
        Constants(np.array(offsets, np.intp), extents), N * OC * C * KH * KW * OH * OW,
        stride[0] * stride[1] * part, block_h * part_w,
    )  # fmt: skip


@inner
def _block(
    group: int, n: int, top: int, left: int, dout: Array, x: Array, dw: Array, db: Array,
    tap_offsets: Array, local: Array, local_start: int, lines: Array, line_start: int, e: Extents,
) -> None:  # fmt: skip
    """Add one block's dot products."""
    height, across = min(e.block_h, e.OH - top), min(e.block_w, e.OW - left)
    length = (height - 1) * e.part_w + across
    for oc in range(group * e.OC, (group + 1) * e.OC):
        fill_line(lines, line_start, length, 0)
        for r in range(height):
            source = ((n * e.groups * e.OC + oc) * e.OH + top + r) * e.OW + left
            copy_line(dout, source, lines, line_start + r * e.part_w, across)
        db[oc] += sum_line(lines, line_start, length)
        for c in range(e.C):
            copy_window_split(
                x, ((n * e.groups + group) * e.C + c) * e.H * e.W, e.H, e.W,
                top * e.step_h + e.ih_start, left * e.step_w + e.iw_start, 1,
                local, local_start, e.local_h, e.local_w, 0,
                e.step_h, e.step_w, e.part_h, e.part_w,
            )  # fmt: skip
            for tap in range(e.taps):
                start = local_start + tap_offsets[tap]
                total = dot_lines(lines, line_start, local, start, length)
                if not np.isfinite(total):
                    # Between the rows, zero times an infinity of x may have made a NaN.
                    total = lines.dtype.type(0)
                    for r in range(height):
                        row = r * e.part_w
                        total += dot_lines(lines, line_start + row, local, start + row, across)
                dw[(oc * e.C + c) * e.taps + tap] += total


@driver
def correlate_planes_weight(
    worker: int, workers: int, dout: In, x: In, dw: Out, db: Out, local: Out, lines: Out,
    tap_offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """A task is a group."""
    local_start = worker * (local.size // workers)
    line_start = worker * (lines.size // workers)
    for group in range(worker, e.groups, workers):
        fill_line(db, group * e.OC, e.OC, 0)
        fill_line(dw, group * e.OC * e.C * e.taps, e.OC * e.C * e.taps, 0)
        for n in range(e.N):
            for top in range(0, e.OH, e.block_h):
                for left in range(0, e.OW, e.block_w):
                    _block(
                        group, n, top, left, dout, x, dw, db, tap_offsets,
                        local, local_start, lines, line_start, e,
                    )  # fmt: skip
