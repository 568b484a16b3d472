"""Depthwise convolution of small planes, the channels side by side in the lanes of vectors.

Rows of seven pixels fill less than half of a vector of sixteen, and with windows of 5x5 or 7x7 much
of what they fill is multiplied by the zeros around the plane. Here the planes of as many channels
as there are lanes are turned round, and what lies outside is left out::

    sums[u, :] = start[:] + sum over t, v of pixels[t, u*step + v - before, :]*taps[t, v, :]

Beside rows where they lie, at vectors of 64 bytes, 7x7 windows on 7x7 are 3 times as fast. The twin
for Cython is src_kernels/planes_abreast.pxd.
"""

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import (
    JIT,
    Constants,
    Driver,
    In,
    Offsets,
    Out,
    driver,
    inlined,
    intrinsic,
)
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.machine import FUSED, VECTOR_BYTES
from fastscratch.kernels.numba_jit.phases import Correlation, Phase
from fastscratch.kernels.numba_jit.vectors import (
    Emitter,
    copy_line,
    fill_line,
    lanes,
    lanes_of,
    pointers,
    repeat,
)
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.types import Array, Pair

KERNELS = 5, 7
"""Columns of windows that repay turning the planes round."""

MOST_COLUMNS = 8
"""Of a row of sums: they and a row of taps are in registers."""

MOST_PIXELS = 256
"""Of a plane: those of a block of channels stay in L1, or near it."""

ENOUGH_TASKS = 16

_INT = ir.IntType(64)


class Axis(NamedTuple):
    """A phase of the stride along one axis, all of them ints."""

    first: int
    """Where the window of position 0 begins in the source."""
    taps: int
    positions: int
    tap: int
    """The tap that sees the first pixel of a window."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints, beside those of the phases' axes."""

    N: int
    groups: int
    SH: int
    SW: int
    DH: int
    DW: int
    step_h: int
    taps: int
    tap_columns: int
    """Of the weights."""
    tap_row: int
    tap_col: int
    """From a tap to the one that sees the next pixel, in the weights."""
    phases_h: int
    phases_w: int
    parts: int
    """Parts of the images."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    correlate: Driver
    computing: Constants
    """Axes and extents."""
    work: int
    """Multiply-adds."""
    local_size: int
    """Elements of scratch for each worker: weights, pixels and sums of a block of channels."""


def plan(c: Correlation, kernel: Pair, dtype: np.dtype[np.floating]) -> Plan | None:
    """Share out channels and images; None if the planes do not go this way."""
    side, source, out = lanes_of(dtype), c.source[2] * c.source[3], c.out[2] * c.out[3]
    if c.groups < side or c.channels != (1, 1) or kernel[1] not in KERNELS:
        return None
    if 0 in c.source or 0 in c.out or max(source, out) > MOST_PIXELS:
        return None
    if max(*c.step, *c.out_step) > 2 or not all(phase.taps for phase in c.phases):
        return None
    tap_row, tap_col = (-step if c.flipped else 1 for step in c.out_step)
    tap_row *= kernel[1]
    phases_h, phases_w = (min(s, e) for s, e in zip(c.out_step, c.out[2:], strict=True))
    rows = [_along(c.phases[i * phases_w], 0, kernel[1]) for i in range(phases_h)]
    columns = [_along(c.phases[j], 1, kernel[1]) for j in range(phases_w)]
    for phase, (row, column) in zip(c.phases, product(rows, columns), strict=True):
        first = row.tap * kernel[1] + column.tap
        neighbours = [
            (first + i * tap_row + j * tap_col, (row.first + i, column.first + j))
            for i in range(row.taps) for j in range(column.taps)
        ]  # fmt: skip
        if sorted(phase.taps) != sorted(neighbours):  # dilated
            return None
    if max(column.positions for column in columns) > min(MOST_COLUMNS, side // 2):
        return None
    blocks = -(-c.groups // side)
    extents = Extents._make((
        c.out[0], c.groups, *c.source[2:], *c.out[2:], c.step[0], c.taps, kernel[1],
        tap_row, tap_col, phases_h, phases_w, min(c.out[0], -(-ENOUGH_TASKS // blocks)),
    ))  # fmt: skip
    shapes = tuple((column.taps, column.positions) for column in columns)
    return Plan(
        correlate_abreast(c.step[1], shapes),
        Constants(np.array([*rows, *columns], np.intp), extents),
        c.out[0] * c.groups * c.taps * out,
        (c.taps + 1 + source + out) * side,
    )


def _along(phase: Phase, axis: int, kernel_w: int) -> Axis:
    """One of its axes."""
    places = sorted({place[axis] for _, place in phase.taps})
    tap = next(tap for tap, place in phase.taps if place[axis] == places[0])
    return Axis(
        places[0], len(places), phase.pixels[axis], tap % kernel_w if axis else tap // kernel_w
    )


def make_row_abreast(
    vector_bytes: int, fused: bool, kernel: int, step: int, count: int
) -> Any:  # fmt: skip
    """``row_abreast`` for windows of so many columns, and rows of so many sums."""

    @intrinsic
    def row_abreast(  # type: ignore[no-untyped-def]
        context, local, rows, at, row, width, before, tap, tap_row, tap_col, start, out, out_col
    ):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                local, rows, at, row, width, before, tap, tap_row, tap_col, start, out, out_col,
            ) = arguments  # fmt: skip
            data = pointers(context, builder, signature)(0, local)
            emitter = Emitter(builder, signature.args[0].dtype, vector_bytes, fused)

            def vector(place: Any) -> Any:
                return emitter.load(builder.gep(data, [place]), 0)

            # LLVM keeps them in registers.
            sums = [cgutils.alloca_once(builder, emitter.vector) for _ in range(count)]
            for total in sums:
                builder.store(vector(start), total)

            def turn(carried: list[Any]) -> list[Any]:
                at, tap = carried
                taps = []
                place = tap
                for _ in range(kernel):
                    taps.append(vector(place))
                    place = builder.add(place, tap_col)
                for i in range((count - 1) * step + kernel):
                    column = builder.sub(_INT(i), before)
                    # As unsigned numbers, those before the first are large.
                    with builder.if_then(builder.icmp_unsigned("<", column, width)):
                        offset = builder.mul(column, _INT(emitter.lanes))
                        pixel = vector(builder.add(at, offset))
                        for u, total in enumerate(sums):
                            if u * step <= i < u * step + kernel:
                                value = emitter.multiply_add(
                                    pixel, taps[i - u * step], builder.load(total)
                                )
                                builder.store(value, total)
                return [builder.add(at, row), builder.add(tap, tap_row)]

            repeat(builder, rows, [at, tap], turn)
            for total in sums:
                emitter.store(builder.load(total), builder.gep(data, [out]), 0)
                out = builder.add(out, out_col)
            return context.get_dummy_value()

        arguments = (
            local, rows, at, row, width, before, tap, tap_row, tap_col, start, out, out_col,
        )  # fmt: skip
        return types.void(*arguments), generate

    return row_abreast


def make_plain_row_abreast(kernel: int, step: int, count: int) -> Any:
    """The same in plain loops."""

    def row_abreast(
        local: Array, rows: int, at: int, row: int, width: int, before: int, tap: int,
        tap_row: int, tap_col: int, start: int, out: int, out_col: int,
    ) -> None:  # fmt: skip
        side = lanes_of(local)
        for u in range(count):
            total = local[start : start + side].copy()
            for t in range(rows):
                for v in range(kernel):
                    column = u * step + v - before
                    if 0 <= column < width:
                        pixel = at + t * row + column * side
                        weight = tap + t * tap_row + v * tap_col
                        total += local[pixel : pixel + side] * local[weight : weight + side]
            local[out + u * out_col :][:side] = total

    return row_abreast


@cache
def correlate_abreast(step: int, rows: tuple[Pair, ...]) -> Driver:
    """The driver for windows and rows of so many columns, in each phase of the stride."""

    def row_of(kernel: int, count: int) -> Any:
        if JIT:
            return make_row_abreast(VECTOR_BYTES, FUSED, kernel, step, count)
        return make_plain_row_abreast(kernel, step, count)

    first_row, second_row = row_of(*rows[0]), row_of(*rows[-1])

    def correlate(
        worker: int, workers: int, source: In, weight: In, bias: In, out: Out, local: Out,
        axes: Offsets, e: Extents,
    ) -> None:  # fmt: skip
        """A task is a block of channels of some images."""
        side = lanes(source)
        source_plane, plane = e.SH * e.SW, e.DH * e.DW
        taps = worker * (local.size // workers)
        start = taps + e.taps * side
        pixels = start + side
        sums = pixels + source_plane * side
        tap_row, tap_col = e.tap_row * side, e.tap_col * side
        tasks = (e.groups + side - 1) // side * e.parts
        for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
            part, c = task % e.parts, task // e.parts * side
            channels = min(side, e.groups - c)
            if channels < side:
                fill_line(local, taps, sums - taps, 0)
            transpose(weight, c * e.taps, e.taps, channels, e.taps, local, taps, side)
            copy_line(bias, c, local, start, channels)
            if e.tap_col > 0:
                # Forward, an infinite weight meets the zeros around a plane, too: NaN.
                for k in range(e.taps):
                    for i in range(side):
                        zero = get(local, taps + k * side + i) * 0
                        put(local, start + i, get(local, start + i) + zero)
            for n in range(e.N * part // e.parts, e.N * (part + 1) // e.parts):
                image = n * e.groups + c
                transpose(
                    source, image * source_plane, source_plane, channels, source_plane,
                    local, pixels, side,
                )  # fmt: skip
                for phase in range(e.phases_h):
                    first, rows, positions, tap = _axis(axes, phase)
                    for t in range(positions):
                        above = t * e.step_h + first
                        skipped = max(-above, 0)
                        seen = min(rows, e.SH - above) - skipped
                        at = pixels + (above + skipped) * e.SW * side
                        met = taps + tap * e.tap_columns * side + skipped * tap_row
                        to = sums + (t * e.phases_h + phase) * e.DW * side
                        for column in range(e.phases_w):
                            left, _, _, tap_w = _axis(axes, e.phases_h + column)
                            if column == 0:
                                first_row(
                                    local, seen, at, e.SW * side, e.SW, -left,
                                    met + tap_w * side, tap_row, tap_col, start,
                                    to, e.phases_w * side,
                                )  # fmt: skip
                            else:
                                second_row(
                                    local, seen, at, e.SW * side, e.SW, -left,
                                    met + tap_w * side, tap_row, tap_col, start,
                                    to + side, e.phases_w * side,
                                )  # fmt: skip
                transpose(local, sums, side, plane, channels, out, image * plane, plane)

    shapes = "_".join(f"{kernel}x{count}" for kernel, count in rows)
    return driver(correlate, f"{step}_{shapes}")


@inlined
def _axis(axes: Array, index: int) -> tuple[int, int, int, int]:
    """`Axis` of a phase."""
    at = 4 * index
    return axes[at], axes[at + 1], axes[at + 2], axes[at + 3]
