"""What the minimal-filtering convolutions are made of: transforms of blocks, and their product.

Both forms work on vectors along the last axis (channels), whatever else an array's axes mean::

    transform       dst[t, i, j, :] = program along i (program along j (src[t, i, j, :]))
                    with points of its own on either side: dst[t, 0, point, :], src[t, 0, point, :]
                    of lines, along i alone
    tile_product    out[r, :]   (+)= sum over k of a[r*a_row + k*a_k]*b[k, :]
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import FUSED, ROWS, VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes_of, pointers, switch
from fastscratch.kernels.numba_jit.winograd_points import (
    Filtering,
    Gather,
    Program,
    Spread,
)
from fastscratch.types import Array

_INT = ir.IntType(64)


class Transform(NamedTuple):
    """A program applied along both axes of square blocks of vectors, or along lines of them."""

    program: Program
    side: int
    """Extent of a block: the values that the program takes."""
    shared: int = 0
    """Columns that a block shares with the next, which begins there: their first half is done once.
    Without, the transform of the source takes a fifth longer."""
    summed: bool = False
    """Whether the sum of a block is stored too, where what it becomes would have another row."""
    added: bool = False
    """The way back: whether what stands there is added to all that the block becomes."""
    spread: Spread | None = None
    """What takes the values of both axes to the points, all of them a row."""
    gather: Gather | None = None
    """The way back: what takes a row of all points to the values of both axes."""
    points: int = 0
    """So many of them."""
    lines: bool = False

    @property
    def columns(self) -> int:
        """Columns of a block."""
        return 1 if self.lines else self.side

    @property
    def rows(self) -> int:
        """Rows of what is transformed."""
        return 1 if self.gather else self.side

    @property
    def line(self) -> int:
        """What stands in a row of it."""
        return self.points if self.gather else self.columns

    def along_row(self, row: Sequence[Any]) -> list[Any]:
        """The program along the second axis, where there is one."""
        return list(row) if self.lines else self.program(row)


def kind_of(filtering: Filtering, factor: str, **options: Any) -> Transform:
    """The transform of one of a filtering's factors, by its name there."""
    side = {"weight": filtering.taps, "gradient": filtering.step}.get(factor, filtering.side)
    meeting = filtering.meeting and getattr(filtering.meeting, factor)
    way = "gather" if factor in ("output", "sums") else "spread"
    options |= {way: meeting, "points": filtering.points, "lines": filtering.lines}
    return Transform(getattr(filtering, factor), side, **options)


def make_product(vector_bytes: int, rows_max: int, fused: bool, vectors: int) -> Any:
    """``tile_product`` for vectors of a width: a row of the tile is so many of them."""

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

                sums = emitter.sums(count, vectors, _INT(0), depth, operands)
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


class Value:
    """A vector that code is emitted for: what a program adds and multiplies."""

    def __init__(self, emitter: Emitter, value: Any):
        self.emitter = emitter
        self.value = value

    def __add__(self, other: "Value") -> "Value":
        return self._of(self.emitter.builder.fadd, self.value, other.value)

    def __sub__(self, other: "Value") -> "Value":
        return self._of(self.emitter.builder.fsub, self.value, other.value)

    def __rmul__(self, factor: float) -> "Value":
        constant = ir.Constant(self.emitter.vector, [factor] * self.emitter.lanes)
        return self._of(self.emitter.builder.fmul, constant, self.value)

    def __neg__(self) -> "Value":
        return Value(self.emitter, self.emitter.builder.fneg(self.value))

    def _of(self, operation: Callable[..., Any], *values: Any) -> "Value":
        return Value(self.emitter, operation(*values, flags=("contract",)))


def make_transform(kind: Transform, vector_bytes: int, fused: bool) -> Any:
    """``transform`` of a kind, for vectors of a width."""

    @intrinsic
    def transform(  # type: ignore[no-untyped-def]
        context, count, vectors, src, src_start, src_row, src_col, src_next,
        dst, dst_start, dst_row, dst_col, dst_next,
    ):  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                count, vectors, src, src_start, src_row, src_col, src_next,
                dst, dst_start, dst_row, dst_col, dst_next,
            ) = arguments  # fmt: skip
            pointer = pointers(context, builder, signature)
            src = builder.gep(pointer(2, src), [src_start])
            dst = builder.gep(pointer(7, dst), [dst_start])
            emitter = Emitter(builder, signature.args[2].dtype, vector_bytes, fused)

            def load(place: Any) -> Value:
                return Value(emitter, emitter.load(place, 0))

            def at(base: Any, i: int, row: Any, j: int, column: Any) -> Any:
                line = builder.gep(base, [builder.mul(row, _INT(i))])
                return builder.gep(line, [builder.mul(column, _INT(j))])

            def column(base: Any, j: int) -> tuple[list[Value], list[Value]]:
                pixels = [load(at(base, i, src_row, j, src_col)) for i in range(kind.side)]
                return pixels, kind.program(pixels)

            def gathered(base: Any, gather: Gather) -> list[list[Value]]:
                line = [load(at(base, 0, src_row, k, src_col)) for k in range(kind.line)]
                return [kind.program(column) for column in zip(*gather(line), strict=True)]

            kept = [
                [cgutils.alloca_once(builder, emitter.vector) for _ in range(kind.side)]
                for _ in range(kind.shared)
            ]
            with cgutils.for_range(builder, vectors, intp=_INT) as vector:
                shift = builder.mul(vector.index, _INT(emitter.lanes))
                source, target = builder.gep(src, [shift]), builder.gep(dst, [shift])
                for j, places in enumerate(kept):
                    for place, value in zip(places, column(source, j)[1], strict=True):
                        builder.store(value.value, place)
                with cgutils.for_range(builder, count, intp=_INT) as block:
                    first = builder.gep(source, [builder.mul(src_next, block.index)])
                    start = builder.gep(target, [builder.mul(dst_next, block.index)])
                    columns = [[load(place) for place in places] for places in kept]
                    pixels: list[Value] = []
                    if kind.gather:
                        columns = gathered(first, kind.gather)
                    for j in range(len(columns), kind.columns):
                        seen, transformed = column(first, j)
                        pixels += seen
                        columns.append(transformed)
                    last = columns[kind.columns - kind.shared :]
                    for places, values in zip(kept, last, strict=True):
                        for place, value in zip(places, values, strict=True):
                            builder.store(value.value, place)
                    constant = kind.added and load(at(first, kind.rows, src_row, 0, src_col))
                    count_of_rows = 1 if kind.spread else len(columns[0])
                    rows: Any = (kind.along_row(row) for row in zip(*columns, strict=True))
                    for i, row in enumerate([kind.spread(list(rows))] if kind.spread else rows):
                        for j, result in enumerate(row):
                            value = result + constant if kind.added else result
                            emitter.store(value.value, at(start, i, dst_row, j, dst_col), 0)
                    if kind.summed:
                        total = pixels[0]
                        for value in pixels[1:]:
                            total = total + value
                        behind = at(start, count_of_rows, dst_row, 0, dst_col)
                        emitter.store(total.value, behind, 0)
            return context.get_dummy_value()

        arguments = (
            count, vectors, src, src_start, src_row, src_col, src_next,
            dst, dst_start, dst_row, dst_col, dst_next,
        )  # fmt: skip
        return types.void(*arguments), generate

    return transform


def make_plain_product(vectors: int) -> Callable[..., None]:
    """``tile_product`` as plain loops."""

    def tile_product(
        rows: int, a: Array, a_start: int, a_row: int, a_k: int, depth: int, b: Array,
        b_start: int, b_k: int, out: Array, out_start: int, out_row: int, adding: int,
    ) -> None:  # fmt: skip
        width = vectors * lanes_of(a)
        for r in range(rows):
            target = out[out_start + r * out_row :][:width]
            sums = np.zeros(width, out.dtype)
            for k in range(depth):
                sums += a[a_start + r * a_row + k * a_k] * b[b_start + k * b_k :][:width]
            target[:] = target + sums if adding else sums

    return tile_product


def make_plain_transform(kind: Transform) -> Callable[..., None]:
    """``transform`` of a kind, as plain loops."""

    def transform(
        count: int, vectors: int, src: Array, src_start: int, src_row: int, src_col: int,
        src_next: int, dst: Array, dst_start: int, dst_row: int, dst_col: int, dst_next: int,
    ) -> None:  # fmt: skip
        length = vectors * lanes_of(src)
        for t in range(count):
            source, target = src_start + t * src_next, dst_start + t * dst_next
            block = [
                [src[source + i * src_row + j * src_col :][:length] for j in range(kind.line)]
                for i in range(kind.rows)
            ]
            values = kind.gather(block[0]) if kind.gather else block
            columns = [kind.program(column) for column in zip(*values, strict=True)]
            rows = [kind.along_row(row) for row in zip(*columns, strict=True)]
            if kind.spread:
                rows = [kind.spread(rows)]
            if kind.added:
                constant = src[source + kind.rows * src_row :][:length]
                rows = [[value + constant for value in row] for row in rows]
            if kind.summed:
                rows.append([np.sum(block, axis=(0, 1))])
            for i, row in enumerate(rows):
                for j, value in enumerate(row):
                    dst[target + i * dst_row + j * dst_col :][:length] = value

    return transform


def transform_by(kind: Transform) -> Any:
    """The transform of a kind, in vectors of this machine's width or as plain loops."""
    return make_transform(kind, VECTOR_BYTES, FUSED) if JIT else make_plain_transform(kind)


@cache
def product_of(vectors: int) -> Any:
    """`tile_product` for panels of so many vectors, or its plain loops."""
    if JIT:
        return make_product(VECTOR_BYTES, ROWS, FUSED, vectors)
    return make_plain_product(vectors)
