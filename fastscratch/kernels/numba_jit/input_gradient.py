"""Convolution backward input with few channels, as of a first layer: sums of shifted rows.

::

    sums[c, kw, t, u] = sum over oc, kh of dout[oc, oh, u]*weight[oc, c, kh, kw]
    dx[c, t, q*stride_w + phase] = sum over kw of sums[c, kw, t, q + shift[kw]]

With one to a few channels, a tile of channels would be nearly empty. Here its rows are the taps of
a kernel's row, (c, kw), and its vectors run along the rows of dout, which make one long line: 7x7
of stride 2 on three channels took 0.6 of the time of the correlations of its phases. Zeros between
the rows cost half as much again: what a shift takes from another row is masked away instead. Its
twin is ``src_kernels/input_gradient.pxd``.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    Out,
    Tasks,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.lines import add_shifted, copy_steps, get, put
from fastscratch.kernels.numba_jit.phases import (
    CHUNK,
    LOCAL_BYTES,
    odd_lines,
    wanted_tasks,
)
from fastscratch.kernels.numba_jit.tile import WIDE_ROWS, WIDE_VECTORS, tile_wide
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window
from fastscratch.types import Array, Padding, Pair

CHANNELS = 6
"""Channels that are few."""

DEPTH = 16
"""Multiply-adds of a sum that repay the addition of the sums."""

LARGEST_BYTES = 2 * 1024 * 1024
"""What one row of a block may take, over all channels."""

FEW_ROWS, LEAST_CHUNK = 2, 8
"""Where fewer rows than this many times those that one sees fit the cache, chunks of the output
channels are halved, down to the second number: each block copies what its first row sees anew."""

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
    chunk: int
    chunks: int
    """Output channels that are copied and summed at once, at most; how often."""
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
    lows = [min((shift for _, shift in phase.taps), default=0) for phase in rows]
    reach = max(
        max((shift for _, shift in phase.taps), default=0) - low + 1
        for phase, low in zip(rows, lows, strict=True)
    )
    most = max(len(phase.taps) for phase in rows)
    row_bytes = dout[3] * dtype.itemsize
    if max(OC * row_bytes * reach, C * KW * row_bytes) > LARGEST_BYTES:
        return None
    positions = rows[0].positions
    work = N * OC * groups * C * KH * KW * dout[2] * dout[3]
    wanted = -(-wanted_tasks(work) // (N * groups * len(rows)))
    chunks = max(-(-OC * most // CHUNK), 1)
    while True:
        chunk = -(-OC // chunks)
        fitting = LOCAL_BYTES // (chunk * row_bytes) - reach
        if fitting >= min(FEW_ROWS * reach, positions) or chunk <= LEAST_CHUNK:
            break
        chunks *= 2
    fitting = min(fitting, LOCAL_BYTES // (C * KW * row_bytes))
    block = max(min(fitting, -(-positions // min(wanted, positions))), 1)
    slack = max(WIDE_VECTORS) * lanes_of(dtype)
    local_h = block + reach - 1
    plane = odd_lines(local_h * dout[3], dtype.itemsize)
    span = block * dout[3] + slack

    table = np.zeros((len(rows), ROW_FIELDS), np.intp)
    order: list[int] = []
    k_offsets = []
    for line, phase, low in zip(table, rows, lows, strict=True):
        line[:] = phase.first, phase.positions, low, len(order), len(phase.taps)
        order += [kh for kh, _ in phase.taps]
        places = np.array([(shift - low) * dout[3] for _, shift in phase.taps], np.intp)
        k_offsets.append(np.add.outer(np.arange(chunk) * plane, places).ravel())
    shifts = np.array(
        [value for phase in columns for value in (phase.positions, len(phase.taps), *(
            item for tap in phase.taps for item in tap
        ))], np.intp,
    )  # fmt: skip
    extents = Extents(
        N, groups, C, OC, H, W, dout[2], dout[3], KH, KW, len(rows), *stride,
        block, -(-positions // block), chunk, chunks, local_h, plane, span,
    )  # fmt: skip
    offsets = np.concatenate(k_offsets).astype(np.intp)
    places = np.arange(max(WIDE_VECTORS)) * lanes_of(dtype)
    return Plan(
        Constants(np.array(order, np.intp), table, extents),
        Constants(table, shifts, offsets, places, np.zeros(WIDE_ROWS, dtype), extents), work,
        # A shift reads less than a vector on either side of the sums.
        groups * OC * C * KH * KW, chunk * plane + slack, C * KW * span + 2 * slack + W,
    )  # fmt: skip


@inner
def _sum_rows(
    packed: Array, weights: int, taps: int, first: int, channels: int, k_offsets: Array,
    k_start: int, places: Array, zeros: Array, local: Array, local_start: int,
    sums: Array, sums_start: int, pixels: int, e: Extents,
) -> None:  # fmt: skip
    """The sums of each tap of a kernel's row, for one block and one chunk of channels."""
    side = lanes(local)
    total = e.C * e.KW
    panels = (total + WIDE_ROWS - 1) // WIDE_ROWS
    # All panels for a few vectors of the local image, which stay in the L1 cache.
    few, many = WIDE_VECTORS[(total + panels - 1) // panels], WIDE_VECTORS[total // panels]
    step = (many if few == many else few * many) * side
    for p in range(0, pixels, step):
        for panel in range(panels):
            r = total * panel // panels
            rows = total * (panel + 1) // panels - r
            for q in range(p, min(p + step, pixels), WIDE_VECTORS[rows] * side):
                tile_wide(
                    rows, packed, weights + (r * e.OC + first * rows) * taps, k_offsets, k_start,
                    channels * taps, local, local_start + q, places, 0, zeros, 0, int(first > 0),
                    sums, sums_start + r * e.span + q, e.span, places, 0,
                )  # fmt: skip


@inner
def _task(
    task: int, dout: Array, packed: Array, dx: Array, phases: Array, shifts: Array,
    k_offsets: Array, places: Array, zeros: Array, local: Array, local_start: int,
    sums: Array, sums_start: int, e: Extents,
) -> None:  # fmt: skip
    """A block of rows of one phase, image and group."""
    block, rest = task % e.blocks, task // e.blocks
    phase, image = rest % e.phases, rest // e.phases
    group = image % e.groups
    base = phase * ROW_FIELDS
    top = block * e.block
    height = min(e.block, phases[base + POSITIONS] - top)
    if height <= 0:
        return
    taps, tap_first = phases[base + TAPS], phases[base + TAP_FIRST]
    for chunk in range(e.chunks):
        first, stop = e.OC * chunk // e.chunks, e.OC * (chunk + 1) // e.chunks
        # Whole rows: one long row, up to the next plane's. What the last vectors read of it is
        # dropped, but were it left as it is, it might be numbers too small for full speed.
        copy_window(
            dout, (image * e.OC + first) * e.OH * e.OW, 1, e.OH * e.OW,
            0, (top + phases[base + LOW]) * e.OW, stop - first,
            local, local_start, 1, e.local_plane, e.local_plane,
        )  # fmt: skip
        _sum_rows(
            packed, (group * e.KH + tap_first) * e.OC * e.C * e.KW, taps, first, stop - first,
            k_offsets, e.chunk * tap_first, places, zeros, local, local_start,
            sums, sums_start, height * e.OW, e,
        )  # fmt: skip
    line = sums_start + e.C * e.KW * e.span + max(WIDE_VECTORS) * lanes(sums)
    for c in range(e.C):
        rows = (image * e.C + c) * e.H + phases[base + FIRST] + top * e.step_h
        for t in range(height):
            target, entry = (rows + t * e.step_h) * e.W, 0
            source = sums_start + c * e.KW * e.span + t * e.OW
            for column in range(min(e.step_w, e.W)):
                positions, count = shifts[entry], shifts[entry + 1]
                if e.step_w == 1:
                    add_shifted(
                        sums, source, e.span, e.OW, shifts, entry + 2, count, dx, target, positions
                    )
                else:
                    add_shifted(
                        sums, source, e.span, e.OW, shifts, entry + 2, count, sums, line, positions
                    )
                    copy_steps(sums, line, 1, dx, target + column, e.step_w, positions)
                entry += 2 + 2 * count


@driver
def pack(
    worker: int, workers: int, weight: In, packed: Out, tap_order: Offsets, phases: Offsets,
    e: Extents,
) -> None:  # fmt: skip
    """packed[group, phase, panel, oc, tap, :] = the weights of the rows (c, kw) of a panel."""
    taps, total = e.KH * e.KW, e.C * e.KW
    panels = (total + WIDE_ROWS - 1) // WIDE_ROWS
    for group in range(worker, e.groups, workers):
        for phase in range(e.phases):
            base = phase * ROW_FIELDS
            first, count = phases[base + TAP_FIRST], phases[base + TAPS]
            target = (group * e.KH + first) * e.OC * total
            for panel in range(panels):
                start, stop = total * panel // panels, total * (panel + 1) // panels
                for oc in range(e.OC):
                    source = (group * e.OC + oc) * e.C * taps
                    for t in range(count):
                        row = source + get(tap_order, first + t) * e.KW
                        for r in range(start, stop):
                            value = get(weight, row + r // e.KW * taps + r % e.KW)
                            put(packed, target, value)
                            target += 1


@driver
def shift_and_add(
    worker: int, workers: int, queue: Tasks, dout: In, packed: In, dx: Out, local: Out, sums: Out,
    phases: Offsets, shifts: Offsets, k_offsets: Offsets, places: Offsets, zeros: In, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    local_start = worker * (local.size // workers)
    slack = max(WIDE_VECTORS) * lanes(sums)
    sums_start = worker * (sums.size // workers) + slack
    fill_line(local, local_start + e.chunk * e.local_plane, slack, 0)
    task = take(queue)
    while task < e.N * e.groups * e.phases * e.blocks:
        _task(
            task, dout, packed, dx, phases, shifts, k_offsets, places, zeros,
            local, local_start, sums, sums_start, e,
        )  # fmt: skip
        task = take(queue)
