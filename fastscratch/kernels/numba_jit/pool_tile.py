"""Blocks of windows along a row, one to a lane: their maxima, sums, and what goes back to them.

A block is ``side`` windows, a vector wide or less; the last block of a row overlaps the one before
it, since it would write the same values again. Nothing is read beyond the last window.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import JIT, inner, intrinsic
from fastscratch.kernels.numba_jit.machine import VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, lanes, pointers, switch
from fastscratch.types import Array, Padding, Pair

SMALLEST = 4
"""Windows of a block at least."""

_INT = ir.IntType(64)


def windows_inside(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair,
) -> tuple[int, int, int, int]:  # fmt: skip
    """The first window that lies inside the image whole, and the first behind those; rows, cols."""
    inside = []
    for axis in range(2):
        before, count = padding[2 * axis], y[2 + axis]
        reach = (kernel_size[axis] - 1) * dilation[axis] + 1
        first = min(-(-before // stride[axis]), count)
        stop = (x[2 + axis] + before - reach) // stride[axis] + 1
        inside += [first, max(min(stop, count), first)]
    return inside[0], inside[1], inside[2], inside[3]


@inner
def block_side(array: Array, count: int) -> int:
    """Windows of the blocks that a row of so many is cut into; 0 if they are too few."""
    side = lanes(array)
    while side > count and side >= SMALLEST:
        side //= 2
    return side if side >= SMALLEST else 0


def _blocks(itemsize: int) -> list[int]:
    """The sides that blocks can have."""
    side = VECTOR_BYTES // itemsize
    return [side >> shift for shift in range(5) if side >> shift >= SMALLEST]


class _Windows:
    """Emits, for one number of lanes, the loop over a window's taps."""

    def __init__(self, builder: Any, dtype: Any, side: int):
        self.builder = builder
        self.emitter = Emitter(builder, dtype, side * (dtype.bitwidth // 8), False)
        self.side = side
        self.integer = ir.VectorType(ir.IntType(dtype.bitwidth), side)

    def load(self, pointer: Any, step: Any, literal: int) -> Any:
        """The elements at a step: neighbours, every second one, or any."""
        builder, side = self.builder, self.side
        if literal == 1:
            return self.emitter.load(pointer, 0)
        if literal == 2:
            # The second load begins one early: it must not end beyond the last element.
            first = self.emitter.load(pointer, 0)
            second = self.emitter.load(builder.gep(pointer, [_INT(side - 1)]), 0)
            mask = [p if p < side else p + 1 for p in range(0, 2 * side, 2)]
            return builder.shuffle_vector(
                first, second, ir.Constant(ir.VectorType(ir.IntType(32), side), mask)
            )
        vector = self.emitter.undefined
        for i in range(side):
            place = builder.gep(pointer, [builder.mul(step, _INT(i))])
            value = builder.load(place, align=self.emitter.itemsize)
            vector = builder.insert_element(vector, value, ir.IntType(32)(i))
        return vector

    def fold(
        self, first: list[Any], taps: Any, load: Callable[[Any], Any],
        combine: Callable[[Any, Any, list[Any]], list[Any]],
    ) -> list[Any]:  # fmt: skip
        """What remains of some vectors after combining them with each tap but the first."""
        builder = self.builder
        before = builder.block
        loop = builder.append_basic_block("taps.loop")
        after = builder.append_basic_block("taps.done")
        builder.cbranch(builder.icmp_signed("<", _INT(1), taps), loop, after)
        builder.position_at_end(loop)
        tap = builder.phi(_INT)
        states = [builder.phi(value.type) for value in first]
        results = combine(tap, load(tap), states)
        following = builder.add(tap, _INT(1))
        tap.add_incoming(_INT(1), before)
        tap.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, taps), loop, after)
        builder.position_at_end(after)
        finals = []
        for state, start, result in zip(states, first, results, strict=True):
            final = builder.phi(start.type)
            for phi in (state, final):
                phi.add_incoming(start, before)
                phi.add_incoming(result, loop)
            finals.append(final)
        return finals

    def splat(self, value: Any) -> Any:
        """A vector full of an integer."""
        builder = self.builder
        narrow = (
            builder.trunc(value, self.integer.element)
            if (self.integer.element.width < 64)
            else value
        )
        undefined = ir.Constant(self.integer, ir.Undefined)
        one = builder.insert_element(undefined, narrow, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.side), [0] * self.side)
        return builder.shuffle_vector(one, undefined, zeros)

    def interleaved(self, even: Any, odd: Any, pointer: Any) -> None:
        """Store two vectors, element by element in turn."""
        side = self.side
        order = [i // 2 + side * (i % 2) for i in range(2 * side)]
        for half in range(2):
            mask = ir.Constant(
                ir.VectorType(ir.IntType(32), side), order[half * side : (half + 1) * side]
            )
            self.emitter.store(self.builder.shuffle_vector(even, odd, mask), pointer, half)


def _for_each_side(builder: Any, dtype: Any, side: Any, emit: Callable[[_Windows], None]) -> None:
    sides = _blocks(dtype.bitwidth // 8)
    switch(builder, side, sides, lambda value: emit(_Windows(builder, dtype, value)))


@intrinsic
def _max_block(context, side, step, x, start, offsets, taps, y, argmax, target):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        side, step, x, start, offsets, taps, y, argmax, target = arguments
        pointer = pointers(context, builder, signature)
        x = builder.gep(pointer(2, x), [start])
        offsets = pointer(4, offsets)
        y = builder.gep(pointer(6, y), [target])
        argmax = builder.gep(pointer(7, argmax), [target])
        stored = ir.IntType(signature.args[7].dtype.bitwidth)

        def emit(windows: _Windows, literal: int) -> None:
            def load(tap: Any) -> Any:
                offset = builder.load(builder.gep(offsets, [tap]))
                return windows.load(builder.gep(x, [offset]), step, literal)

            def combine(tap: Any, value: Any, states: list[Any]) -> list[Any]:
                best, where = states
                # Larger or NaN, unless NaN was there already.
                larger = builder.fcmp_unordered(">", value, best)
                wins = builder.and_(larger, builder.fcmp_ordered("ord", best, best))
                return [
                    builder.select(wins, value, best),
                    builder.select(wins, windows.splat(tap), where),
                ]

            nowhere = ir.Constant(windows.integer, [0] * windows.side)
            best, where = windows.fold([load(_INT(0)), nowhere], taps, load, combine)
            windows.emitter.store(best, y, 0)
            kind = ir.VectorType(stored, windows.side)
            if stored.width < windows.integer.element.width:
                where = builder.trunc(where, kind)
            place = builder.bitcast(argmax, kind.as_pointer())
            builder.store(where, place, align=stored.width // 8)

        def emit_side(windows: _Windows) -> None:
            switch(builder, step, [1, 2], lambda literal: emit(windows, literal),
                   otherwise=lambda: emit(windows, 0))  # fmt: skip

        _for_each_side(builder, signature.args[2].dtype, side, emit_side)
        return context.get_dummy_value()

    return types.void(side, step, x, start, offsets, taps, y, argmax, target), generate


@intrinsic
def _sum_block(context, side, step, x, start, offsets, taps, divisor, y, target):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        side, step, x, start, offsets, taps, divisor, y, target = arguments
        pointer = pointers(context, builder, signature)
        x = builder.gep(pointer(2, x), [start])
        offsets = pointer(4, offsets)
        y = builder.gep(pointer(7, y), [target])

        def emit(windows: _Windows, literal: int) -> None:
            def load(tap: Any) -> Any:
                offset = builder.load(builder.gep(offsets, [tap]))
                return windows.load(builder.gep(x, [offset]), step, literal)

            def combine(tap: Any, value: Any, states: list[Any]) -> list[Any]:
                return [builder.fadd(states[0], value)]

            (total,) = windows.fold([load(_INT(0))], taps, load, combine)
            mean = builder.fdiv(total, windows.emitter.splat(divisor))
            windows.emitter.store(mean, y, 0)

        def emit_side(windows: _Windows) -> None:
            switch(builder, step, [1, 2], lambda literal: emit(windows, literal),
                   otherwise=lambda: emit(windows, 0))  # fmt: skip

        _for_each_side(builder, signature.args[2].dtype, side, emit_side)
        return context.get_dummy_value()

    return types.void(side, step, x, start, offsets, taps, x.dtype, y, target), generate


@intrinsic
def _scatter_block(context, side, dout, argmax, source, first, dx, target):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        side, dout, argmax, source, first, dx, target = arguments
        pointer = pointers(context, builder, signature)
        dout = builder.gep(pointer(1, dout), [source])
        argmax = builder.gep(pointer(2, argmax), [source])
        dx = builder.gep(pointer(5, dx), [target])
        stored = ir.IntType(signature.args[2].dtype.bitwidth)

        def emit(windows: _Windows) -> None:
            value = windows.emitter.load(dout, 0)
            kind = ir.VectorType(stored, windows.side)
            place = builder.bitcast(argmax, kind.as_pointer())
            where = builder.load(place, align=stored.width // 8)
            if stored.width < windows.integer.element.width:
                where = builder.zext(where, windows.integer)
            zero = ir.Constant(windows.emitter.vector, [0.0] * windows.side)
            even, odd = (
                builder.select(builder.icmp_signed("==", where, windows.splat(tap)), value, zero)
                for tap in (first, builder.add(first, _INT(1)))
            )
            windows.interleaved(even, odd, dx)

        _for_each_side(builder, signature.args[1].dtype, side, emit)
        return context.get_dummy_value()

    return types.void(side, dout, argmax, source, first, dx, target), generate


@intrinsic
def _spread_block(context, side, dout, source, divisor, dx, target):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        side, dout, source, divisor, dx, target = arguments
        pointer = pointers(context, builder, signature)
        dout = builder.gep(pointer(1, dout), [source])
        dx = builder.gep(pointer(4, dx), [target])

        def emit(windows: _Windows) -> None:
            share = builder.fdiv(windows.emitter.load(dout, 0), windows.emitter.splat(divisor))
            windows.interleaved(share, share, dx)

        _for_each_side(builder, signature.args[1].dtype, side, emit)
        return context.get_dummy_value()

    return types.void(side, dout, source, dout.dtype, dx, target), generate


def plain_max_block(
    side: int, step: int, x: Array, start: int, offsets: Array, taps: int,
    y: Array, argmax: Array, target: int,
) -> None:  # fmt: skip
    """The maxima of a block of windows and where they are, as plain loops."""
    for i in range(side):
        best, where = x[start + i * step + offsets[0]], 0
        for tap in range(1, taps):
            value = x[start + i * step + offsets[tap]]
            if best == best and not value <= best:
                best, where = value, tap
        y[target + i], argmax[target + i] = best, where


def plain_sum_block(
    side: int, step: int, x: Array, start: int, offsets: Array, taps: int, divisor: float,
    y: Array, target: int,
) -> None:  # fmt: skip
    """The means of a block of windows, as plain loops."""
    for i in range(side):
        total = x[start + i * step + offsets[0]]
        for tap in range(1, taps):
            total += x[start + i * step + offsets[tap]]
        y[target + i] = total / x.dtype.type(divisor)


def plain_scatter_block(
    side: int, dout: Array, argmax: Array, source: int, first: int, dx: Array, target: int
) -> None:
    """One row of dx under a block of windows of 2 by 2: dout where argmax says so, else 0."""
    for i in range(2 * side):
        here = argmax[source + i // 2] == first + i % 2
        dx[target + i] = dout[source + i // 2] if here else 0


def plain_spread_block(
    side: int, dout: Array, source: int, divisor: float, dx: Array, target: int
) -> None:
    """One row of dx under a block of windows of 2 by 2: dout over the divisor."""
    for i in range(2 * side):
        dx[target + i] = dout[source + i // 2] / dout.dtype.type(divisor)


if JIT:
    max_block, sum_block, scatter_block, spread_block = (
        _max_block, _sum_block, _scatter_block, _spread_block
    )  # fmt: skip
else:
    max_block, sum_block = plain_max_block, plain_sum_block
    scatter_block, spread_block = plain_scatter_block, plain_spread_block
