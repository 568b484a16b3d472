"""The way back of pooling: each element of dx from the windows that cover it.

A block is ``stride`` rows of ``stride`` vectors of dx. Window (dh, dw), counted from the block's
own, covers element (jh, jw) of the block's stride x stride with its element::

    kh = jh + top - stride*dh        kw = jw + left - stride*dw

Windows come in row-major order, as in a loop over windows that adds to what each covers. The twin
for Cython is `collect_rows` of src_kernels/pool_tile.h.
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.pool_tile import POOL_BYTES, Windows
from fastscratch.kernels.numba_jit.vectors import pointers, switch
from fastscratch.types import Array, Padding, Pair

STRIP = 2048
"""Elements of dout that are copied at a time: with their argmax they stay in L1."""

_INT = ir.IntType(64)


class Shape(NamedTuple):
    """Square windows at some padding, whose elements are unrolled."""

    stride: int
    extent: int
    before: int
    """Padding at the top and at the left."""

    @property
    def reach(self) -> tuple[int, int]:
        """How many windows before a block's own, and behind its last, cover it, on each axis."""
        return (self.extent - 1 - self.before) // self.stride, (
            self.stride - 1 + self.before
        ) // self.stride


SHAPES = (
    Shape(2, 2, 0), Shape(2, 3, 0), Shape(2, 3, 1), Shape(1, 3, 1), Shape(1, 3, 0), Shape(1, 2, 0),
)  # fmt: skip
"""The windows that are collected; a problem names one by its place here, from 1 on."""


class Strips(NamedTuple):
    """How dout is copied: `groups` of rows of blocks at a time, zeros where no windows are."""

    shape: int
    """Place in SHAPES, from 1 on; 0 if gradients are not collected."""
    stride: int
    in_place: int
    """Whether no copy is needed: windows side by side, a block or more of them in a row."""
    groups: int
    before: int
    """Windows that a strip holds before a block's own, on each axis."""
    after: int
    step: int
    """Elements of a row of a strip."""
    size: int
    """Elements of a strip."""


def strips_of(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, itemsize: int,
) -> Strips:  # fmt: skip
    """The strips of a problem; none if its windows are no SHAPES."""
    shape = Shape(stride[0], kernel_size[0], padding[0])
    square = kernel_size[0] == kernel_size[1] and stride[0] == stride[1] and dilation == (1, 1)
    if not square or padding[0] != padding[2] or shape not in SHAPES:
        return Strips(0, 1, 0, 0, 0, 0, 0, 0)
    lanes = POOL_BYTES // itemsize
    before, after = shape.reach
    rows, cols = -(-x[2] // shape.stride), -(-x[3] // shape.stride)
    step = before + max(-(-cols // lanes) * lanes + after, y[3])
    tiled = shape.stride == shape.extent and x[2:] == (y[2] * shape.stride, y[3] * shape.stride)
    groups = max(1, min(rows, STRIP // step))
    return Strips(
        SHAPES.index(shape) + 1, shape.stride, int(tiled and y[3] >= lanes), groups,
        before, after, step, (before + groups + after) * step,
    )  # fmt: skip


def _emit(
    builder: Any, dtype: Any, shape: Any, dout: Any, numbers: Any, step: Any, divisor: Any, dx: Any,
    H: Any, W: Any,
) -> None:  # fmt: skip
    """The rows of dx; ``numbers`` points to argmax, or is None where shares are collected."""
    windows = Windows(builder, dtype, POOL_BYTES // (dtype.bitwidth // 8))
    emitter, side = windows.emitter, windows.side
    zero = ir.Constant(emitter.vector, [0.0] * side)
    rest = cgutils.alloca_once(builder, emitter.scalar, size=2 * side)

    def block(kind: Shape, source: Any) -> list[list[Any]]:
        """The sums of a block, for each (jh, jw)."""
        sums: list[list[Any]] = [[None] * kind.stride for _ in range(kind.stride)]
        before, after = kind.reach
        for dh in range(-before, after + 1):
            line = builder.add(source, builder.mul(step, _INT(dh)))
            for dw in range(-before, after + 1):
                place = builder.add(line, _INT(dw))
                value = emitter.load(builder.gep(dout, [place]), 0)
                where = None
                if numbers is None:
                    if kind.stride == kind.extent:
                        value = builder.fdiv(value, emitter.splat(divisor))
                else:
                    bits = numbers.type.pointee.width
                    vector = ir.VectorType(ir.IntType(bits), side)
                    pointer = builder.bitcast(builder.gep(numbers, [place]), vector.as_pointer())
                    where = builder.load(pointer, align=bits // 8)
                    if bits < windows.integer.element.width:
                        where = builder.zext(where, windows.integer)
                for jh in range(kind.stride):
                    for jw in range(kind.stride):
                        kh = jh + kind.before - kind.stride * dh
                        kw = jw + kind.before - kind.stride * dw
                        if not (0 <= kh < kind.extent and 0 <= kw < kind.extent):
                            continue
                        term = value
                        if where is not None:
                            # A select, not a product: a NaN goes nowhere else.
                            tap = windows.splat(kh * kind.extent + kw)
                            term = builder.select(
                                builder.icmp_signed("==", where, tap), value, zero
                            )
                        sofar = sums[jh][jw]
                        sums[jh][jw] = term if sofar is None else builder.fadd(sofar, term)
        return sums

    def rows_of(kind: Shape) -> None:
        stride = kind.stride
        width = _INT(stride * side)
        last = builder.sub(W, width)
        # The last block of a row overlaps the one before, if there is one that ends with the row.
        fits = builder.icmp_signed("<=", width, W)
        fits = builder.and_(fits, builder.icmp_signed("==", builder.srem(W, _INT(stride)), _INT(0)))
        last = builder.select(fits, last, W)
        groups = builder.sdiv(builder.add(H, _INT(stride - 1)), _INT(stride))
        with cgutils.for_range(builder, groups, intp=_INT) as group:
            windows_of = builder.mul(group.index, step)
            height = builder.sub(H, builder.mul(group.index, _INT(stride)))
            top = builder.mul(builder.mul(group.index, _INT(stride)), W)
            with cgutils.for_range_slice(builder, _INT(0), W, width, _INT) as (col, _):
                col = builder.select(builder.icmp_signed(">", col, last), last, col)
                source = builder.add(windows_of, builder.sdiv(col, _INT(stride)))
                sums = block(kind, source)
                place = builder.gep(dx, [builder.add(top, col)])
                rows = [row if stride == 1 else windows.interleaved(*row) for row in sums]
                lines = [builder.gep(place, [builder.mul(W, _INT(jh))]) for jh in range(stride)]
                whole = builder.and_(
                    builder.icmp_signed("<=", builder.add(col, width), W),
                    builder.icmp_signed("<=", _INT(stride), height),
                )
                with builder.if_else(whole, likely=True) as (inside, at_the_rim):
                    with inside:
                        for vectors, line in zip(rows, lines, strict=True):
                            for i, vector in enumerate(vectors):
                                emitter.store(vector, line, i)
                    with at_the_rim:
                        missing = builder.sub(W, col)
                        missing = builder.select(
                            builder.icmp_signed("<", missing, width), missing, width
                        )
                        for jh, (vectors, line) in enumerate(zip(rows, lines, strict=True)):
                            with builder.if_then(builder.icmp_signed("<", _INT(jh), height)):
                                for i, vector in enumerate(vectors):
                                    emitter.store(vector, rest, i)
                                with cgutils.for_range(builder, missing, intp=_INT) as loop:
                                    value = builder.load(builder.gep(rest, [loop.index]))
                                    pointer = builder.gep(line, [loop.index])
                                    builder.store(value, pointer, align=emitter.itemsize)

    switch(builder, shape, range(1, len(SHAPES) + 1), lambda place: rows_of(SHAPES[place - 1]))


@intrinsic
def _collect_largest(context, shape, dout, argmax, source, step, dx, target, H, W):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shape, dout, argmax, source, step, dx, target, H, W = arguments
        pointer = pointers(context, builder, signature)
        _emit(
            builder, signature.args[1].dtype, shape, builder.gep(pointer(1, dout), [source]),
            builder.gep(pointer(2, argmax), [source]), step, None,
            builder.gep(pointer(5, dx), [target]), H, W,
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(shape, dout, argmax, source, step, dx, target, H, W), generate


@intrinsic
def _collect_shares(context, shape, dout, source, step, divisor, dx, target, H, W):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shape, dout, source, step, divisor, dx, target, H, W = arguments
        pointer = pointers(context, builder, signature)
        _emit(
            builder, signature.args[1].dtype, shape, builder.gep(pointer(1, dout), [source]),
            None, step, divisor, builder.gep(pointer(5, dx), [target]), H, W,
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(shape, dout, source, step, dout.dtype, dx, target, H, W), generate


def plain_collect_largest(
    shape: int, dout: Array, argmax: Array, source: int, step: int, dx: Array, target: int,
    H: int, W: int,
) -> None:  # fmt: skip
    """Rows of dx: the sum of dout over the windows whose argmax names each element."""
    stride, extent, pad = SHAPES[shape - 1]
    for ih in range(H):
        for iw in range(W):
            total = dout.dtype.type(0)
            for oh in range(-((extent - 1 - pad - ih) // stride), (ih + pad) // stride + 1):
                for ow in range(-((extent - 1 - pad - iw) // stride), (iw + pad) // stride + 1):
                    place = source + oh * step + ow
                    kh, kw = ih + pad - oh * stride, iw + pad - ow * stride
                    if argmax[place] == kh * extent + kw:
                        total += dout[place]
            dx[target + ih * W + iw] = total


def plain_collect_shares(
    shape: int, dout: Array, source: int, step: int, divisor: float, dx: Array, target: int,
    H: int, W: int,
) -> None:  # fmt: skip
    """Rows of dx: the sum of dout over the windows that cover each element.

    It is divided only where windows lie side by side: elsewhere dout comes divided.
    """
    stride, extent, pad = SHAPES[shape - 1]
    for ih in range(H):
        for iw in range(W):
            total = dout.dtype.type(0)
            for oh in range(-((extent - 1 - pad - ih) // stride), (ih + pad) // stride + 1):
                for ow in range(-((extent - 1 - pad - iw) // stride), (iw + pad) // stride + 1):
                    total += dout[source + oh * step + ow]
            dx[target + ih * W + iw] = total / (divisor if stride == extent else 1)


if JIT:
    collect_largest, collect_shares = _collect_largest, _collect_shares
else:
    collect_largest, collect_shares = plain_collect_largest, plain_collect_shares
