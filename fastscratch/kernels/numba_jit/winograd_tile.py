"""What the minimal-filtering convolutions are made of: transforms of blocks, and their product.

Both forms work on vectors along the last axis (channels), whatever else an array's axes mean::

    transform       dst[i, j, :] = sum over a, b of matrix[i, a]*matrix[j, b]*src[a, b, :]
    tile_product    out[r, :]   (+)= sum over k of a[r*a_row + k*a_k]*b[k, :]

A transform's matrix holds small numbers that are known when it is compiled: it becomes additions,
and nothing is multiplied by 0 or 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, ROWS, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, switch
from fastscratch.types import Array

Matrix = tuple[tuple[float, ...], ...]

_INT = ir.IntType(64)


def make_product(vector_bytes: int, rows_max: int, fused: bool) -> Any:
    """``tile_product`` for vectors of a width: a row of the tile is two of them."""

    @intrinsic
    def tile_product(  # type: ignore[no-untyped-def]
        context, rows, a, a_start, a_row, a_k, depth, b, b_start, b_k,
        out, out_start, out_row, adding,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, a, a_start, a_row, a_k, depth, b, b_start, b_k,
                out, out_start, out_row, adding,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(1, a), [a_start])
            b = builder.gep(pointer(6, b), [b_start])
            out = builder.gep(pointer(9, out), [out_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)

            def emit(count: int) -> None:
                bases = [builder.gep(a, [builder.mul(a_row, _INT(r))]) for r in range(count)]

                def operands(k: Any) -> tuple[list[Any], Any]:
                    offset = builder.mul(k, a_k)
                    scalars = [builder.gep(base, [offset]) for base in bases]
                    return scalars, builder.gep(b, [builder.mul(k, b_k)])

                sums = emitter.sums(count, 2, _INT(0), depth, operands)
                with builder.if_else(builder.icmp_signed("!=", adding, _INT(0))) as (more, first):
                    with more:
                        emitter.add(sums, out, out_row)
                    with first:
                        for r, row in enumerate(sums):
                            target = builder.gep(out, [builder.mul(out_row, _INT(r))])
                            for v, value in enumerate(row):
                                emitter.store(value, target, v)

            switch(builder, rows, range(1, rows_max + 1), emit)
            return context.get_dummy_value()

        arguments = (
            rows, a, a_start, a_row, a_k, depth, b, b_start, b_k, out, out_start, out_row, adding,
        )  # fmt: skip
        return types.void(*arguments), generate

    return tile_product


def make_transform(matrix: Matrix, vector_bytes: int, fused: bool) -> Any:
    """``transform`` for a matrix and for vectors of a width."""
    side = len(matrix[0])

    @intrinsic
    def transform(  # type: ignore[no-untyped-def]
        context, vectors, src, src_start, src_row, src_col, dst, dst_start, dst_row, dst_col,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors, src, src_start, src_row, src_col, dst, dst_start, dst_row, dst_col = arguments
            pointer = pointers(context, builder, signature)
            src = builder.gep(pointer(1, src), [src_start])
            dst = builder.gep(pointer(5, dst), [dst_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)

            def place(base: Any, i: int, row: Any, j: int, col: Any) -> Any:
                line = builder.gep(base, [builder.mul(row, _INT(i))])
                return builder.gep(line, [builder.mul(col, _INT(j))])

            with cgutils.for_range(builder, vectors, intp=_INT) as loop:
                shift = builder.mul(loop.index, _INT(emitter.lanes))
                source, target = builder.gep(src, [shift]), builder.gep(dst, [shift])
                block = [
                    [emitter.load(place(source, i, src_row, j, src_col), 0) for j in range(side)]
                    for i in range(side)
                ]
                for i, row in enumerate(_both_ways(matrix, block, emitter)):
                    for j, value in enumerate(row):
                        emitter.store(value, place(target, i, dst_row, j, dst_col), 0)
            return context.get_dummy_value()

        arguments = vectors, src, src_start, src_row, src_col, dst, dst_start, dst_row, dst_col
        return types.void(*arguments), generate

    return transform


def _both_ways(
    matrix: Matrix, block: list[list[Any]], emitter: Emitter
) -> list[list[Any]]:  # fmt: skip
    """matrix @ block @ matrix.T, of vectors."""
    columns = [_times(matrix, list(column), emitter) for column in zip(*block, strict=True)]
    return [_times(matrix, list(row), emitter) for row in zip(*columns, strict=True)]


def _times(matrix: Matrix, values: list[Any], emitter: Emitter) -> list[Any]:
    """matrix @ values, of vectors."""
    return [_dot(row, values, emitter) for row in matrix]


def _dot(row: Sequence[float], values: list[Any], emitter: Emitter) -> Any:
    """<row, values>, of vectors: a factor of one term is taken out, and ones are added.

    Terms of even index come first: rows that belong to a point and its negative then begin with
    the same sum, which the optimiser computes once.
    """
    builder = emitter.builder
    positive, there = [c for c in row if c > 0], [c for c in row if c]
    scale = 1 if 1 in row else (positive or there)[-1]
    terms = [(c / scale, value) for c, value in zip(row, values, strict=True)]
    terms = [(c, value) for c, value in terms[::2] + terms[1::2] if c]
    terms.sort(key=lambda term: term[0] != 1)
    total = terms[0][1]
    for c, value in terms[1:]:
        if c == 1:
            total = builder.fadd(total, value)
        elif c == -1:
            total = builder.fsub(total, value)
        else:
            total = emitter.multiply_add(_constant(emitter, c), value, total)
    return total if scale == 1 else builder.fmul(_constant(emitter, scale), total)


def _constant(emitter: Emitter, value: float) -> Any:
    return ir.Constant(emitter.vector, [value] * emitter.lanes)


def plain_tile_product(
    rows: int, a: Array, a_start: int, a_row: int, a_k: int, depth: int, b: Array, b_start: int,
    b_k: int, out: Array, out_start: int, out_row: int, adding: int,
) -> None:  # fmt: skip
    """`tile_product` as plain loops."""
    width = 2 * lanes_of(a)
    for r in range(rows):
        target = out[out_start + r * out_row :][:width]
        sums = np.zeros(width, out.dtype)
        for k in range(depth):
            sums += a[a_start + r * a_row + k * a_k] * b[b_start + k * b_k :][:width]
        target[:] = target + sums if adding else sums


def make_plain_transform(matrix: Matrix) -> Callable[..., None]:
    """``transform`` for a matrix, as plain loops."""

    def times(values: list[Array]) -> list[Array]:
        return [
            sum(
                (v.dtype.type(c) * v for c, v in zip(row, values, strict=True) if c),
                np.zeros_like(values[0]),
            )
            for row in matrix
        ]

    def transform(
        vectors: int, src: Array, src_start: int, src_row: int, src_col: int,
        dst: Array, dst_start: int, dst_row: int, dst_col: int,
    ) -> None:  # fmt: skip
        count, side = vectors * lanes_of(src), range(len(matrix[0]))
        block = [[src[src_start + i * src_row + j * src_col :][:count] for j in side] for i in side]
        columns = [times(list(column)) for column in zip(*block, strict=True)]
        for i, row in enumerate(zip(*columns, strict=True)):
            for j, value in enumerate(times(list(row))):
                dst[dst_start + i * dst_row + j * dst_col :][:count] = value

    return transform


def turned_round(matrix: Matrix) -> Matrix:
    """The transpose.

    >>> turned_round(((1, 2), (3, 4)))
    ((1, 3), (2, 4))
    """
    return tuple(zip(*matrix, strict=True))


def transform_by(matrix: Matrix) -> Any:
    """The transform for a matrix, in vectors of this machine's width or as plain loops."""
    return make_transform(matrix, VECTOR_BYTES, FUSED) if JIT else make_plain_transform(matrix)


tile_product = make_product(VECTOR_BYTES, ROWS, FUSED) if JIT else plain_tile_product
