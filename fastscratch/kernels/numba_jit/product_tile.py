"""The register tile of matrix products: what a product needs of ``tile``, without its tables.

Its twin is ``src_kernels/product.h``. A product's operands lie at even steps, so that nothing but
they is loaded.
"""

from typing import Any

from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, ROWS, TRIPLE_ROWS, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, switch
from fastscratch.types import Array

_INT = ir.IntType(64)


def make_product_tile(vector_bytes: int, rows_max: int, triple_max: int, fused: bool) -> Any:
    """``product_tile`` for vectors of a width, and for at most so many rows of two and three."""

    @intrinsic
    def product_tile(  # type: ignore[no-untyped-def]
        context, rows, vectors, a, a_start, a_row, a_k, depth, b, b_start, b_k,
        init, init_start, init_row, out, out_start, out_row,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, vectors, a, a_start, a_row, a_k, depth, b, b_start, b_k,
                init, init_start, init_row, out, out_start, out_row,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(2, a), [a_start])
            b = builder.gep(pointer(7, b), [b_start])
            init = builder.gep(pointer(10, init), [init_start])
            out = builder.gep(pointer(13, out), [out_start])
            emitter = Emitter(builder, signature.args[2].dtype, vector_bytes, fused)

            def emit(case: int) -> None:
                rows, vectors = divmod(case, 4)
                # Odd multiples: an address holds one of them times 1, 2, 4 or 8, and so the
                # addresses of 14 rows take 8 registers.
                step = builder.mul(a_row, _INT(emitter.itemsize))
                multiples = {odd: builder.mul(step, _INT(odd)) for odd in range(1, rows, 2)}
                for r in range(rows):
                    # Where it goes may be far away; by the end of the loop it is here.
                    target = builder.gep(out, [builder.mul(out_row, _INT(r))])
                    emitter.prefetch(target, True)
                    emitter.prefetch(builder.gep(target, [_INT(vectors * emitter.lanes - 1)]), True)

                def operands(k: Any, row: Any, columns: Any) -> tuple[list[Any], Any]:
                    byte = builder.bitcast(row, ir.IntType(8).as_pointer())
                    scalars = [row]
                    for r in range(1, rows):
                        shift = (r & -r).bit_length() - 1
                        offset = builder.shl(multiples[r >> shift], _INT(shift))
                        scalars.append(builder.bitcast(builder.gep(byte, [offset]), row.type))
                    return scalars, columns

                sums = emitter.sums(
                    rows, vectors, _INT(0), depth, operands, moving=[(a, a_k), (b, b_k)]
                )
                emitter.store_sums(sums, init, init_row, out, out_row)

            cases = [rows * 4 + 2 for rows in range(1, rows_max + 1)]
            cases += [rows * 4 + 3 for rows in range(1, triple_max + 1)]
            switch(builder, builder.add(builder.mul(rows, _INT(4)), vectors), cases, emit)
            return context.get_dummy_value()

        arguments = (
            rows, vectors, a, a_start, a_row, a_k, depth, b, b_start, b_k,
            init, init_start, init_row, out, out_start, out_row,
        )  # fmt: skip
        return types.void(*arguments), generate

    return product_tile


def plain_product_tile(
    rows: int, vectors: int, a: Array, a_start: int, a_row: int, a_k: int, depth: int,
    b: Array, b_start: int, b_k: int, init: Array, init_start: int, init_row: int,
    out: Array, out_start: int, out_row: int,
) -> None:  # fmt: skip
    """out[r, :] = init[r, :] + sum over k of a[r, k]*b[k, :], for two or three vectors."""
    width = vectors * lanes_of(a)
    for r in range(rows):
        total = init[init_start + r * init_row :][:width].copy()
        for k in range(depth):
            total += a[a_start + r * a_row + k * a_k] * b[b_start + k * b_k :][:width]
        out[out_start + r * out_row :][:width] = total


if JIT:
    product_tile = make_product_tile(VECTOR_BYTES, ROWS, TRIPLE_ROWS, FUSED)
else:
    product_tile = plain_product_tile
