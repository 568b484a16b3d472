"""Depthwise convolution: each channel has filters of its own, a few at most.

A plane goes through the L1 cache once, in strips of rows: a copy with zeros around it, whose
columns are taken apart by the step, so that vectors run along rows whatever the stride is. Forward
and backward input are one loop over the phases of ``phases``; backward, the rows of the phases are
put together at the end of each strip. The twin for Cython is src_kernels/depthwise.pxd.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    Out,
    driver,
    inlined,
    inner,
)
from fastscratch.kernels.numba_jit.depthwise_tile import (
    DOT_TAPS,
    kind_of,
    lane_dots,
    merge_row,
    split_row,
    weighted_sums,
)
from fastscratch.kernels.numba_jit.lines import copy_steps, get, put, sum_line
from fastscratch.kernels.numba_jit.machine import MASKED_LOADS, MASKS
from fastscratch.kernels.numba_jit.narrow_tile import (
    NARROW_DOTS,
    NARROW_HEIGHTS,
    NARROW_ROWS,
    narrow_dots,
    narrow_kind,
    narrow_sums,
    step_of,
)
from fastscratch.kernels.numba_jit.phases import Correlation, Phase, largest, span
from fastscratch.kernels.numba_jit.vectors import (
    clear_vector,
    copy_line,
    copy_vector,
    fill_line,
    lanes,
    lanes_of,
    prefetch,
)
from fastscratch.types import Array, Pair

MOST_FILTERS = 4
"""Filters of a channel: with more, register tiles are as fast."""

MOST_STRIDE = 4

STRIP_BYTES = 12 * 1024
"""Of the copy of a strip: two threads of a core share its L1 cache."""

STRIP_COLUMNS = 1024

LARGEST_BYTES = 512 * 1024
"""A dilation can make the copy for one row of windows large."""

PLANES_AT_ONCE = 16
"""Channels of a task of backward weight, at most."""

FIRST, HEIGHT, TAPS = range(3)
PHASE_FIELDS = 3
"""Columns of the table of phases: the first tap, taps of a column, and taps in all."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    groups: int
    sources: int
    targets: int
    """Planes of a channel that are summed, and planes of sums."""
    SH: int
    SW: int
    DH: int
    DW: int
    """Extents of a source, and of a target."""
    step_h: int
    step_w: int
    out_h: int
    out_w: int
    """From a position to the next, in the source and in the target."""
    phases_h: int
    phases_w: int
    first_h: int
    first_w: int
    """Where the windows of position 0 begin in the source."""
    reach_h: int
    positions_h: int
    positions_w: int
    rows: int
    cols: int
    """Positions of a strip."""
    whole: int
    """Whether a strip holds a plane."""
    spill: int
    """Rows of a target that have room for a vector before its end."""
    gap: int
    """Rows from a window to the next, where the rows of a window are neighbours."""
    part: int
    width: int
    copy_row: int
    copy_plane: int
    line: int
    """From a row of a phase to the next, where they are put together."""
    taps: int
    """Of all phases and sources."""
    channels: int
    """Of a task of backward weight."""
    narrow: int
    """The kind of windows of a plane that is read where it lies, or 0: see ``narrow_tile``. For the
    weights, which of its steps, from 1 on."""
    dilation_h: int
    dilation_w: int
    """Of the taps of a narrow plane."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    packing: Constants
    computing: Constants
    """Tables and extents for the drivers."""
    work: int
    """Multiply-adds."""
    packed_size: int
    copy_size: int
    buffer_size: int
    """Elements of scratch: shared for the weights, for each worker the others."""


def plan(
    c: Correlation, dtype: np.dtype[np.floating], weights: bool = False
) -> Plan | None:  # fmt: skip
    """Cut planes into strips; None if it is no depthwise convolution, or a row does not fit."""
    CI, CO = c.channels
    filters = CI if c.flipped else CO
    if c.groups == 1 or (CO if c.flipped else CI) != 1 or filters > MOST_FILTERS:
        return None
    if max(*c.step, *c.out_step) > MOST_STRIDE or 0 in c.source or 0 in c.out:
        return None
    seen = [phase for phase in c.phases if phase.taps] or [Phase((0, 0), (0, 0), ((0, (0, 0)),))]
    first = tuple(min(span(phase)[0][axis] for phase in seen) for axis in range(2))
    end = largest([
        (low[0] + extent[0], low[1] + extent[1]) for low, extent in map(span, seen)
    ])  # fmt: skip
    reach = end[0] - first[0], end[1] - first[1]
    positions_h, positions_w = largest([phase.pixels for phase in c.phases])
    side, itemsize = lanes_of(dtype), dtype.itemsize
    cols = -(-positions_w // -(-positions_w // STRIP_COLUMNS))
    width = -(-((cols - 1) * c.step[1] + reach[1]) // c.step[1])
    # Behind the last column vectors are read on, and written on.
    part = -(-width // side) * side + side
    copy_row = part * c.step[1]
    row_bytes = CI * copy_row * itemsize
    if reach[0] * row_bytes > LARGEST_BYTES:
        return None
    rows = max(1, min(positions_h, (STRIP_BYTES // row_bytes - reach[0]) // c.step[0] + 1))
    strips = -(-positions_h // rows)
    rows = -(-positions_h // strips)
    copy_plane = ((rows - 1) * c.step[0] + reach[0]) * copy_row
    line = -(-cols // side) * side

    table = np.zeros((len(c.phases), PHASE_FIELDS), np.intp)
    order: list[int] = []
    offsets: list[int] = []
    gap = c.step[0]
    for row, phase in zip(table, c.phases, strict=True):
        # Down the columns of taps, in the order of the source.
        taps = sorted(phase.taps, key=lambda tap: (tap[1][1], tap[1][0]))
        heights = sorted({h for _, (h, _) in taps})
        if any(b - a != 1 for a, b in pairwise(heights)):
            gap = 0
        row[:] = len(offsets), max(len(heights), 1), CI * len(taps)
        for ci in range(CI):
            for tap, (h, w) in taps:
                column = w - first[1]
                order.append(ci * c.taps + tap)
                offsets.append(
                    ci * copy_plane + (h - first[0]) * copy_row
                    + column % c.step[1] * part + column // c.step[1]
                )  # fmt: skip
    phases_h, phases_w = (
        min(out, extent) for out, extent in zip(c.out_step, c.out[2:], strict=True)
    )
    DH, DW = c.out[2:]
    spill = (DH * DW - side) // DW + 1 if side <= DH * DW else 0
    channels = max(1, min(c.groups // PLANES_AT_ONCE, -(-4096 // (DH * DW)), PLANES_AT_ONCE))
    narrow, dilation = _narrow(c, side, weights)
    buffer_size = 0
    if weights:
        buffer_size = channels * CO * (c.taps + 1) * side + rows * cols + side
    elif c.out_step != (1, 1):
        buffer_size = len(c.phases) * rows * line
    extents = Extents._make((
        c.out[0], c.groups, CI, CO, *c.source[2:], DH, DW, *c.step, *c.out_step,
        phases_h, phases_w, *first, reach[0], positions_h, positions_w, rows, cols,
        int(strips == 1 and cols == positions_w), spill, gap, part, width, copy_row, copy_plane,
        line, CI * c.taps, channels, narrow, *dilation,
    ))  # fmt: skip
    return Plan(
        Constants(np.array(order, np.intp), extents),
        Constants(table, np.array(offsets, np.intp), np.array(order, np.intp), extents),
        c.out[0] * c.groups * CO * CI * c.taps * positions_h * positions_w,
        c.groups * CO * CI * c.taps, CI * copy_plane + side, buffer_size,
    )  # fmt: skip


def _gap(places: list[int]) -> int:
    return places[1] - places[0] if len(places) > 1 else 1


def _narrow(c: Correlation, side: int, weights: bool) -> tuple[int, Pair]:
    """The kind of windows of planes that are read where they lie, or 0, and their dilation."""
    phase, *others = c.phases
    rows, columns = (sorted({place[axis] for _, place in phase.taps}) for axis in range(2))
    dilation = _gap(rows), _gap(columns)
    stride = c.step[0]
    if not MASKED_LOADS or others or c.step not in ((1, 1), (2, 2)) or c.out[3] > side:
        return 0, dilation
    if weights:
        step = step_of(stride, NARROW_ROWS[0], c.out[3], side)
        return int(len(rows) == len(columns) == NARROW_DOTS) * (step + 1), dilation
    step = step_of(stride, c.out[2], c.out[3], side)
    height = len(rows)
    if (
        height not in NARROW_HEIGHTS
        or dilation[0] > 1
        or c.channels[0] > 1
        or c.out[2] < NARROW_ROWS[step]
    ):
        return 0, dilation
    below = stride * (c.out[2] - 1) + 1 + rows[-1] - c.source[2]
    return narrow_kind(height, -rows[0], below, step), dilation


@inlined
def _clear(copy: Array, start: int, count: int) -> None:
    """Zeros, up to the end of a vector."""
    side = lanes(copy)
    for i in range(start, start + count, side):
        clear_vector(copy, i)


@inner
def _pad_rows(
    source: Array, start: int, following: int, rows: int, copy: Array, at: int, before: int,
    count: int, is_clean: bool, row: int, width: int, copy_row: int,
) -> None:  # fmt: skip
    """Rows of a copy: zeros, elements, zeros. What is too much is written over.

    Where the zeros are there already (`is_clean`), only rows that are written on need them again.
    ``following`` elements behind this lies what will be copied next.
    """
    side = lanes(source)
    clean = is_clean and (MASKS or count >= side)
    for _ in range(rows):
        for j in range(0, count, side):
            prefetch(source, start + following + j)
        if not clean:
            _clear(copy, at, before)
        if not MASKS and count < side and start + side <= source.size:
            copy_vector(source, start, copy, at + before)
        else:
            copy_line(source, start, copy, at + before, count)
        if not clean:
            _clear(copy, at + before + count, width - before - count)
        start += row
        at += copy_row


@inner
def _pad_rows_apart(
    source: Array, start: int, following: int, rows: int, copy: Array, at: int, before: int,
    count: int, is_clean: bool, row: int, width: int, copy_row: int, step: int, part: int,
) -> None:  # fmt: skip
    """The same, with the columns taken apart by the step."""
    side, after = lanes(source), before + count
    clean = is_clean and count >= step * side
    even = before % 2 * part + before // 2
    odd = (before + 1) % 2 * part + (before + 1) // 2
    # Where elements begin and end in the two parts of a step of two: divisions take their time.
    begin_0, begin_1, end_0, end_1 = (before + 1) // 2, before // 2, (after + 1) // 2, after // 2
    for _ in range(rows):
        for j in range(0, count, side):
            prefetch(source, start + following + j)
        if step == 2:
            if not clean:
                _clear(copy, at, begin_0)
                _clear(copy, at + part, begin_1)
            reads_on = start + 2 * side <= source.size
            split_row(source, start, copy, at + even, at + odd, count, reads_on)
            if not clean:
                _clear(copy, at + end_0, width - end_0)
                _clear(copy, at + part + end_1, width - end_1)
        else:
            fill_line(copy, at, copy_row, 0)
            for p in range(step):
                begin, end = (before - p + step - 1) // step, (after - p + step - 1) // step
                copy_steps(
                    source, start + begin * step + p - before, step,
                    copy, at + p * part + begin, 1, end - begin,
                )  # fmt: skip
        start += row
        at += copy_row


@inner
def _copy_strip(
    source: Array, plane: int, planes: int, t: int, rows: int, u: int, copy: Array,
    copy_start: int, e: Extents,
) -> None:  # fmt: skip
    """The padded copies of some planes, for the positions from (t, u) on."""
    row, col = e.first_h + t * e.step_h, e.first_w + u * e.step_w
    needed, across = (rows - 1) * e.step_h + e.reach_h, e.width * e.step_w
    before = min(max(-col, 0), across)
    end = max(min(across, e.SW - col), before)
    top = min(max(-row, 0), needed)
    bottom = max(min(needed, e.SH - row), top)
    if before == end:
        bottom = top
    is_whole = e.whole == 1
    # What is copied next: the plane behind this one, or the rows.
    following = e.sources * e.SH * e.SW if is_whole else e.rows * e.step_h * e.SW
    for s in range(planes):
        at = copy_start + s * e.copy_plane
        if not is_whole:
            fill_line(copy, at, top * e.copy_row, 0)
            fill_line(copy, at + bottom * e.copy_row, (needed - bottom) * e.copy_row, 0)
        start = (plane + s) * e.SH * e.SW + (row + top) * e.SW + col + before
        at += top * e.copy_row
        if e.step_w == 1:
            _pad_rows(
                source, start, following, bottom - top, copy, at, before, end - before, is_whole,
                e.SW, e.width, e.copy_row,
            )  # fmt: skip
        else:
            _pad_rows_apart(
                source, start, following, bottom - top, copy, at, before, end - before, is_whole,
                e.SW, e.width, e.copy_row, e.step_w, e.part,
            )  # fmt: skip


@inner
def _merge_strip(
    buffer: Array, buffer_start: int, out: Array, target: int, t: int, rows: int, u: int,
    e: Extents,
) -> None:  # fmt: skip
    """The rows of the phases, each of their columns in its place."""
    plane, side = e.rows * e.line, lanes(out)
    first = u * e.out_w
    count = min(e.cols * e.out_w, e.DW - first)
    for r in range(rows):
        for i in range(min(e.phases_h, e.DH - (t + r) * e.out_h)):
            ih = (t + r) * e.out_h + i
            line = buffer_start + i * e.phases_w * plane + r * e.line
            place = target + ih * e.DW + first
            if e.out_w == 1:
                copy_line(buffer, line, out, place, count)
            elif e.phases_w == 2 and e.out_w == 2:
                writes_on = (e.DH - ih) * e.DW - first >= 2 * side
                merge_row(buffer, line, line + plane, out, place, count, writes_on)
            else:
                for w in range(e.phases_w):
                    steps = (count - w + e.out_w - 1) // e.out_w
                    copy_steps(buffer, line + w * plane, 1, out, place + w, e.out_w, steps)


@inner
def _correlate_wide_planes(
    first_plane: int, end_plane: int, source: Array, packed: Array, bias: Array, out: Array,
    copy: Array, copy_start: int, buffer: Array, buffer_start: int, phases: Array, offsets: Array,
    e: Extents,
) -> None:  # fmt: skip
    """All targets of some planes: a channel of an image each."""
    direct = e.out_h == 1 and e.out_w == 1
    size = e.rows * e.line
    for plane in range(first_plane, end_plane):
        channel = plane % e.groups
        for t in range(0, e.positions_h, e.rows):
            rows = min(e.rows, e.positions_h - t)
            for column in range(0, e.positions_w, e.cols):
                # The last columns overlap those before them.
                u = min(column, e.positions_w - e.cols)
                _copy_strip(source, plane * e.sources, e.sources, t, rows, u, copy, copy_start, e)
                for f in range(e.targets):
                    target = (plane * e.targets + f) * e.DH * e.DW
                    weights = (channel * e.targets + f) * e.taps
                    start = get(bias, channel * e.targets + f)
                    for phase in range(e.phases_h * e.phases_w):
                        entry = phase * PHASE_FIELDS
                        first = phases[entry + FIRST]
                        kind = kind_of(rows, e.gap, phases[entry + HEIGHT])
                        # One call for both: it is large.
                        place, step, spill = buffer_start + phase * size, e.line, rows
                        if direct:
                            place, step, spill = target + t * e.DW + u, e.DW, e.spill - t
                        weighted_sums(
                            kind, phases[entry + TAPS], packed, weights + first, offsets, first,
                            start, copy, copy_start, e.step_h * e.copy_row,
                            out if direct else buffer, place, step, rows, e.cols, spill,
                        )  # fmt: skip
                    if not direct:
                        _merge_strip(buffer, buffer_start, out, target, t, rows, u, e)


@inner
def _correlate_narrow_planes(
    first_plane: int, end_plane: int, source: Array, packed: Array, bias: Array, out: Array,
    e: Extents,
) -> None:  # fmt: skip
    """The same for planes that are read where they lie."""
    # Rows with room for a vector before the plane's end. Beyond it another is written later, but
    # for the last one, and what the last row writes on must be in it.
    room = e.DH - (lanes(source) + e.DW - 1) // e.DW + 1
    followed = end_plane * e.targets - 1 if lanes(source) <= (e.DH + 1) * e.DW else 0
    for plane in range(first_plane, end_plane):
        for f in range(e.targets):
            target = plane % e.groups * e.targets + f
            narrow_sums(
                e.narrow, e.taps, e.dilation_w, packed, target * e.taps, get(bias, target),
                source, plane * e.SH * e.SW, e.SH, e.SW, -e.first_h, -e.first_w,
                out, (plane * e.targets + f) * e.DH * e.DW, e.DH, e.DW,
                e.DH if plane * e.targets + f < followed else room,
            )  # fmt: skip


@driver
def pack(worker: int, workers: int, weight: In, packed: Out, order: Offsets, e: Extents) -> None:
    """packed[channel, target, tap] = the weights, in the order of the phases."""
    for channel in range(worker, e.groups, workers):
        for f in range(e.targets):
            target = (channel * e.targets + f) * e.taps
            for k in range(order.size):
                put(packed, target + k, get(weight, target + get(order, k)))


@driver
def correlate_planes(
    worker: int, workers: int, source: In, packed: In, bias: In, out: Out, copy: Out, buffer: Out,
    phases: Offsets, offsets: Offsets, order: Offsets, e: Extents,
) -> None:  # fmt: skip
    """A task is a plane; neighbours go to one worker."""
    size = copy.size // workers
    copy_start, buffer_start = worker * size, worker * (buffer.size // workers)
    planes = e.N * e.groups
    first, end = planes * worker // workers, planes * (worker + 1) // workers
    if e.narrow:
        _correlate_narrow_planes(first, end, source, packed, bias, out, e)
        return
    if e.whole == 1:
        # Around a plane, zeros are where they were for the plane before it.
        fill_line(copy, copy_start, size, 0)
    _correlate_wide_planes(
        first, end, source, packed, bias, out, copy, copy_start, buffer, buffer_start,
        phases, offsets, e,
    )  # fmt: skip


@inner
def _add_narrow_planes(
    first: int, count: int, dout: Array, x: Array, sums: Array, sums_start: int, e: Extents
) -> None:
    """The products of some channels whose planes are read where they lie, over all images."""
    size = (e.taps + 1) * lanes(x)
    for n in range(e.N):
        for c in range(count):
            plane = n * e.groups + first + c
            for f in range(e.targets):
                narrow_dots(
                    e.narrow - 1, dout, (plane * e.targets + f) * e.DH * e.DW, e.DH, e.DW,
                    x, plane * e.SH * e.SW, e.SH, e.SW, -e.first_h, -e.first_w,
                    e.dilation_h, e.dilation_w, sums, sums_start + (c * e.targets + f) * size,
                )  # fmt: skip


@inner
def _add_wide_planes(
    first: int, count: int, dout: Array, x: Array, copy: Array, copy_start: int, sums: Array,
    sums_start: int, edge: int, offsets: Array, e: Extents,
) -> None:  # fmt: skip
    """The products of some channels of x with what their filters have made of them."""
    side = lanes(x)
    size = (e.taps + 1) * side
    following = e.targets * e.DH * e.DW if e.whole == 1 else e.rows * e.DW
    for task in range(e.N * count):
        c = task % count
        plane = task // count * e.groups + first + c
        for t in range(0, e.DH, e.rows):
            rows = min(e.rows, e.DH - t)
            for u in range(0, e.DW, e.cols):
                cols = min(e.cols, e.DW - u)
                _copy_strip(x, plane, 1, t, rows, u, copy, copy_start, e)
                for f in range(e.targets):
                    start, step = ((plane * e.targets + f) * e.DH + t) * e.DW + u, e.DW
                    for j in range(0, rows * cols, 2 * side):
                        prefetch(dout, start + following + j)
                    # Behind the last row of all there may be less than a vector.
                    ends = cols < side and start + (rows - 1) * step + side > dout.size
                    if ends:
                        for r in range(rows):
                            copy_line(dout, start + r * step, sums, edge + r * cols, cols)
                        start, step = edge, cols
                    own = sums_start + (c * e.targets + f) * size
                    for tap in range(0, e.taps, DOT_TAPS):
                        lane_dots(
                            e.taps, sums if ends else dout, start, step, copy, copy_start,
                            e.step_h * e.copy_row, offsets, tap, rows, cols,
                            sums, own + tap * side,
                        )  # fmt: skip


@driver
def correlate_planes_weight(
    worker: int, workers: int, dout: In, x: In, dw: Out, db: Out, copy: Out, sums: Out,
    phases: Offsets, offsets: Offsets, order: Offsets, e: Extents,
) -> None:  # fmt: skip
    """A task is some channels, over all images."""
    side = lanes(x)
    copy_size = copy.size // workers
    copy_start, sums_start = worker * copy_size, worker * (sums.size // workers)
    if e.whole == 1 and not e.narrow:
        fill_line(copy, copy_start, copy_size, 0)
    size = e.targets * (e.taps + 1) * side
    edge = sums_start + e.channels * size
    tasks = (e.groups + e.channels - 1) // e.channels
    for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
        first = task * e.channels
        count = min(e.channels, e.groups - first)
        fill_line(sums, sums_start, count * size, 0)
        if e.narrow:
            _add_narrow_planes(first, count, dout, x, sums, sums_start, e)
        else:
            _add_wide_planes(
                first, count, dout, x, copy, copy_start, sums, sums_start, edge, offsets, e
            )
        for f in range(count * e.targets):
            own = sums_start + f * (e.taps + 1) * side
            for k in range(e.taps):
                place = (first * e.targets + f) * e.taps + order[k]
                dw[place] = sum_line(sums, own + k * side, side)
            db[first * e.targets + f] = sum_line(sums, own + e.taps * side, side)
