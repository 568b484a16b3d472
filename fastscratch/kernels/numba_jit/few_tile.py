"""Tiles of products of one row: the larger operand is read where it lies, in whole vectors.

What does not fill a vector is left to one that overlaps the vector before; what both hold counts
once. Left to the compiler, the last columns of each line are handled one by one.
"""

from typing import Any

from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, repeat, switch
from fastscratch.types import Array

LINES = 8
"""Lines that `add_lines` takes at once, each of them a stream from memory."""

_INT = ir.IntType(64)


def make_few_tiles(vector_bytes: int, fused: bool) -> tuple[Any, Any]:
    """``add_lines`` and ``add_dots`` for vectors of a width."""

    @intrinsic
    def add_lines(  # type: ignore[no-untyped-def]
        context, fresh, lines, a, a_start, a_step, b, b_start, b_step, width, out, out_start
    ):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                fresh, lines, a, a_start, a_step, b, b_start, b_step, width, out, out_start,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(2, a), [a_start])
            b = builder.gep(pointer(5, b), [b_start])
            out = builder.gep(pointer(9, out), [out_start])
            emitter = Emitter(builder, signature.args[2].dtype, vector_bytes, fused)
            side = emitter.lanes
            whole = builder.sdiv(width, _INT(side))
            rest = builder.srem(width, _INT(side))

            def emit(lines: int) -> None:
                factors = [
                    emitter.broadcast(builder.gep(a, [builder.mul(a_step, _INT(k))]))
                    for k in range(lines)
                ]
                line = emitter.multiples(b_step, lines)

                def add(b: Any, total: Any) -> Any:
                    for k, factor in enumerate(factors):
                        total = emitter.multiply_add(factor, emitter.load(line(b, k), 0), total)
                    return total

                def turn(carried: list[Any]) -> list[Any]:
                    b, out = carried
                    before = builder.select(fresh, emitter.zero, emitter.load(out, 0))
                    emitter.store(add(b, before), out, 0)
                    return [emitter.opaque(builder.gep(x, [_INT(side)])) for x in (b, out)]

                def last(carried: list[Any]) -> list[Any]:
                    skip = builder.sub(_INT(side), rest)
                    b, out = (builder.gep(x, [builder.neg(skip)]) for x in carried)
                    counted = emitter.from_lane(skip)
                    # Not a choice of what is stored: masked stores are slow.
                    total = builder.select(counted, add(b, emitter.zero), emitter.zero)
                    stale = builder.select(fresh, counted, ir.Constant(counted.type, None))
                    before = builder.select(stale, emitter.zero, emitter.load(out, 0))
                    emitter.store(builder.fadd(before, total), out, 0)
                    return carried

                ends = repeat(builder, whole, [b, out], turn)
                repeat(builder, builder.zext(_positive(builder, rest), _INT), ends, last)

            switch(builder, lines, range(1, LINES + 1), emit)
            return context.get_dummy_value()

        arguments = (
            fresh, lines, a, a_start, a_step, b, b_start, b_step, width, out, out_start,
        )  # fmt: skip
        return types.void(*arguments), generate

    @intrinsic
    def add_dots(  # type: ignore[no-untyped-def]
        context, skip, a, a_start, b, b_start, b_step, depth, out, out_start
    ):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            skip, a, a_start, b, b_start, b_step, depth, out, out_start = arguments
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(1, a), [a_start])
            b = builder.gep(pointer(3, b), [b_start])
            out = builder.gep(pointer(7, out), [out_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)
            side = emitter.lanes
            row = emitter.multiples(b_step, side)

            def turn(carried: list[Any]) -> list[Any]:
                a, b, *sums = carried
                factor = emitter.load(a, 0)
                for r in range(side):
                    line = emitter.load(row(b, r), 0)
                    sums[r] = emitter.multiply_add(factor, line, sums[r])
                b = emitter.opaque(builder.gep(b, [_INT(side)]))
                return [builder.gep(a, [_INT(side)]), b, *sums]

            whole = builder.sdiv(depth, _INT(side))
            sums = repeat(builder, whole, [a, b, *[emitter.zero] * side], turn)[2:]
            rest = builder.srem(depth, _INT(side))

            def last(carried: list[Any]) -> list[Any]:
                at = builder.sub(depth, _INT(side))
                counted = emitter.from_lane(builder.sub(_INT(side), rest))
                factor = emitter.load(builder.gep(a, [at]), 0)
                factor = builder.select(counted, factor, emitter.zero)
                for r in range(side):
                    line = emitter.load(builder.gep(row(b, r), [at]), 0)
                    line = builder.select(counted, line, emitter.zero)
                    carried[r] = emitter.multiply_add(factor, line, carried[r])
                return carried

            any_left = builder.zext(_positive(builder, rest), _INT)
            sums = emitter.transposed(repeat(builder, any_left, sums, last))
            while len(sums) > 1:
                sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
            total = builder.select(emitter.from_lane(skip), sums[0], emitter.zero)
            emitter.add([[total]], out, _INT(0))
            return context.get_dummy_value()

        arguments = skip, a, a_start, b, b_start, b_step, depth, out, out_start
        return types.void(*arguments), generate

    return add_lines, add_dots


def _positive(builder: Any, number: Any) -> Any:
    return builder.icmp_signed(">", number, _INT(0))


def plain_add_lines(
    fresh: bool, lines: int, a: Array, a_start: int, a_step: int, b: Array, b_start: int,
    b_step: int, width: int, out: Array, out_start: int,
) -> None:  # fmt: skip
    """out = sum over a few k of a[k]*b[k, :] (+ out, unless fresh), a vector of columns or more."""
    if fresh:
        out[out_start:][:width] = 0
    for k in range(lines):
        row = b[b_start + k * b_step :][:width]
        out[out_start:][:width] += a[a_start + k * a_step] * row


def plain_add_dots(
    skip: int, a: Array, a_start: int, b: Array, b_start: int, b_step: int, depth: int,
    out: Array, out_start: int,
) -> None:  # fmt: skip
    """out[n] += <a, b[n, :]> for a vector of n but for the first ``skip``.

    Where the depth fills no vector, as many elements before a and the rows of b are read.
    """
    for n in range(skip, lanes_of(a)):
        row = b[b_start + n * b_step :][:depth]
        out[out_start + n] += (a[a_start:][:depth] * row).sum()


if JIT:
    add_lines, add_dots = make_few_tiles(VECTOR_BYTES, FUSED)
else:
    add_lines, add_dots = plain_add_lines, plain_add_dots
