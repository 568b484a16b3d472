"""Convolution as sums over taps at offsets, forward and backward, and sizes that kernels share.

Forward, a tap's offset in x is (kh, kw)*dilation - padding, and the step from one pixel to the next
is the stride. Backward input, the offsets in dout are turned round, and the pixels of dx that are
equal modulo the stride make a *phase*: they see the same taps, a part of all, and are one step
apart in dout.
"""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import WORKER_WORK
from fastscratch.types import Array, Padding, Pair

CHUNK = 288
"""Products summed in a row before they are added up: float32 loses digits in long sums, and a
chunk of packed weights stays in the L1 cache."""

LOCAL_BYTES = 160 * 1024
"""What a local image may take: it shares the L2 cache with the weights that stream by."""

TASKS = 16
"""Tasks that a large problem is cut into at least."""


def wanted_tasks(work: int) -> int:
    """How many tasks a problem of so many multiply-adds should have at least.

    It depends on the shape alone, as everything that decides what a task computes must, so that
    the bits do not depend on the threads.
    """
    return max(min(TASKS, work // WORKER_WORK), 1)


class Phase(NamedTuple):
    """Pixels of the output that see the same taps."""

    first: Pair
    """The first of them in the output."""
    pixels: Pair
    """How many there are."""
    taps: tuple[tuple[int, Pair], ...]
    """Index of each tap, and its offset in the source from the pixel times the step."""


class Correlation(NamedTuple):
    """A convolution seen as sums over taps: what forward and backward input have in common."""

    source: tuple[int, ...]
    """Shape of what is summed."""
    out: tuple[int, ...]
    """Shape of the sums."""
    channels: Pair
    """Source and output channels of a group."""
    groups: int
    taps: int
    phases: tuple[Phase, ...]
    step: Pair
    """From a pixel to the next, in the source."""
    out_step: Pair
    """From a pixel to the next, in the output."""
    flipped: bool
    """Whether the weights are (source, output, taps), as backward, or (output, source, taps)."""


def forward_correlation(
    x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...],
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> Correlation:  # fmt: skip
    """One phase that sees every tap."""
    _, C, KH, KW = weight
    offsets = [
        (kh * dilation[0] - padding[0], kw * dilation[1] - padding[2])
        for kh in range(KH) for kw in range(KW)
    ]  # fmt: skip
    phase = Phase((0, 0), (y[2], y[3]), tuple(enumerate(offsets)))
    return Correlation(x, y, (C, y[1] // groups), groups, KH * KW, (phase,), stride, (1, 1), False)


def backward_correlation(
    dout: tuple[int, ...], weight: tuple[int, ...], dx: tuple[int, ...],
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> Correlation:  # fmt: skip
    """A phase for each remainder of (ih, iw) by the stride."""
    OC, C, KH, KW = weight
    phases = []
    for h in range(min(stride[0], dx[2])):
        for w in range(min(stride[1], dx[3])):
            taps = []
            for kh in range(KH):
                for kw in range(KW):
                    oh, rest_h = divmod(h + padding[0] - kh * dilation[0], stride[0])
                    ow, rest_w = divmod(w + padding[2] - kw * dilation[1], stride[1])
                    if rest_h == rest_w == 0:
                        taps.append((kh * KW + kw, (oh, ow)))
            pixels = -(-(dx[2] - h) // stride[0]), -(-(dx[3] - w) // stride[1])
            phases.append(Phase((h, w), pixels, tuple(taps)))
    return Correlation(
        dout, dx, (OC // groups, C), groups, KH * KW, tuple(phases), (1, 1), stride, True
    )


PHASE_FIELDS = 8
FIRST_H, FIRST_W, PIXELS_H, PIXELS_W, ORIGIN_H, ORIGIN_W, TAP_FIRST, TAPS = range(PHASE_FIELDS)
"""Columns of a table of phases: what `Phase` holds; the source pixel that the phase's local image
begins at, for its first pixel; its taps' place in the order of all phases' taps."""


def phase_table(phases: tuple[Phase, ...]) -> tuple[Array, Array]:
    """The table of the phases, and the indices of all their taps, phase after phase."""
    table = np.zeros((len(phases), PHASE_FIELDS), np.intp)
    order: list[int] = []
    for row, phase in zip(table, phases, strict=True):
        origin, _ = span(phase)
        row[:] = (*phase.first, *phase.pixels, *origin, len(order), len(phase.taps))
        order += [tap for tap, _ in phase.taps]
    return table, np.array(order, np.intp)


def span(phase: Phase) -> tuple[Pair, Pair]:
    """The least offset of a phase's taps, and the extent of all of them."""
    if not phase.taps:
        return (0, 0), (1, 1)
    heights, widths = zip(*(offset for _, offset in phase.taps), strict=True)
    low = min(heights), min(widths)
    return low, (max(heights) - low[0] + 1, max(widths) - low[1] + 1)


def largest(pairs: list[Pair]) -> Pair:
    """The largest first and the largest second of some pairs."""
    return max(h for h, _ in pairs), max(w for _, w in pairs)


def odd_lines(elements: int, itemsize: int) -> int:
    """A stride for planes of so many elements that spreads them over the sets of a cache."""
    line = 64 // itemsize
    return (-(-elements // line) | 1) * line
