"""The register tile: a block of sums of products that stays in vector registers.

Its twin is ``src_kernels/tile.h``. Three forms, all ``out[r, :] += sum over k of a[r, k]*b[k, :]``
for ``k`` in ``[start, stop)``; one broadcasts pixels (or rows of a batch) over vectors of output
channels, the others weights over vectors of pixels, side by side or wherever a table says::

    tile_rows     a[a_start + row_offsets[row_start + r] + k_offsets[k]]    b[b_start + k*b_stride]
    tile_pixels   a[a_start + r*a_stride + k]                      b[b_start + k_offsets[k]]
    tile_wide     a[a_start + k*rows + r]              b[b_start + places[v] + k_offsets[k]]

The last sets its sums, to start from a bias, or adds to them.

All loads and stores are aligned to the element only. The accumulators are phi values of a loop
that is emitted here: left to an array and the optimiser, they go through memory.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, inner, intrinsic
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.machine import (
    ADDRESSED_ROWS,
    FUSED,
    ROWS,
    VECTOR_BYTES,
    register_class,
)
from fastscratch.kernels.numba_jit.vectors import (
    Emitter,
    lanes_of,
    pointers,
    switch,
)
from fastscratch.types import Array

PIXEL_VECTORS = (0, 8, 6, 4, 3) if ROWS > 6 else (0, 8, 4, 3, 3)
"""Vectors of pixels that `tile_pixels` takes at once, by its number of rows.

Sums, vectors and one factor fit the registers: 2 rows of 6 and 3 of 4 vectors do not fit 16, and
took twice as long.
"""

PIXEL_ROWS = len(PIXEL_VECTORS) - 1
"""Rows that `tile_pixels` takes at most."""

WIDE_VECTORS = (0, 8, 4, 4, 4, 4, 4, 3, 3, 2, 2, 2, 2) if ROWS > 6 else (0, 8, 4, 3, 3, 2, 2)
"""Vectors that `tile_wide` takes at once, by its number of rows: it needs no address for each."""

WIDE_ROWS = len(WIDE_VECTORS) - 1
"""Rows that `tile_wide` takes at most."""

_INT = ir.IntType(64)


def make_wide_tile(vector_bytes: int, fused: bool) -> Any:
    """``tile_wide`` for vectors of a width."""

    @intrinsic
    def tile_wide(  # type: ignore[no-untyped-def]
        context, rows, a, a_start, k_offsets, k_start, depth, b, b_start, places, place_start,
        bias, bias_start, adding, out, out_start, out_stride, targets, target_start,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, a, a_start, k_offsets, k_start, depth, b, b_start, places, place_start,
                bias, bias_start, adding, out, out_start, out_stride, targets, target_start,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(1, a), [a_start])
            k_offsets = builder.gep(pointer(3, k_offsets), [k_start])
            b = builder.gep(pointer(6, b), [b_start])
            places = builder.gep(pointer(8, places), [place_start])
            bias = builder.gep(pointer(10, bias), [bias_start])
            out = builder.gep(pointer(13, out), [out_start])
            targets = builder.gep(pointer(16, targets), [target_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)

            def entry(table: Any, index: Any) -> Any:
                return builder.load(builder.gep(table, [index]))

            def emit(count: int) -> None:
                vectors = range(WIDE_VECTORS[count])
                bases = [builder.gep(b, [entry(places, _INT(v))]) for v in vectors]

                def operands(k: Any, row: Any) -> tuple[list[Any], list[Any]]:
                    offset = entry(k_offsets, k)
                    scalars = [builder.gep(row, [_INT(r)]) for r in range(count)]
                    return scalars, [builder.gep(base, [offset]) for base in bases]

                sums = emitter.sums(
                    count, len(vectors), _INT(0), depth, operands, [(a, _INT(count))]
                )
                ends = [builder.gep(out, [entry(targets, _INT(v))]) for v in vectors]

                def finish(start_of: Callable[[int, Any], Any]) -> None:
                    for r, row in enumerate(sums):
                        shift = builder.mul(out_stride, _INT(r))
                        for end, value in zip(ends, row, strict=True):
                            place = builder.gep(end, [shift])
                            emitter.store(builder.fadd(start_of(r, place), value), place, 0)

                more = builder.icmp_signed("!=", adding, _INT(0))
                with builder.if_else(more) as (then, otherwise):
                    with then:
                        finish(lambda r, place: emitter.load(place, 0))
                    with otherwise:
                        finish(lambda r, place: emitter.broadcast(builder.gep(bias, [_INT(r)])))

            switch(builder, rows, range(1, len(WIDE_VECTORS)), emit)
            return context.get_dummy_value()

        arguments = (
            rows, a, a_start, k_offsets, k_start, depth, b, b_start, places, place_start,
            bias, bias_start, adding, out, out_start, out_stride, targets, target_start,
        )  # fmt: skip
        return types.void(*arguments), generate

    return tile_wide


def make_tiles(vector_bytes: int, rows_max: int, fused: bool) -> tuple[Any, Any, Any]:
    """``tile_rows``, ``tile_pixels`` and ``transpose_block`` for vectors of a width."""

    @intrinsic
    def tile_rows(  # type: ignore[no-untyped-def]
        context, rows, vectors, a, a_start, row_offsets, row_start, k_offsets, k_start, k_stop,
        b, b_start, b_stride, out, out_start, out_stride,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, vectors, a, a_start, row_offsets, row_start, k_offsets, k_start, k_stop,
                b, b_start, b_stride, out, out_start, out_stride,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(2, a), [a_start])
            row_offsets = builder.gep(pointer(4, row_offsets), [row_start])
            k_offsets = pointer(6, k_offsets)
            b = builder.gep(pointer(9, b), [b_start])
            out = builder.gep(pointer(12, out), [out_start])
            emitter = Emitter(builder, signature.args[2].dtype, vector_bytes, fused)

            def emit(case: int) -> None:
                count, vectors = case // 2, case % 2 + 1
                addressed = count if count <= ADDRESSED_ROWS else 1
                bases = [
                    builder.gep(a, [builder.load(builder.gep(row_offsets, [_INT(r)]))])
                    for r in range(addressed)
                ]
                if addressed < count:
                    second = builder.load(builder.gep(row_offsets, [_INT(1)]))
                    step = builder.sub(second, builder.load(row_offsets))
                    multiple = emitter.multiples(step, count)

                def operands(k: Any) -> tuple[list[Any], Any]:
                    offset = builder.load(builder.gep(k_offsets, [k]))
                    scalars = [builder.gep(base, [offset]) for base in bases]
                    if addressed < count:
                        scalars = [multiple(scalars[0], r) for r in range(count)]
                    return scalars, builder.gep(b, [builder.mul(k, b_stride)])

                sums = emitter.sums(count, vectors, k_start, k_stop, operands)
                emitter.add(sums, out, out_stride)

            case = builder.add(builder.mul(rows, _INT(2)), builder.sub(vectors, _INT(1)))
            switch(builder, case, range(2, 2 * rows_max + 2), emit)
            return context.get_dummy_value()

        arguments = (
            rows, vectors, a, a_start, row_offsets, row_start, k_offsets, k_start, k_stop,
            b, b_start, b_stride, out, out_start, out_stride,
        )  # fmt: skip
        return types.void(*arguments), generate

    @intrinsic
    def tile_pixels(  # type: ignore[no-untyped-def]
        context, rows, a, a_start, a_stride, k_offsets, k_start, k_stop,
        b, b_start, out, out_start, out_stride,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                rows, a, a_start, a_stride, k_offsets, k_start, k_stop,
                b, b_start, out, out_start, out_stride,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            a = builder.gep(pointer(1, a), [a_start])
            k_offsets = pointer(4, k_offsets)
            b = builder.gep(pointer(7, b), [b_start])
            out = builder.gep(pointer(9, out), [out_start])
            emitter = Emitter(builder, signature.args[1].dtype, vector_bytes, fused)

            def emit(count: int) -> None:
                bases = [builder.gep(a, [builder.mul(a_stride, _INT(r))]) for r in range(count)]

                def operands(k: Any) -> tuple[list[Any], Any]:
                    offset = builder.load(builder.gep(k_offsets, [k]))
                    return [builder.gep(base, [k]) for base in bases], builder.gep(b, [offset])

                sums = emitter.sums(count, PIXEL_VECTORS[count], k_start, k_stop, operands)
                emitter.add(sums, out, out_stride)

            switch(builder, rows, range(1, PIXEL_ROWS + 1), emit)
            return context.get_dummy_value()

        arguments = (
            rows, a, a_start, a_stride, k_offsets, k_start, k_stop,
            b, b_start, out, out_start, out_stride,
        )  # fmt: skip
        return types.void(*arguments), generate

    @intrinsic
    def transpose_block(context, src, src_start, src_stride, dst, dst_start, dst_stride):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            src, src_start, src_stride, dst, dst_start, dst_stride = arguments
            pointer = pointers(context, builder, signature)
            src = builder.gep(pointer(0, src), [src_start])
            dst = builder.gep(pointer(3, dst), [dst_start])
            emitter = Emitter(builder, signature.args[0].dtype, vector_bytes, fused)
            rows = [
                emitter.load(builder.gep(src, [builder.mul(src_stride, _INT(r))]), 0)
                for r in range(emitter.lanes)
            ]
            for r, row in enumerate(emitter.transposed(rows)):
                emitter.store(row, builder.gep(dst, [builder.mul(dst_stride, _INT(r))]), 0)
            return context.get_dummy_value()

        arguments = src, src_start, src_stride, dst, dst_start, dst_stride
        return types.void(*arguments), generate

    return tile_rows, tile_pixels, transpose_block


def make_transpose_part(vector_bytes: int) -> Any:
    """``transpose_part``, where a vector can be loaded and stored in part."""

    @intrinsic
    def transpose_part(  # type: ignore[no-untyped-def]
        context, src, src_start, src_stride, rows, cols, dst, dst_start, dst_stride
    ):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            src, src_start, src_stride, rows, cols, dst, dst_start, dst_stride = arguments
            pointer = pointers(context, builder, signature)
            src = builder.gep(pointer(0, src), [src_start])
            dst = builder.gep(pointer(5, dst), [dst_start])
            emitter = Emitter(builder, signature.args[0].dtype, vector_bytes, False)

            def first_lanes(count: Any) -> Any:
                return builder.not_(emitter.from_lane(count))

            none = first_lanes(_INT(0))
            seen, stored = first_lanes(cols), first_lanes(rows)

            def chosen(index: int, count: Any, lanes: Any) -> Any:
                return builder.select(builder.icmp_signed("<", _INT(index), count), lanes, none)

            vectors = [
                emitter.load_some(
                    builder.gep(src, [builder.mul(src_stride, _INT(r))]), chosen(r, rows, seen)
                )
                for r in range(emitter.lanes)
            ]
            for c, vector in enumerate(emitter.transposed(vectors)):
                place = builder.gep(dst, [builder.mul(dst_stride, _INT(c))])
                emitter.store_some(vector, place, chosen(c, cols, stored))
            return context.get_dummy_value()

        arguments = src, src_start, src_stride, rows, cols, dst, dst_start, dst_stride
        return types.void(*arguments), generate

    return transpose_part


@inner
def transpose_elements(
    src: Array, src_start: int, src_stride: int, rows: int, cols: int,
    dst: Array, dst_start: int, dst_stride: int,
) -> None:  # fmt: skip
    """dst[c, r] = src[r, c], element by element."""
    for r in range(rows):
        for c in range(cols):
            put(dst, dst_start + c * dst_stride + r, get(src, src_start + r * src_stride + c))


def plain_tile_rows(
    rows: int, vectors: int, a: Array, a_start: int, row_offsets: Array, row_start: int,
    k_offsets: Array, k_start: int, k_stop: int, b: Array, b_start: int, b_stride: int,
    out: Array, out_start: int, out_stride: int,
) -> None:  # fmt: skip
    """`tile_rows` as plain loops, for one or two vectors: what runs with the JIT off.

    More than `ADDRESSED_ROWS` rows are evenly spaced.
    """
    width = vectors * lanes_of(a)
    for r in range(rows):
        target = out[out_start + r * out_stride :][:width]
        for k in range(k_start, k_stop):
            factor = a[a_start + row_offsets[row_start + r] + k_offsets[k]]
            target += factor * b[b_start + k * b_stride :][:width]


def plain_tile_pixels(
    rows: int, a: Array, a_start: int, a_stride: int, k_offsets: Array, k_start: int, k_stop: int,
    b: Array, b_start: int, out: Array, out_start: int, out_stride: int,
) -> None:  # fmt: skip
    """`tile_pixels` as plain loops."""
    width = PIXEL_VECTORS[rows] * lanes_of(a)
    for r in range(rows):
        target = out[out_start + r * out_stride :][:width]
        for k in range(k_start, k_stop):
            target += a[a_start + r * a_stride + k] * b[b_start + k_offsets[k] :][:width]


def plain_tile_wide(
    rows: int, a: Array, a_start: int, k_offsets: Array, k_start: int, depth: int, b: Array,
    b_start: int, places: Array, place_start: int, bias: Array, bias_start: int, adding: int,
    out: Array, out_start: int, out_stride: int, targets: Array, target_start: int,
) -> None:  # fmt: skip
    """`tile_wide` as plain loops."""
    side = lanes_of(a)
    for v in range(WIDE_VECTORS[rows]):
        start = b_start + places[place_start + v]
        for r in range(rows):
            target = out[out_start + r * out_stride + targets[target_start + v] :][:side]
            if not adding:
                target[:] = bias[bias_start + r]
            for k in range(depth):
                target += a[a_start + k * rows + r] * b[start + k_offsets[k_start + k] :][:side]


def plain_transpose_block(
    src: Array, src_start: int, src_stride: int, dst: Array, dst_start: int, dst_stride: int
) -> None:
    """`transpose_block` as plain loops: dst[c, r] = src[r, c] for a square of vectors."""
    side = lanes_of(src)
    for r in range(side):
        for c in range(side):
            dst[dst_start + c * dst_stride + r] = src[src_start + r * src_stride + c]


transpose_part = transpose_elements
if JIT:
    tile_rows, tile_pixels, transpose_block = make_tiles(VECTOR_BYTES, ROWS, FUSED)
    tile_wide = make_wide_tile(VECTOR_BYTES, FUSED)
    # Narrower vectors have no masks, or slow ones, and less to gain.
    if VECTOR_BYTES == 64 and register_class(VECTOR_BYTES):
        transpose_part = make_transpose_part(VECTOR_BYTES)
else:
    tile_rows, tile_pixels, tile_wide = plain_tile_rows, plain_tile_pixels, plain_tile_wide
    transpose_block = plain_transpose_block
