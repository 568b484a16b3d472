"""The weights' gradient of a convolution with ReLU and max pooling behind it.

At most one element of a pooling window has a gradient, and none where the maximum was rectified::

    dw[oc] = sum over n, window with y > 0 of dout[n, oc, window] * (what its maximum saw of x[n])

A task is a part of the images. It lists the gradients of a plane, and sums the windows of x that
they name, row by row of a window, in vectors.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    OffsetsOut,
    Out,
    WindowIn,
    driver,
    inner,
)
from fastscratch.kernels.numba_jit.lines import get, put, sum_line
from fastscratch.kernels.numba_jit.scattered import SCATTERED_ROWS, scattered_sums
from fastscratch.kernels.numba_jit.vectors import fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import copy_window
from fastscratch.types import Array, Padding, Pair

PARTS = 16
"""Of the images, each with sums of its own: to share them out among threads."""

LOCAL_BYTES = 1 << 20
"""Of a padded copy of some channels of an image."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    groups: int
    C: int
    OC: int
    """Channels of a group."""
    H: int
    W: int
    PH: int
    PW: int
    """Of the pooled map."""
    elements: int
    """Of a pooling window."""
    step_h: int
    step_w: int
    """From one pooling window to the next, in the local image."""
    top: int
    left: int
    local_h: int
    local_w: int
    rows: int
    """Vectors of one channel of a window."""
    channels: int
    parts: int
    size: int
    """Sums of an output channel; db is the last."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    adding: Constants
    """Tables and extents for the driver."""
    work: int
    """Multiply-adds."""
    sums_shape: tuple[int, int, int]
    local_size: int
    list_size: int
    """Elements of scratch that a worker needs."""


def plan(
    dout_shape: tuple[int, ...], x_shape: tuple[int, ...], dw_shape: tuple[int, ...],
    stride: Pair, padding: Padding, dilation: Pair, groups: int, pool: Pair,
    dtype: np.dtype[np.floating],
) -> Plan:  # fmt: skip
    """Blocks of channels, parts of images, and where everything lies."""
    N, OC, PH, PW = dout_shape
    _, C, KH, KW = dw_shape
    width = lanes_of(dtype)
    local_h = (PH * pool[0] - 1) * stride[0] + (KH - 1) * dilation[0] + 1
    local_w = (PW * pool[1] - 1) * stride[1] + (KW - 1) * dilation[1] + 1
    plane = local_h * local_w
    # The elements of a row of a window are neighbours, or else each stands for itself.
    cols = np.arange(0, KW, width) if dilation[1] == 1 else np.arange(KW) * dilation[1]
    rows = KH * len(cols)
    channels = max(1, min(C, LOCAL_BYTES // (plane * dtype.itemsize)))
    starts = np.add.outer(np.arange(channels) * plane, np.arange(KH) * dilation[0] * local_w)
    offsets = np.add.outer(starts, cols).ravel().astype(np.intp)
    taken = np.arange(pool[0] * pool[1])
    places = taken // pool[1] * stride[0] * local_w + taken % pool[1] * stride[1]
    parts = max(1, min(N, PARTS))
    extents = Extents._make((
        N, groups, C, OC // groups, *x_shape[2:], PH, PW, len(taken),
        pool[0] * stride[0] * local_w, pool[1] * stride[1], -padding[0], -padding[2],
        local_h, local_w, rows, channels, parts, C * rows * width + 1,
    ))  # fmt: skip
    return Plan(
        Constants(offsets, places.astype(np.intp), extents), N * OC * C * KH * KW * PH * PW,
        (parts, OC, extents.size), channels * plane + width, PH * PW + 1,
    )  # fmt: skip


@inner
def _list_gradients(
    start: int, dout: Array, y: Array, argmax: Array, places: Array, found: Array,
    found_start: int, values: Array, value_start: int, e: Extents,
) -> int:  # fmt: skip
    """Where the elements of a map with a gradient have their windows; how many there are."""
    count = 0
    for ph in range(e.PH):
        for pw in range(e.PW):
            at = start + ph * e.PW + pw
            which = int(get(argmax, at))
            # An index that no forward pass wrote must not touch foreign memory.
            known = (which >= 0) & (which < e.elements)
            place = get(places, which if known else 0) + ph * e.step_h + pw * e.step_w
            put(found, found_start + count, place)
            put(values, value_start + count, get(dout, at))
            count += int(known & (get(y, at) > 0))
    # To an even number.
    put(found, found_start + count, 0)
    put(values, value_start + count, values.dtype.type(0))
    return count


@driver
def add_windows(
    worker: int, workers: int, dout: In, y: In, argmax: WindowIn, x: In, sums: Out, local: Out,
    values: Out, found: OffsetsOut, offsets: Offsets, places: Offsets, e: Extents,
) -> None:  # fmt: skip
    """A task is a part of the images."""
    local_start = worker * (local.size // workers)
    value_start = worker * (values.size // workers)
    found_start = worker * (found.size // workers)
    plane = e.local_h * e.local_w
    for part in range(worker, e.parts, workers):
        part_start = part * e.groups * e.OC * e.size
        fill_line(sums, part_start, e.groups * e.OC * e.size, 0)
        for n in range(e.N * part // e.parts, e.N * (part + 1) // e.parts):
            for group in range(e.groups):
                for c in range(0, e.C, e.channels):
                    _block(
                        n, group, c, part_start, dout, y, argmax, x, sums, local, local_start,
                        values, value_start, found, found_start, offsets, places, plane, e,
                    )  # fmt: skip


@inner
def _block(
    n: int, group: int, c: int, part_start: int, dout: Array, y: Array, argmax: Array, x: Array,
    sums: Array, local: Array, local_start: int, values: Array, value_start: int, found: Array,
    found_start: int, offsets: Array, places: Array, plane: int, e: Extents,
) -> None:  # fmt: skip
    """Some channels of one image."""
    channels = min(e.channels, e.C - c)
    copy_window(
        x, ((n * e.groups + group) * e.C + c) * e.H * e.W, e.H, e.W, e.top, e.left, channels,
        local, local_start, e.local_h, e.local_w, plane,
    )  # fmt: skip
    width = lanes(local)
    # Vectors read on behind the last row.
    fill_line(local, local_start + channels * plane, width, 0)
    for oc in range(group * e.OC, (group + 1) * e.OC):
        count = _list_gradients(
            (n * e.groups * e.OC + oc) * e.PH * e.PW, dout, y, argmax, places,
            found, found_start, values, value_start, e,
        )  # fmt: skip
        own = part_start + oc * e.size
        row = 0
        while row < channels * e.rows:
            # Evenly: 7 rows are 4 and 3, not 6 and 1.
            left = channels * e.rows - row
            steps = (left + SCATTERED_ROWS - 1) // SCATTERED_ROWS
            rows = (left + steps - 1) // steps
            scattered_sums(
                rows, local, local_start, offsets, row, found, found_start, values, value_start,
                (count + 1) // 2, sums, own + (c * e.rows + row) * width,
            )  # fmt: skip
            row += rows
        if c == 0:
            last = own + e.size - 1
            put(sums, last, get(sums, last) + sum_line(values, value_start, count))
