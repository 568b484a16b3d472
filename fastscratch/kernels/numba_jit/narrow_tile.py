"""Depthwise windows over a plane whose rows fit a vector: read where it lies, by masked vectors.

The copies that wider planes need have loads that wait for what was just stored: planes of 7x7 and
of 14x14 take a quarter to a third of the time without. Only where the processor loads some lanes of
a vector alone: `MASKED_LOADS`. Where it is slow to store them, rows are written on into what is
written later. At stride 2 a vector takes every second lane of two, or, if all that it needs is in
the first, of that one.

The twins for Cython are weighted_planes and narrow_dots of src_kernels/narrow_planes.h.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, repeat, switch
from fastscratch.types import Array

STEPS = range(4)
ONE, TWO, TWO_OF_ONE, LOW = STEPS
"""Strides: the third is 2 where the columns that are seen lie in one vector; the last is 1 for
planes with few rows."""

NARROW_ROWS = (7, 4, 4, 4)
"""Rows that are summed at once, for each of them; a plane has no fewer."""

STRIDES = (1, 2, 2, 1)

NARROW_HEIGHTS = (3, 5)
"""Heights of the windows of `narrow_sums`."""

ANY_REACH = max(NARROW_ROWS) + max(NARROW_HEIGHTS)

NARROW_KINDS = tuple(
    height + 16 * reach + 512 * step
    for height in NARROW_HEIGHTS
    for reach in (height // 2, ANY_REACH)
    for step in STEPS
)
"""Heights, 16 times how far windows may reach beyond the plane, above it or below, and 512 steps.

Rows that are surely in the plane need no mask of their own. Masks of all rows take more registers
than there are: 3x3 took 1.1 to 1.2 times as long.
"""

NARROW_DOTS = 3
"""Height and width of the windows of `narrow_dots`: their nine sums fit the registers."""

_INT = ir.IntType(64)


def narrow_kind(height: int, above: int, below: int, step: int) -> int:
    """The kind of windows of a height that reach so far beyond a plane."""
    reach = height // 2 if max(above, below) <= height // 2 else ANY_REACH
    return height + 16 * reach + 512 * step


def step_of(stride: int, rows: int, cols: int, side: int) -> int:
    """Which of `STEPS` so many rows of windows take, in vectors of `side` lanes."""
    if stride == 1:
        return ONE if rows >= NARROW_ROWS[ONE] else LOW
    return TWO_OF_ONE if 2 * cols <= side else TWO


def _least(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _seen(emitter: Emitter, step: int, shift: Any, width: Any, cols: Any) -> list[Any]:
    """The lanes of a row of windows that see an element of a row at this shift, by vectors."""
    builder = emitter.builder
    zero, side = _INT(0), _INT(emitter.lanes)

    def lanes(shift: Any, count: Any) -> Any:
        first = builder.select(builder.icmp_signed("<", shift, zero), builder.neg(shift), zero)
        return emitter.lanes_between(first, _least(builder, count, builder.sub(width, shift)))

    if STRIDES[step] == 1:
        return [lanes(shift, cols)]
    span = builder.mul(cols, _INT(2))
    found = [lanes(shift, _least(builder, span, side))]
    if step == TWO:
        found.append(lanes(builder.add(shift, side), builder.sub(span, side)))
    return found


def _load(emitter: Emitter, step: int, row: Any, lanes: list[Any]) -> Any:
    """Those elements, side by side, and zeros."""
    vectors = [
        emitter.load_some(
            emitter.builder.gep(row, [_INT(i * emitter.lanes)]), emitter.mask(some)
        )
        for i, some in enumerate(lanes)
    ]  # fmt: skip
    if STRIDES[step] == 1:
        return vectors[0]
    first, second = (*vectors, emitter.zero)[:2]
    every_second = [2 * i for i in range(emitter.lanes)]
    order = ir.Constant(ir.VectorType(ir.IntType(32), emitter.lanes), every_second)
    return emitter.builder.shuffle_vector(first, second, order)


def make_narrow_tiles(vector_bytes: int, fused: bool) -> tuple[Any, Any]:
    """``narrow_sums`` and ``narrow_dots`` for vectors of a width."""

    @intrinsic
    def narrow_sums(  # type: ignore[no-untyped-def]
        context, kind, taps, dilation_w, weight, w_start, start, src, src_start, height, width,
        top, left, out, out_start, rows, cols, spill,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                kind, taps, dilation_w, weight, w_start, start, src, src_start, height, width,
                top, left, out, out_start, rows, cols, spill,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            weight = builder.gep(pointer(3, weight), [w_start])
            src = builder.gep(pointer(6, src), [src_start])
            out = builder.gep(pointer(12, out), [out_start])
            emitter = Emitter(builder, signature.args[3].dtype, vector_bytes, fused)
            written = emitter.mask(emitter.lanes_between(_INT(0), cols))
            none = emitter.no_lanes()

            def block(kh: int, reach: int, step: int, r: Any) -> list[Any]:
                """The sums of some rows: a loop over columns of taps; each row is loaded once."""
                stride, at_once = STRIDES[step], NARROW_ROWS[step]
                seen = stride * (at_once - 1) + kh

                def column(carried: list[Any]) -> list[Any]:
                    factors, shift, *sums = carried
                    inside = _seen(emitter, step, shift, width, cols)
                    at = builder.sub(builder.mul(r, _INT(stride)), top)
                    row = builder.gep(src, [builder.add(builder.mul(at, width), shift)])
                    full = [emitter.broadcast(builder.gep(factors, [_INT(k)])) for k in range(kh)]
                    for i in range(seen):
                        lanes = inside
                        if not reach <= i < seen - reach:
                            there = builder.icmp_unsigned("<", builder.add(at, _INT(i)), height)
                            lanes = [builder.select(there, some, none) for some in inside]
                        value = _load(emitter, step, row, lanes)
                        for n in range(at_once):
                            if 0 <= i - stride * n < kh:
                                sums[n] = emitter.multiply_add(full[i - stride * n], value, sums[n])
                        row = builder.gep(row, [width])
                    return [builder.gep(factors, [_INT(kh)]), builder.add(shift, dilation_w), *sums]

                carried = [weight, builder.neg(left), *[emitter.splat(start)] * at_once]
                return repeat(builder, builder.sdiv(taps, _INT(kh)), carried, column)[2:]

            def emit(kind: int) -> None:
                kh, reach, step = kind % 16, kind // 16 % 32, kind // 512
                at_once = NARROW_ROWS[step]
                last = builder.sub(rows, _INT(at_once))
                with cgutils.for_range_slice(builder, _INT(0), rows, _INT(at_once), _INT) as (r, _):
                    r = _least(builder, r, last)
                    target = builder.gep(out, [builder.mul(r, cols)])
                    for n, total in enumerate(block(kh, reach, step, r)):
                        if emitter.has_bits:
                            emitter.store_some(total, target, written)
                        else:
                            at = builder.add(r, _INT(n))
                            inside = builder.icmp_signed("<", at, spill)
                            with builder.if_else(inside, likely=True) as (then, otherwise):
                                with then:
                                    emitter.store(total, target, 0)
                                with otherwise:
                                    emitter.store_some(total, target, written)
                        target = builder.gep(target, [cols])

            switch(builder, kind, NARROW_KINDS, emit)
            return context.get_dummy_value()

        arguments = (
            kind, taps, dilation_w, weight, w_start, weight.dtype, src, src_start, height, width,
            top, left, out, out_start, rows, cols, spill,
        )  # fmt: skip
        return types.void(*arguments), generate

    @intrinsic
    def narrow_dots(  # type: ignore[no-untyped-def]
        context, step, a, a_start, rows, cols, b, b_start, height, width, top, left,
        dilation_h, dilation_w, sums, s_start,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                step, a, a_start, rows, cols, b, b_start, height, width, top, left,
                dilation_h, dilation_w, sums, s_start,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(1, a), [a_start])
            b = builder.gep(pointer(5, b), [b_start])
            sums = builder.gep(pointer(13, sums), [s_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)
            side = NARROW_DOTS
            whole = emitter.lanes_between(_INT(0), cols)
            shifts = [
                builder.sub(builder.mul(dilation_w, _INT(kw)), left) for kw in range(side)
            ]  # fmt: skip

            # Promoted to registers: each is a variable of its own.
            totals = [
                cgutils.alloca_once_value(builder, emitter.zero) for _ in range(side * side + 1)
            ]  # fmt: skip
            for total in totals:
                builder.store(emitter.zero, total)

            def emit(step: int) -> None:
                inside = [_seen(emitter, step, shift, width, cols) for shift in shifts]
                with cgutils.for_range(builder, rows, intp=_INT) as loop:
                    line = builder.gep(a, [builder.mul(loop.index, cols)])
                    shared = emitter.load_some(line, emitter.mask(whole))
                    builder.store(builder.fadd(builder.load(totals[-1]), shared), totals[-1])
                    first = builder.sub(builder.mul(loop.index, _INT(STRIDES[step])), top)
                    for kh in range(side):
                        ih = builder.add(first, builder.mul(dilation_h, _INT(kh)))
                        with builder.if_then(builder.icmp_unsigned("<", ih, height), likely=True):
                            source = builder.gep(b, [builder.mul(ih, width)])
                            for kw in range(side):
                                total = totals[kw * side + kh]
                                place = builder.gep(source, [shifts[kw]])
                                value = _load(emitter, step, place, inside[kw])
                                value = emitter.multiply_add(shared, value, builder.load(total))
                                builder.store(value, total)

            switch(builder, step, (ONE, TWO, TWO_OF_ONE), emit)
            for k, total in enumerate(totals):
                emitter.store(builder.fadd(emitter.load(sums, k), builder.load(total)), sums, k)
            return context.get_dummy_value()

        arguments = (
            step, a, a_start, rows, cols, b, b_start, height, width, top, left,
            dilation_h, dilation_w, sums, s_start,
        )  # fmt: skip
        return types.void(*arguments), generate

    return narrow_sums, narrow_dots


def plain_narrow_sums(
    kind: int, taps: int, dilation_w: int, weight: Array, w_start: int, start: float,
    src: Array, src_start: int, height: int, width: int, top: int, left: int,
    out: Array, out_start: int, rows: int, cols: int, spill: int,
) -> None:  # fmt: skip
    """out[r, c] = start + sum over taps of weight*src[r*stride - top + kh, c*stride - left + …].

    The first `spill` rows may be written on for a vector, into what is written later. Taps go down
    the columns of a window, one column after the other; src is zero around its plane.
    """
    plane = src[src_start : src_start + height * width].reshape(height, width)
    kernel_h, stride = kind % 16, STRIDES[kind // 512]
    for r in range(rows):
        total = np.full(cols, start, src.dtype)
        for k in range(taps):
            row, shift = r * stride - top + k % kernel_h, k // kernel_h * dilation_w - left
            if 0 <= row < height:
                total += weight[w_start + k] * _seen_row(plane[row], shift, cols, stride)
        out[out_start + r * cols : out_start + (r + 1) * cols] = total


def plain_narrow_dots(
    step: int, a: Array, a_start: int, rows: int, cols: int, b: Array, b_start: int, height: int,
    width: int, top: int, left: int, dilation_h: int, dilation_w: int, sums: Array, s_start: int,
) -> None:  # fmt: skip
    """Add to each tap's vector in sums what adds up to <a, b seen through it>; to the last one, a.

    Taps as above; their number and the order of a vector's lanes are the tile's own matter.
    """
    plane = b[b_start : b_start + height * width].reshape(height, width)
    lanes, taps, stride = lanes_of(a), NARROW_DOTS * NARROW_DOTS, STRIDES[step]
    for r in range(rows):
        line = a[a_start + r * cols : a_start + (r + 1) * cols]
        for k in range(taps):
            row = r * stride - top + k % NARROW_DOTS * dilation_h
            if 0 <= row < height:
                shift = k // NARROW_DOTS * dilation_w - left
                sums[s_start + k * lanes] += line @ _seen_row(plane[row], shift, cols, stride)
        sums[s_start + taps * lanes] += line.sum()


def _seen_row(row: Array, shift: int, cols: int, stride: int) -> Array:
    """The elements from a shift on, a stride apart, zeros outside."""
    seen = np.zeros(cols, row.dtype)
    for i in range(cols):
        if 0 <= i * stride + shift < row.size:
            seen[i] = row[i * stride + shift]
    return seen


if JIT:
    narrow_sums, narrow_dots = make_narrow_tiles(VECTOR_BYTES, FUSED)
else:
    narrow_sums, narrow_dots = plain_narrow_sums, plain_narrow_dots
