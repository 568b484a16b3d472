"""What a depthwise convolution does to the rows of a plane, by vectors along them.

The twin for Cython is src_kernels/depthwise.h. A *kind* of sums is a constant: how many rows are
summed at once, and, if the rows of a window are neighbours, their number and how many rows lie from
one window to the next (the gap). Then each row of the source is loaded once, down a column of taps,
for all the sums that it is part of.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, inner, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, MASKS, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, switch
from fastscratch.types import Array

AT_ONCE = (8, 7, 4, 1)
"""Rows that are summed at once: seven or eight sums hide the latency of their additions."""

SQUARES = ((1, 2), (1, 3), (1, 5), (1, 7), (2, 3), (2, 5))
"""Gaps and heights of windows whose rows are neighbours; any others go tap by tap."""

DOT_TAPS = 9
"""Taps whose products are summed at once: the sums fit the registers."""

KINDS = tuple(
    at_once + 16 * gap + 64 * height
    for at_once in AT_ONCE
    for gap, height in ((0, 1), *SQUARES)
    if gap == 0 or at_once > 1
)

_INT = ir.IntType(64)


@inner
def kind_of(rows: int, gap: int, height: int) -> int:
    """The kind of sums for so many rows: the one that computes the fewest in vain."""
    eights, sevens, fours = (rows + 7) // 8 * 8, (rows + 6) // 7 * 7, (rows + 3) // 4 * 4
    at_once = 1
    if rows >= 8 and eights <= sevens:
        at_once = 8
    elif rows >= 7 and 4 * sevens <= 5 * fours:
        at_once = 7
    elif rows >= 4:
        at_once = 4
    square = gap == 1 and (height == 2 or height == 3 or height == 5 or height == 7)
    square = square or (gap == 2 and (height == 3 or height == 5))
    if not square or at_once == 1:
        return at_once + 64
    return at_once + 16 * gap + 64 * height


@intrinsic
def _weighted_sums(  # type: ignore[no-untyped-def]
    context, kind, taps, weight, w_start, offsets, o_start, start, src, src_start, row_step,
    out, out_start, out_step, rows, cols, spill,
):  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (
            kind, taps, weight, w_start, offsets, o_start, start, src, src_start, row_step,
            out, out_start, out_step, rows, cols, spill,
        ) = arguments  # fmt: skip
        pointer = pointers(context, builder, signature)
        weight = builder.gep(pointer(2, weight), [w_start])
        offsets = builder.gep(pointer(4, offsets), [o_start])
        src = builder.gep(pointer(7, src), [src_start])
        out = builder.gep(pointer(10, out), [out_start])
        emitter = Emitter(builder, signature.args[2].dtype, VECTOR_BYTES, FUSED)
        side = _INT(emitter.lanes)
        is_short = builder.icmp_signed("<", cols, side)
        some = cgutils.alloca_once(builder, emitter.scalar, size=emitter.lanes)
        written = emitter.mask(emitter.lanes_between(_INT(0), cols)) if MASKS else None

        def block(at_once: int, gap: int, height: int, source: Any) -> list[Any]:
            """The sums of some rows, a vector wide: a loop over columns of taps."""
            first = emitter.splat(start)
            before = builder.block
            loop = builder.append_basic_block("columns.loop")
            after = builder.append_basic_block("columns.done")
            builder.cbranch(builder.icmp_signed("<", _INT(0), taps), loop, after)
            builder.position_at_end(loop)
            k = builder.phi(_INT)
            phis = [builder.phi(emitter.vector) for _ in range(at_once)]
            row = builder.gep(source, [builder.load(builder.gep(offsets, [k]))])
            places = [builder.gep(weight, [builder.add(k, _INT(kh))]) for kh in range(height)]
            factors = [emitter.broadcast(place) for place in places]
            sums = list(phis)
            step = row_step
            if gap == 2:
                step = builder.ashr(row_step, _INT(1))
            for i in range(max(gap, 1) * (at_once - 1) + height):
                value = emitter.load(row, 0)
                for r in range(at_once):
                    if 0 <= i - max(gap, 1) * r < height:
                        sums[r] = emitter.multiply_add(factors[i - max(gap, 1) * r], value, sums[r])
                row = builder.gep(row, [step])
            following = builder.add(k, _INT(height))
            builder.cbranch(builder.icmp_signed("<", following, taps), loop, after)
            k.add_incoming(_INT(0), before)
            k.add_incoming(following, loop)
            builder.position_at_end(after)
            finals = []
            for phi, total in zip(phis, sums, strict=True):
                final = builder.phi(emitter.vector)
                for each in (phi, final):
                    each.add_incoming(first, before)
                    each.add_incoming(total, loop)
                finals.append(final)
            return finals

        def emit(case: int) -> None:
            at_once, gap, height = case % 16, case // 16 % 4, case // 64
            last_row, last_col = builder.sub(rows, _INT(at_once)), builder.sub(cols, side)
            last_col = builder.select(is_short, _INT(0), last_col)
            with cgutils.for_range_slice(builder, _INT(0), rows, _INT(at_once), _INT) as (r, _):
                r = _least(builder, r, last_row)
                line = builder.gep(src, [builder.mul(r, row_step)])
                target = builder.gep(out, [builder.mul(r, out_step)])
                end = builder.add(r, _INT(at_once))
                whole = builder.not_(is_short)
                if not MASKS:
                    whole = builder.or_(whole, builder.icmp_signed("<=", end, spill))
                with cgutils.for_range_slice(builder, _INT(0), cols, side, _INT) as (i, _):
                    i = _least(builder, i, last_col)
                    sums = block(at_once, gap, height, builder.gep(line, [i]))
                    place = builder.gep(target, [i])
                    with builder.if_else(whole, likely=True) as (inside, at_the_end):
                        with inside:
                            to = place
                            for total in sums:
                                emitter.store(total, to, 0)
                                to = builder.gep(to, [out_step])
                        with at_the_end:
                            to = place
                            for total in sums:
                                if MASKS:
                                    emitter.store_some(total, to, written)
                                    to = builder.gep(to, [out_step])
                                    continue
                                emitter.store(total, some, 0)
                                with cgutils.for_range(builder, cols, intp=_INT) as each:
                                    value = builder.load(builder.gep(some, [each.index]))
                                    at = builder.gep(to, [each.index])
                                    builder.store(value, at, align=emitter.itemsize)
                                to = builder.gep(to, [out_step])

        switch(builder, kind, KINDS, emit)
        return context.get_dummy_value()

    arguments = (
        kind, taps, weight, w_start, offsets, o_start, weight.dtype, src, src_start, row_step,
        out, out_start, out_step, rows, cols, spill,
    )  # fmt: skip
    return types.void(*arguments), generate


def _least(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


@intrinsic
def _lane_dots(  # type: ignore[no-untyped-def]
    context, taps, a, a_start, a_step, b, b_start, b_step, offsets, first, rows, cols,
    sums, s_start,
):  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (
            taps, a, a_start, a_step, b, b_start, b_step, offsets, first, rows, cols,
            sums, s_start,
        ) = arguments  # fmt: skip
        pointer = pointers(context, builder, signature)
        a = builder.gep(pointer(1, a), [a_start])
        b = builder.gep(pointer(4, b), [b_start])
        offsets = builder.gep(pointer(7, offsets), [first])
        sums = builder.gep(pointer(11, sums), [s_start])
        emitter = Emitter(builder, signature.args[1].dtype, VECTOR_BYTES, FUSED)
        side = emitter.lanes
        zero = ir.Constant(emitter.vector, [0.0] * side)
        is_short = builder.icmp_signed("<", cols, _INT(side))
        whole = builder.mul(builder.sdiv(cols, _INT(side)), _INT(side))
        tail = builder.sub(cols, whole)
        # Lanes of a row's last vector that the one before it has not had, or that are in the row.
        low = builder.select(is_short, _INT(0), builder.sub(_INT(side), tail))
        high = builder.select(is_short, tail, _INT(side))
        last = builder.select(is_short, _INT(0), builder.sub(cols, _INT(side)))
        inside = builder.and_(emitter.from_lane(low), builder.not_(emitter.from_lane(high)))
        has_tail = builder.icmp_signed("<", _INT(0), tail)

        def emit(count: int) -> None:
            places = [builder.load(builder.gep(offsets, [_INT(k)])) for k in range(count)]
            # Promoted to registers: each is a variable of its own.
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(count + 1)]
            for total in totals:
                builder.store(zero, total)

            def seen(place: Any) -> Any:
                return builder.select(inside, emitter.load(place, 0), zero)

            def whole_vector(place: Any) -> Any:
                return emitter.load(place, 0)

            def add(line: Any, row: Any, shared_of: Any, value_of: Any) -> None:
                shared = shared_of(line)
                for total, place in zip(totals, places, strict=False):
                    value = value_of(builder.gep(row, [place]))
                    value = emitter.multiply_add(shared, value, builder.load(total))
                    builder.store(value, total)
                builder.store(builder.fadd(builder.load(totals[-1]), shared), totals[-1])

            with cgutils.for_range(builder, rows, intp=_INT) as loop:
                line = builder.gep(a, [builder.mul(loop.index, a_step)])
                row = builder.gep(b, [builder.mul(loop.index, b_step)])
                with cgutils.for_range_slice(builder, _INT(0), whole, _INT(side), _INT) as (j, _):
                    add(builder.gep(line, [j]), builder.gep(row, [j]), whole_vector, whole_vector)
                with builder.if_then(has_tail), builder.if_else(is_short) as (short, long):
                    # What lies behind a short row may be infinite; no window of the row sees it.
                    with short:
                        add(line, row, seen, seen)
                    with long:
                        place = builder.gep(line, [last])
                        add(place, builder.gep(row, [last]), seen, whole_vector)
            for k, total in enumerate(totals):
                sofar = emitter.load(sums, k)
                # Taps that follow have their sums here; the last of all is that of a itself.
                if k < count:
                    emitter.store(builder.fadd(sofar, builder.load(total)), sums, k)
            with builder.if_then(builder.icmp_signed("==", first, _INT(0))):
                of_all = builder.gep(sums, [builder.mul(taps, _INT(side))])
                sofar = emitter.load(of_all, 0)
                emitter.store(builder.fadd(sofar, builder.load(totals[-1])), of_all, 0)

        remaining = builder.sub(taps, first)
        most = builder.select(
            builder.icmp_signed("<", remaining, _INT(DOT_TAPS)), remaining, _INT(DOT_TAPS)
        )
        switch(builder, most, range(1, DOT_TAPS + 1), emit)
        return context.get_dummy_value()

    arguments = (
        taps, a, a_start, a_step, b, b_start, b_step, offsets, first, rows, cols, sums, s_start,
    )  # fmt: skip
    return types.void(*arguments), generate


def _both(
    builder: Any, side: int, count: Any, goes_on: Any, vector: Callable[[Any], None],
    pair: Callable[[Any], None], last: Callable[[Any], None],
) -> None:  # fmt: skip
    """Emit a loop over pairs of elements by two vectors, or, in short lines, one by one.

    The last vectors overlap those before; an odd element is left over.
    """
    width = _INT(2 * side)
    pairs = builder.and_(count, _INT(-2))
    is_long = builder.icmp_signed("<=", width, count)
    with builder.if_else(builder.or_(is_long, goes_on)) as (by_vectors, one_by_one):
        with by_vectors:
            end = builder.select(is_long, builder.sub(pairs, width), _INT(0))
            with cgutils.for_range_slice(builder, _INT(0), pairs, width, _INT) as (i, _):
                vector(_least(builder, i, end))
        with one_by_one, cgutils.for_range_slice(builder, _INT(0), pairs, _INT(2), _INT) as (i, _):
            pair(i)
    with builder.if_then(builder.icmp_signed("<", pairs, count)):
        last(pairs)


def _mask(indices: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


@intrinsic
def _split_row(context, src, src_start, dst, even, odd, count, reads_on):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, src_start, dst, even, odd, count, reads_on = arguments
        pointer = pointers(context, builder, signature)
        src, dst = builder.gep(pointer(0, src), [src_start]), pointer(2, dst)
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
        side = emitter.lanes

        def half(i: Any) -> Any:
            return builder.ashr(i, _INT(1))

        def vector(i: Any) -> None:
            place = builder.gep(src, [i])
            low, high = emitter.load(place, 0), emitter.load(place, 1)
            for part, start in enumerate((even, odd)):
                taken = builder.shuffle_vector(
                    low, high, _mask([2 * e + part for e in range(side)])
                )
                emitter.store(taken, builder.gep(dst, [builder.add(start, half(i))]), 0)

        def move(i: Any, start: Any, to: Any) -> None:
            value = builder.load(builder.gep(src, [i]), align=emitter.itemsize)
            builder.store(value, builder.gep(dst, [builder.add(start, to)]), align=emitter.itemsize)

        def pair(i: Any) -> None:
            move(i, even, half(i))
            move(builder.add(i, _INT(1)), odd, half(i))

        _both(builder, side, count, reads_on, vector, pair, lambda i: move(i, even, half(i)))
        return context.get_dummy_value()

    return types.void(src, src_start, dst, even, odd, count, reads_on), generate


@intrinsic
def _merge_row(context, src, even, odd, dst, dst_start, count, writes_on):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, even, odd, dst, dst_start, count, writes_on = arguments
        pointer = pointers(context, builder, signature)
        src, dst = pointer(0, src), builder.gep(pointer(3, dst), [dst_start])
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
        side = emitter.lanes

        def half(i: Any) -> Any:
            return builder.ashr(i, _INT(1))

        def vector(i: Any) -> None:
            low, high = (
                emitter.load(builder.gep(src, [builder.add(start, half(i))]), 0)
                for start in (even, odd)
            )
            place = builder.gep(dst, [i])
            for part in range(2):
                order = [(part * side + e) // 2 + e % 2 * side for e in range(side)]
                emitter.store(builder.shuffle_vector(low, high, _mask(order)), place, part)

        def move(start: Any, at: Any, i: Any) -> None:
            value = builder.load(builder.gep(src, [builder.add(start, at)]), align=emitter.itemsize)
            builder.store(value, builder.gep(dst, [i]), align=emitter.itemsize)

        def pair(i: Any) -> None:
            move(even, half(i), i)
            move(odd, half(i), builder.add(i, _INT(1)))

        _both(builder, side, count, writes_on, vector, pair, lambda i: move(even, half(i), i))
        return context.get_dummy_value()

    return types.void(src, even, odd, dst, dst_start, count, writes_on), generate


def plain_weighted_sums(
    kind: int, taps: int, weight: Array, w_start: int, offsets: Array, o_start: int, start: float,
    src: Array, src_start: int, row_step: int, out: Array, out_start: int, out_step: int,
    rows: int, cols: int, spill: int,
) -> None:  # fmt: skip
    """out[r, :] = start + the sum over taps k of weight[k]*src[r*row_step + offsets[k] + :].

    Rows shorter than a vector may be written on behind their end: the first ``spill`` of them.
    """
    for r in range(rows):
        total = out[out_start + r * out_step :][:cols]
        total[:] = start
        for k in range(taps):
            place = src_start + r * row_step + offsets[o_start + k]
            total += weight[w_start + k] * src[place : place + cols]


def plain_lane_dots(
    taps: int, a: Array, a_start: int, a_step: int, b: Array, b_start: int, b_step: int,
    offsets: Array, first: int, rows: int, cols: int, sums: Array, s_start: int,
) -> None:  # fmt: skip
    """Add to each tap's vector in sums what adds up to <a, b at the tap>; to the last one, a.

    These are the taps from ``first`` on, as many as fit the registers.
    """
    side = lanes_of(a)
    for r in range(rows):
        line = a[a_start + r * a_step :][:cols]
        for k in range(first, min(first + DOT_TAPS, taps)):
            place = b_start + r * b_step + offsets[k]
            sums[s_start + (k - first) * side] += line @ b[place : place + cols]
        if first == 0:
            sums[s_start + taps * side] += line.sum()


def plain_split_row(
    src: Array, src_start: int, dst: Array, even: int, odd: int, count: int, reads_on: bool
) -> None:
    """Every second element of a row to one place, the others to another; it may be read on."""
    row = src[src_start : src_start + count]
    dst[even : even + (count + 1) // 2], dst[odd : odd + count // 2] = row[::2], row[1::2]


def plain_merge_row(
    src: Array, even: int, odd: int, dst: Array, dst_start: int, count: int, writes_on: bool
) -> None:
    """A row of the elements of two in turn; it may be written on."""
    row = dst[dst_start : dst_start + count]
    row[::2], row[1::2] = src[even : even + (count + 1) // 2], src[odd : odd + count // 2]


if JIT:
    weighted_sums, lane_dots = _weighted_sums, _lane_dots
    split_row, merge_row = _split_row, _merge_row
else:
    weighted_sums, lane_dots = plain_weighted_sums, plain_lane_dots
    split_row, merge_row = plain_split_row, plain_merge_row
