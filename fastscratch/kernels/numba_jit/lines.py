"""Lines of elements within flat arrays: copied, filled, added up, by vectors.

Numba's own ``a[i:j] = b[k:l]`` compiles to checks, error messages and a generic loop; and its
``a[i]`` first asks whether i is negative, which keeps a loop from being vectorised. `get` and
`put` do not ask.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, inner, intrinsic
from fastscratch.kernels.numba_jit.machine import VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import (
    Emitter,
    copy_line,
    copy_vector,
    fill_line,
    lanes,
    pointers,
    prefer_wide,
)
from fastscratch.types import Array

_INT = ir.IntType(64)

if JIT:

    @intrinsic
    def get(typing_context, array, index):  # type: ignore[no-untyped-def]
        """array[index] for an index that is not negative."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            prefer_wide(builder)
            data = context.make_array(kind)(context, builder, arguments[0]).data
            pointer = builder.gep(data, [arguments[1]], inbounds=True)
            return context.unpack_value(builder, kind.dtype, pointer)

        return array.dtype(array, types.intp), generate

    @intrinsic
    def add_shifted(  # type: ignore[no-untyped-def]
        typing_context, src, src_start, span, limit, table, entry, count, dst, dst_start, size
    ):
        """dst[i] = sum over (row, shift) of src[row*span + i + shift], for i + shift in [0, limit).

        The table has ``count`` rows and shifts. Ends of a row are masked: less than a vector is
        read on either side of it, and dropped.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            src, src_start, span, limit, table, entry, count, dst, dst_start, size = arguments
            pointer = pointers(context, builder, signature)
            src = builder.gep(pointer(0, src), [src_start])
            table = builder.gep(pointer(4, table), [entry])
            dst = builder.gep(pointer(7, dst), [dst_start])
            emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
            zero = ir.Constant(emitter.vector, [0.0] * emitter.lanes)
            total = cgutils.alloca_once(builder, emitter.vector)
            edge = cgutils.alloca_once(builder, emitter.scalar, size=emitter.lanes)

            def add(value: Any) -> None:
                builder.store(builder.fadd(builder.load(total), value), total)

            # The last vector overlaps the one before; if there is none, its first elements count.
            last = builder.sub(size, _INT(emitter.lanes))
            short = builder.icmp_signed("<", last, _INT(0))
            last = builder.select(short, _INT(0), last)
            with cgutils.for_range_slice(builder, _INT(0), size, _INT(emitter.lanes), _INT) as (
                i,
                _,
            ):
                i = builder.select(builder.icmp_signed(">", i, last), last, i)
                builder.store(zero, total)
                with cgutils.for_range(builder, count, intp=_INT) as tap:
                    place = builder.gep(table, [builder.mul(tap.index, _INT(2))])
                    row, shift = (
                        builder.load(builder.gep(place, [_INT(field)])) for field in (0, 1)
                    )
                    at = builder.add(i, shift)
                    end = builder.add(at, _INT(emitter.lanes))
                    some = builder.and_(
                        builder.icmp_signed(">", end, _INT(0)),
                        builder.icmp_signed("<", at, limit),
                    )
                    with builder.if_then(some):
                        start = builder.add(builder.mul(row, span), at)
                        value = emitter.load(builder.gep(src, [start]), 0)
                        whole = builder.and_(
                            builder.icmp_signed(">=", at, _INT(0)),
                            builder.icmp_signed("<=", end, limit),
                        )
                        with builder.if_else(whole) as (inside, rim):
                            with inside:
                                add(value)
                            with rim:
                                add(builder.select(emitter.between(at, limit), value, zero))
                place = builder.select(short, edge, builder.gep(dst, [i]))
                emitter.store(builder.load(total), place, 0)
            with (
                builder.if_then(short),
                cgutils.for_range(builder, size, intp=_INT) as element,
            ):
                value = builder.load(builder.gep(edge, [element.index]))
                place = builder.gep(dst, [element.index])
                builder.store(value, place, align=emitter.itemsize)
            return context.get_dummy_value()

        arguments = (
            src, types.intp, types.intp, types.intp, table, types.intp, types.intp,
            dst, types.intp, types.intp,
        )  # fmt: skip
        return types.void(*arguments), generate

    @intrinsic
    def put(typing_context, array, index, value):  # type: ignore[no-untyped-def]
        """array[index] = value for an index that is not negative."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            prefer_wide(builder)
            data = context.make_array(kind)(context, builder, arguments[0]).data
            pointer = builder.gep(data, [arguments[1]], inbounds=True)
            context.pack_value(builder, kind.dtype, arguments[2], pointer)
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), generate

else:

    def get(array: Array, index: int) -> Any:
        """array[index] for an index that is not negative."""
        return array[index]

    def put(array: Array, index: int, value: Any) -> None:
        """array[index] = value for an index that is not negative."""
        array[index] = value

    def add_shifted(
        src: Array, src_start: int, span: int, limit: int, table: Array, entry: int, count: int,
        dst: Array, dst_start: int, size: int,
    ) -> None:  # fmt: skip
        """The same, element by element."""
        for i in range(size):
            total = src.dtype.type(0)
            for tap in range(count):
                at = i + table[entry + 2 * tap + 1]
                if 0 <= at < limit:
                    total += src[src_start + table[entry + 2 * tap] * span + at]
            dst[dst_start + i] = total


@inner
def share_start(worker: int, workers: int, size: int) -> int:
    """Where a worker's elements begin: a multiple of any vector, so that shares change no bit."""
    if worker == workers:
        return size
    return size * worker // workers // 64 * 64


@inner
def repeat_row(
    src: Array, src_start: int, count: int, dst: Array, dst_start: int, rows: int, width: int,
    step: int,
) -> None:  # fmt: skip
    """Each row of dst, a few vectors wide = src, which may be shorter, and zeros."""
    if rows == 0:
        return
    copy_line(src, src_start, dst, dst_start, count)
    fill_line(dst, dst_start + count, width - count, 0)
    for row in range(1, rows):
        for i in range(0, width, lanes(src)):
            copy_vector(dst, dst_start + i, dst, dst_start + row * step + i)


@inner
def copy_steps(
    src: Array, src_start: int, src_step: int, dst: Array, dst_start: int, dst_step: int, count: int
) -> None:
    """dst = src, for elements that lie steps apart."""
    for i in range(count):
        put(dst, dst_start + i * dst_step, get(src, src_start + i * src_step))


@inner
def add_line(src: Array, src_start: int, dst: Array, dst_start: int, count: int) -> None:
    """dst += src."""
    for i in range(count):
        put(dst, dst_start + i, get(dst, dst_start + i) + get(src, src_start + i))


@inner
def rectify(dst: Array, start: int, count: int) -> None:
    """dst = max(dst, 0); NaN stays NaN."""
    zero = dst.dtype.type(0)
    for i in range(start, start + count):
        value = get(dst, i)
        put(dst, i, zero if value <= 0 else value)


@inner
def sum_line(src: Array, start: int, count: int) -> float:
    """The sum of src."""
    total = src.dtype.type(0)
    for i in range(count):
        total += get(src, start + i)
    return total  # type: ignore[no-any-return]


@inner
def dot_lines(a: Array, a_start: int, b: Array, b_start: int, count: int) -> float:
    """<a, b>."""
    total = a.dtype.type(0)
    for i in range(count):
        total += get(a, a_start + i) * get(b, b_start + i)
    return total  # type: ignore[no-any-return]
