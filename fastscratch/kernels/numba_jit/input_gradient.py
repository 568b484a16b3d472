"""Convolution backward input with few channels, as of a first layer: sums of shifted rows.

::

    sums[c, kw, t, u] = sum over oc, kh of dout[oc, oh, u]*weight[oc, c, kh, kw]
    dx[c, t, q*stride_w + phase] = sum over kw of sums[c, kw, t, q + shift[kw]]

With one to a few channels, a tile of channels would be nearly empty. Here its rows are the taps of
a kernel's row, (c, kw), and its vectors run along the rows of dout: 7x7 of stride 2 on three
channels took 0.6 of the time of the correlations of its phases. Zeros between the rows of the local
image make the sums of all rows one long line. Its twin is ``src_kernels/input_gradient.pxd``.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import Constants, In, Offsets, Out, driver, inner
from fastscratch.kernels.numba_jit.lines import add_line, copy_steps, get, put
from fastscratch.kernels.numba_jit.phases import (
    CHUNK,
    LOCAL_BYTES,
    odd_lines,
    wanted_tasks,
)
from fastscratch.kernels.numba_jit.tile import PIXEL_ROWS, PIXEL_VECTORS, tile_pixels
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window
from fastscratch.types import Array, Padding, Pair

CHANNELS = 6
"""Channels that are few."""

DEPTH = 16
"""Multiply-adds of a sum that repay the addition of the sums."""

LARGEST_BYTES = 2 * 1024 * 1024
"""What one row of a block may take, over all channels."""

ROW_FIELDS = 5
FIRST, POSITIONS, LOW, TAP_FIRST, TAPS = range(ROW_FIELDS)
"""Columns of the table of phases of rows: the first row, how many there are, the first row of dout
that the first of them sees, its taps' place in the order of all phases' taps, and their number."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    groups: int
    C: int
    OC: int
    """Channels of a group."""
    H: int
    W: int
    OH: int
    OW: int
    KH: int
    KW: int
    phases: int
    step_h: int
    step_w: int
    block: int
    blocks: int
    """Rows of a task; tasks that the rows of a phase are cut into."""
    before: int
    pitch: int
    """Zeros before a row of the local image; from one row to the next."""
    local_h: int
    local_plane: int
    span: int
    """Elements from one row of sums to the next."""


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
    """Elements of scratch: shared for the weights, for each worker the others."""


class Axis(NamedTuple):
    """The positions of one phase along an axis of dx."""

    first: int
    positions: int
    taps: tuple[tuple[int, int], ...]
    """Index of each tap, and what is to be added to a position to get the one in dout."""


def _axis(extent: int, kernel: int, stride: int, dilation: int, padding: int) -> list[Axis]:
    """The phases along one axis."""
    phases = []
    for first in range(min(stride, extent)):
        offsets = [divmod(first + padding - k * dilation, stride) for k in range(kernel)]
        taps = tuple((k, shift) for k, (shift, rest) in enumerate(offsets) if rest == 0)
        phases.append(Axis(first, -(-(extent - first) // stride), taps))
    return phases


def _margins(columns: list[Axis], extent: int) -> Pair:
    """Zeros that the shifted rows see before and after a row of dout."""
    before = after = 0
    for phase in columns:
        for _, shift in phase.taps:
            before = max(before, -shift)
            after = max(after, phase.positions + shift - extent)
    return before, after


def plan(
    dout: tuple[int, ...], weight: tuple[int, ...], dx: tuple[int, ...], stride: Pair,
    padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> Plan | None:  # fmt: skip
    """Blocks of rows; None if it is not the way for this shape."""
    N, _, H, W = dx
    OC, C, KH, KW = weight
    OC //= groups
    if C > CHANNELS or KW == 1 or OC * KH < DEPTH or 0 in dx:
        return None
    rows = _axis(H, KH, stride[0], dilation[0], padding[0])
    columns = _axis(W, KW, stride[1], dilation[1], padding[2])
    before, after = _margins(columns, dout[3])
    pitch = dout[3] + max(before, after)
    lows = [min((shift for _, shift in phase.taps), default=0) for phase in rows]
    reach = max(
        max((shift for _, shift in phase.taps), default=0) - low + 1
        for phase, low in zip(rows, lows, strict=True)
    )
    row_bytes = OC * pitch * dtype.itemsize
    if max(row_bytes * reach, C * KW * pitch * dtype.itemsize) > LARGEST_BYTES:
        return None
    positions = rows[0].positions
    work = N * OC * groups * C * KH * KW * dout[2] * dout[3]
    wanted = -(-wanted_tasks(work) // (N * groups * len(rows)))
    fitting = min(LOCAL_BYTES // row_bytes - reach, LOCAL_BYTES // (C * KW * pitch * 4))
    block = max(min(fitting, -(-positions // min(wanted, positions))), 1)
    slack = max(PIXEL_VECTORS) * lanes_of(dtype)
    # The zeros before a row are those behind the one above it; the last has some of its own.
    local_h = block + reach
    plane = odd_lines(local_h * pitch, dtype.itemsize)
    span = before + block * pitch + slack

    table = np.zeros((len(rows), ROW_FIELDS), np.intp)
    order: list[int] = []
    k_offsets = []
    for line, phase, low in zip(table, rows, lows, strict=True):
        line[:] = phase.first, phase.positions, low, len(order), len(phase.taps)
        order += [kh for kh, _ in phase.taps]
        places = np.array([(shift - low) * pitch for _, shift in phase.taps], np.intp)
        k_offsets.append(np.add.outer(np.arange(OC) * plane, places).ravel())
    shifts = np.array(
        [value for phase in columns for value in (phase.positions, len(phase.taps), *(
            item for tap in phase.taps for item in tap
        ))], np.intp,
    )  # fmt: skip
    extents = Extents(
        N, groups, C, OC, H, W, dout[2], dout[3], KH, KW, len(rows), *stride,
        block, -(-positions // block), before, pitch, local_h, plane, span,
    )  # fmt: skip
    offsets = np.concatenate(k_offsets).astype(np.intp)
    return Plan(
        Constants(np.array(order, np.intp), table, extents),
        Constants(table, shifts, offsets, extents), work,
        groups * OC * C * KH * KW, OC * plane + slack, (C * KW + 1) * span,
    )  # fmt: skip


@inner
def _sum_rows(
    packed: Array, weights: int, k_offsets: Array, k_first: int, depth: int,
    local: Array, local_start: int, sums: Array, sums_start: int, pixels: int, e: Extents,
) -> None:  # fmt: skip
    """The sums of each tap of a kernel's row, for one block."""
    side = lanes(local)
    chunks = max((depth + CHUNK - 1) // CHUNK, 1)
    total = e.C * e.KW
    panels = (total + PIXEL_ROWS - 1) // PIXEL_ROWS
    fill_line(sums, sums_start, total * e.span, 0)
    for panel in range(panels):
        r = total * panel // panels
        count = total * (panel + 1) // panels - r
        for p in range(0, pixels, PIXEL_VECTORS[count] * side):
            for chunk in range(chunks):
                tile_pixels(
                    count, packed, weights + r * depth - k_first, depth, k_offsets,
                    k_first + depth * chunk // chunks, k_first + depth * (chunk + 1) // chunks,
                    local, local_start + p, sums, sums_start + r * e.span + p, e.span,
                )  # fmt: skip


@inner
def _task(
    task: int, dout: Array, packed: Array, dx: Array, phases: Array, shifts: Array,
    k_offsets: Array, local: Array, local_start: int, sums: Array, sums_start: int, e: Extents,
) -> None:  # fmt: skip
    """A block of rows of one phase, image and group."""
    block, rest = task % e.blocks, task // e.blocks
    phase, rest = rest % e.phases, rest // e.phases
    group, n = rest % e.groups, rest // e.groups
    base = phase * ROW_FIELDS
    top = block * e.block
    height = min(e.block, phases[base + POSITIONS] - top)
    if height <= 0:
        return
    taps, first = phases[base + TAPS], phases[base + TAP_FIRST]
    depth = e.OC * taps
    copy_window(
        dout, (n * e.groups + group) * e.OC * e.OH * e.OW, e.OH, e.OW,
        top + phases[base + LOW], -e.before, e.OC,
        local, local_start, e.local_h, e.pitch, e.local_plane,
    )  # fmt: skip
    _sum_rows(
        packed, (group * e.KH + first) * e.OC * e.C * e.KW, k_offsets, e.OC * first, depth,
        local, local_start, sums, sums_start, height * e.pitch + e.before, e,
    )  # fmt: skip
    line = sums_start + e.C * e.KW * e.span
    for c in range(e.C):
        rows = ((n * e.groups + group) * e.C + c) * e.H + phases[base + FIRST] + top * e.step_h
        entry = 0
        for column in range(min(e.step_w, e.W)):
            positions, count = shifts[entry], shifts[entry + 1]
            entry += 2
            fill_line(sums, line, height * e.pitch, 0)
            for _ in range(count):
                source = sums_start + (c * e.KW + shifts[entry]) * e.span
                source += e.before + shifts[entry + 1]
                add_line(sums, source, sums, line, (height - 1) * e.pitch + positions)
                entry += 2
            for t in range(height):
                target = (rows + t * e.step_h) * e.W + column
                if e.step_w == 1:
                    copy_line(sums, line + t * e.pitch, dx, target, positions)
                else:
                    copy_steps(sums, line + t * e.pitch, 1, dx, target, e.step_w, positions)


@driver
def pack(
    worker: int, workers: int, weight: In, packed: Out, tap_order: Offsets, phases: Offsets,
    e: Extents,
) -> None:  # fmt: skip
    """packed[group, phase, (c, kw), oc, tap] = the weights."""
    taps = e.KH * e.KW
    for group in range(worker, e.groups, workers):
        for phase in range(e.phases):
            base = phase * ROW_FIELDS
            first, count = phases[base + TAP_FIRST], phases[base + TAPS]
            target = (group * e.KH + first) * e.OC * e.C * e.KW
            for c in range(e.C):
                for kw in range(e.KW):
                    for oc in range(e.OC):
                        source = ((group * e.OC + oc) * e.C + c) * taps + kw
                        for t in range(count):
                            kh = get(tap_order, first + t)
                            put(packed, target + t, get(weight, source + kh * e.KW))
                        target += count


@driver
def shift_and_add(
    worker: int, workers: int, dout: In, packed: In, dx: Out, local: Out, sums: Out,
    phases: Offsets, shifts: Offsets, k_offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    local_start = worker * (local.size // workers)
    sums_start = worker * (sums.size // workers)
    for task in range(worker, e.N * e.groups * e.phases * e.blocks, workers):
        _task(
            task, dout, packed, dx, phases, shifts, k_offsets, local, local_start,
            sums, sums_start, e,
        )  # fmt: skip
