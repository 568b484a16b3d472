"""Lines of elements within flat arrays: copied, filled, added up, by vectors.

Numba's own ``a[i:j] = b[k:l]`` compiles to checks, error messages and a generic loop; and its
``a[i]`` first asks whether i is negative, which keeps a loop from being vectorised. `get` and
`put` do not ask.
"""

from typing import Any

from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, inner, intrinsic
from fastscratch.kernels.numba_jit.vectors import copy_line, copy_pair, fill_line, lanes
from fastscratch.types import Array

if JIT:

    @intrinsic
    def get(typing_context, array, index):  # type: ignore[no-untyped-def]
        """array[index] for an index that is not negative."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            data = context.make_array(kind)(context, builder, arguments[0]).data
            pointer = builder.gep(data, [arguments[1]], inbounds=True)
            return context.unpack_value(builder, kind.dtype, pointer)

        return array.dtype(array, types.intp), generate

    @intrinsic
    def put(typing_context, array, index, value):  # type: ignore[no-untyped-def]
        """array[index] = value for an index that is not negative."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
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


@inner
def share_start(worker: int, workers: int, size: int) -> int:
    """Where a worker's elements begin: a multiple of any vector, so that shares change no bit."""
    if worker == workers:
        return size
    return size * worker // workers // 64 * 64


@inner
def repeat_row(
    src: Array, src_start: int, count: int, dst: Array, dst_start: int, rows: int, step: int
) -> None:
    """Each row of dst, two vectors wide = src, which may be shorter, and zeros."""
    width = 2 * lanes(src)
    if rows == 0:
        return
    copy_line(src, src_start, dst, dst_start, count)
    fill_line(dst, dst_start + count, width - count, 0)
    for row in range(1, rows):
        copy_pair(dst, dst_start, dst, dst_start + row * step)


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
