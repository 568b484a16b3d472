"""The register tile of matrix products: what a product needs of ``tile``, without its tables.

Its twin is ``src_kernels/product.h``. A product's operands lie at even steps, so that nothing but
they is loaded.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import (
    FEW_COLUMNS,
    FUSED,
    ROWS,
    TRIPLE_ROWS,
    VECTOR_BYTES,
)
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, repeat, switch
from fastscratch.types import Array

UNROLLED = 4
"""Steps of k in one turn of the loop, which are then multiply-adds and loads alone.

A tenth faster, and a fifth where another program has the other half of the core. Larger tiles have
enough sums in one step; smaller ones are rare, and would only take time to compile.
"""

UNROLLED_SUMS = range(8, 17)
"""Sums of a tile that is unrolled."""

_INT = ir.IntType(64)


def make_product_tile(vector_bytes: int, rows_max: int, triple_max: int, fused: bool) -> Any:
    """``product_tile`` for vectors of a width, and for at most so many rows of two and three."""

    @intrinsic
    def product_tile(  # type: ignore[no-untyped-def]
        context, rows, vectors, side_by_side, a, a_start, a_step, depth, b, b_start,
        init, init_start, init_row, out, out_start, out_row,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, vectors, side_by_side, a, a_start, a_step, depth, b, b_start,
                init, init_start, init_row, out, out_start, out_row,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(3, a), [a_start])
            b = builder.gep(pointer(7, b), [b_start])
            init = builder.gep(pointer(9, init), [init_start])
            out = builder.gep(pointer(12, out), [out_start])
            emitter = Emitter(builder, signature.args[3].dtype, vector_bytes, fused)

            def emit(case: int) -> None:
                rows, vectors, form = case // 8, case // 2 % 4, case % 2
                steps = UNROLLED if rows * vectors in UNROLLED_SUMS else 1
                a_row, a_k = (_INT(1), a_step) if form else (a_step, _INT(1))
                if steps == 1:
                    a_row = builder.select(side, _INT(1), a_step)
                    a_k = builder.select(side, a_step, _INT(1))
                place = _Place(emitter, out, out_row, rows, vectors)
                in_steps = rows * vectors >= UNROLLED_SUMS.stop
                if not in_steps:
                    place.prefetch_all()
                # The next tile's part of a row may be a page of its own.
                ahead = builder.select(side, _INT(2 * rows_max - 1), _INT(0))
                sums = _sums(
                    emitter, rows, vectors, steps, a, a_row, a_k, depth, b, None,
                    place if in_steps else None, ahead,
                )  # fmt: skip
                emitter.store_sums(sums, init, init_row, out, out_row)

            shapes = [(rows, 2) for rows in range(1, rows_max + 1)]
            shapes += [(rows, 3) for rows in range(1, triple_max + 1)]
            cases = [rows * 8 + vectors * 2 for rows, vectors in shapes]
            # What is unrolled has a form of its own for rows that lie side by side.
            cases += [r * 8 + v * 2 + 1 for r, v in shapes if r * v in UNROLLED_SUMS]
            side = builder.icmp_signed("!=", side_by_side, _INT(0))
            beyond = builder.sub(builder.mul(rows, vectors), _INT(UNROLLED_SUMS.start))
            is_unrolled = builder.icmp_unsigned("<", beyond, _INT(len(UNROLLED_SUMS)))
            form = builder.zext(builder.and_(side, is_unrolled), _INT)
            case = builder.add(builder.mul(rows, _INT(8)), builder.mul(vectors, _INT(2)))
            switch(builder, builder.add(case, form), cases, emit)
            return context.get_dummy_value()

        arguments = (
            rows, vectors, side_by_side, a, a_start, a_step, depth, b, b_start,
            init, init_start, init_row, out, out_start, out_row,
        )  # fmt: skip
        return types.void(*arguments), generate

    return product_tile


def make_few_columns(vector_bytes: int, most: int, fused: bool) -> Any:
    """``few_columns`` for vectors of a width, and for at most so many columns."""

    @intrinsic
    def few_columns(  # type: ignore[no-untyped-def]
        context, columns, a, a_start, a_step, depth, b, b_start, b_step, sums, sums_start
    ):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            columns, a, a_start, a_step, depth, b, b_start, b_step, sums, sums_start = arguments
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(1, a), [a_start])
            b = builder.gep(pointer(5, b), [b_start])
            out = builder.gep(pointer(8, sums), [sums_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)

            def emit(columns: int) -> None:
                sums = _sums(emitter, columns, 3, 1, b, _INT(1), b_step, depth, a, a_step)
                for i in range(3 * columns):
                    emitter.store(sums[i // 3][i % 3], out, i)

            switch(builder, columns, range(1, most + 1), emit)
            return context.get_dummy_value()

        arguments = columns, a, a_start, a_step, depth, b, b_start, b_step, sums, sums_start
        return types.void(*arguments), generate

    return few_columns


class _Place:
    """Where the sums of a tile go: it may be far away, and by the end of the loop it is here."""

    def __init__(self, emitter: Emitter, out: Any, out_row: Any, rows: int, vectors: int) -> None:
        self.emitter = emitter
        self.first, self.row, self.rows = out, out_row, rows
        self.last = emitter.builder.gep(out, [emitter.builder.mul(out_row, _INT(rows - 1))])
        self.end = _INT(vectors * emitter.lanes - 1)

    def prefetch(self, row: Any) -> Any:
        """One row; the one after it, in a circle.

        A tall tile that asks for all its rows at once holds up b: 0.9 of the speed where sums of 32
        to 128 terms make a large matrix. A low one has no time to spare in a step.
        """
        builder = self.emitter.builder
        self.emitter.prefetch(row, True)
        self.emitter.prefetch(builder.gep(row, [self.end]), True)
        after = builder.gep(row, [self.row])
        return builder.select(builder.icmp_unsigned("==", row, self.last), self.first, after)

    def prefetch_all(self) -> None:
        """Every row at once."""
        row = self.first
        for _ in range(self.rows):
            row = self.prefetch(row)


def _sums(
    emitter: Emitter, rows: int, vectors: int, steps: int, a: Any, a_row: Any, a_k: Any, depth: Any,
    b: Any, b_k: Any = None, place: _Place | None = None, ahead: Any = None,
) -> list[list[Any]]:  # fmt: skip
    """Emit the loop over k, so many steps a turn, and one over the steps that are left.

    Without a step from one row of b to the next, it is packed. Each step can fetch a row of the
    place where the sums go, and what is some elements ahead in a.
    """
    builder = emitter.builder
    b_k = b_k or _INT(vectors * emitter.lanes)
    b_multiple = emitter.multiples(b_k, steps)
    row_multiple = emitter.multiples(a_row, rows)
    k_multiple = emitter.multiples(a_k, steps)

    def turn(steps: int) -> Any:
        def body(carried: list[Any]) -> list[Any]:
            a, b, row, *sums = carried
            for k in range(steps):
                if place is not None:
                    row = place.prefetch(row)
                    emitter.prefetch(builder.gep(k_multiple(a, k), [ahead]), False)
                columns = [emitter.load(b_multiple(b, k), v) for v in range(vectors)]
                for r in range(rows):
                    factor = emitter.broadcast(k_multiple(row_multiple(a, r), k))
                    for v in range(vectors):
                        i = r * vectors + v
                        sums[i] = emitter.multiply_add(factor, columns[v], sums[i])
            a = builder.gep(a, [builder.mul(a_k, _INT(steps))])
            b = builder.gep(b, [builder.mul(b_k, _INT(steps))])
            # Else LLVM makes each address of the one before: a chain as long as the sums take.
            return [emitter.opaque(a), b, row, *sums]

        return body

    carried = [a, b, a if place is None else place.first, *[emitter.zero] * (rows * vectors)]
    if steps > 1:
        carried = repeat(builder, builder.sdiv(depth, _INT(steps)), carried, turn(steps))
        depth = builder.srem(depth, _INT(steps))
    sums = repeat(builder, depth, carried, turn(1))[3:]
    return [sums[r * vectors : (r + 1) * vectors] for r in range(rows)]


def plain_product_tile(
    rows: int, vectors: int, side_by_side: int, a: Array, a_start: int, a_step: int, depth: int,
    b: Array, b_start: int, init: Array, init_start: int, init_row: int,
    out: Array, out_start: int, out_row: int,
) -> None:  # fmt: skip
    """out[r, :] = init[r, :] + sum over k of a[r, k]*b[k, :], for two or three vectors.

    a[r, k] is a[r*a_step + k], or a[k*a_step + r] if its rows lie side by side; b is packed.
    """
    width = vectors * lanes_of(a)
    a_row, a_k = (1, a_step) if side_by_side else (a_step, 1)
    for r in range(rows):
        total = init[init_start + r * init_row :][:width].copy()
        for k in range(depth):
            total += a[a_start + r * a_row + k * a_k] * b[b_start + k * width :][:width]
        out[out_start + r * out_row :][:width] = total


def plain_few_columns(
    columns: int, a: Array, a_start: int, a_step: int, depth: int,
    b: Array, b_start: int, b_step: int, sums: Array, sums_start: int,
) -> None:  # fmt: skip
    """sums[n, :] = sum over k of a[k, :]*b[k, n], for three vectors of a."""
    width = 3 * lanes_of(a)
    for n in range(columns):
        total = np.zeros(width, a.dtype)
        for k in range(depth):
            total += a[a_start + k * a_step :][:width] * b[b_start + k * b_step + n]
        sums[sums_start + n * width :][:width] = total


if JIT:
    few_columns = make_few_columns(VECTOR_BYTES, FEW_COLUMNS, FUSED)
    product_tile = make_product_tile(VECTOR_BYTES, ROWS, TRIPLE_ROWS, FUSED)
else:
    few_columns = plain_few_columns
    product_tile = plain_product_tile
