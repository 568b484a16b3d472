"""Sums of windows of an image that lie anywhere: what a scattered gradient makes of its weights.

Its twin is ``src_kernels/scattered.h``.
"""

from typing import Any

from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, switch
from fastscratch.types import Array

_INT = ir.IntType(64)

SCATTERED_ROWS = 6
"""Rows of a window that are summed together: two sums each, and a few more, fit 16 registers."""


def make_scattered_sums(vector_bytes: int, fused: bool) -> Any:
    """``scattered_sums`` for vectors of a width."""

    @intrinsic
    def scattered_sums(  # type: ignore[no-untyped-def]
        context, rows, x, x_start, row_offset, first, place, place_start, value, value_start,
        pairs, sums, sums_start,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, x, x_start, row_offset, first, place, place_start, value, value_start,
                pairs, sums, sums_start,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            x = builder.gep(pointer(1, x), [x_start])
            row_offset = builder.gep(pointer(3, row_offset), [first])
            place = builder.gep(pointer(5, place), [place_start])
            value = builder.gep(pointer(7, value), [value_start])
            sums = builder.gep(pointer(10, sums), [sums_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)

            def emit(rows: int) -> None:
                starts = [
                    builder.gep(x, [builder.load(builder.gep(row_offset, [_INT(r)]))])
                    for r in range(rows)
                ]
                totals = _loop(builder, emitter, starts, place, value, pairs)
                emitter.add([totals], sums, _INT(0))

            switch(builder, rows, range(1, SCATTERED_ROWS + 1), emit)
            return context.get_dummy_value()

        arguments = (
            rows, x, x_start, row_offset, first, place, place_start, value, value_start,
            pairs, sums, sums_start,
        )  # fmt: skip
        return types.void(*arguments), generate

    return scattered_sums


def _loop(
    builder: Any, emitter: Emitter, starts: list[Any], place: Any, value: Any, pairs: Any
) -> list[Any]:
    """Emit the loop over pairs of windows, each with sums of its own, and add the two up."""
    before = builder.block
    loop = builder.append_basic_block("scattered.loop")
    after = builder.append_basic_block("scattered.done")
    builder.cbranch(builder.icmp_signed(">", pairs, _INT(0)), loop, after)
    zero = ir.Constant(emitter.vector, [0.0] * emitter.lanes)

    builder.position_at_end(loop)
    i = builder.phi(_INT)
    i.add_incoming(_INT(0), before)
    sums = [[builder.phi(emitter.vector) for _ in starts] for _ in range(2)]
    results = []
    for half, row in enumerate(sums):
        at = builder.add(builder.mul(i, _INT(2)), _INT(half))
        factor = emitter.broadcast(builder.gep(value, [at]))
        offset = builder.load(builder.gep(place, [at]))
        windows = [emitter.load(builder.gep(start, [offset]), 0) for start in starts]
        results.append(
            [emitter.multiply_add(factor, w, c) for w, c in zip(windows, row, strict=True)]
        )
    following = builder.add(i, _INT(1))
    i.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, pairs), loop, after)

    builder.position_at_end(after)
    finals = [[builder.phi(emitter.vector) for _ in starts] for _ in range(2)]
    for half in range(2):
        for r in range(len(starts)):
            for phi in (sums[half][r], finals[half][r]):
                phi.add_incoming(zero, before)
                phi.add_incoming(results[half][r], loop)
    return [builder.fadd(a, b) for a, b in zip(*finals, strict=True)]


def plain_scattered_sums(
    rows: int, x: Array, x_start: int, row_offset: Array, first: int, place: Array,
    place_start: int, value: Array, value_start: int, pairs: int, sums: Array, sums_start: int,
) -> None:  # fmt: skip
    """sums[r, :] += the sum over 2*pairs windows i of value[i] * x[place[i] + row_offset[r] + :]"""
    lanes = lanes_of(x)
    for r in range(rows):
        for i in range(2 * pairs):
            start = x_start + place[place_start + i] + row_offset[first + r]
            sums[sums_start + r * lanes :][:lanes] += (
                value[value_start + i] * x[start : start + lanes]
            )


scattered_sums: Any = make_scattered_sums(VECTOR_BYTES, FUSED) if JIT else plain_scattered_sums
