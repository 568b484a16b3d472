"""Blocks of windows along a row, one window to a lane: what pooling is emitted from.

A block is ``side`` windows, a vector wide or less; the last block of a row overlaps the one before
it, since it would write the same values again. Nothing is read beyond the last window. A *form* is
a kind of square windows whose elements are unrolled; form 0 is any other. The twin for
Cython is src_kernels/pool_tile.h.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from fastscratch.kernels.numba_jit.compile import inner
from fastscratch.kernels.numba_jit.machine import VECTOR_BYTES
from fastscratch.kernels.numba_jit.vectors import Emitter, switch
from fastscratch.types import Array, Padding, Pair

POOL_BYTES = min(VECTOR_BYTES, 32)
"""Half of a large vector: rows are short, and pooling waits for memory."""

SMALLEST = 4
"""Windows of a block at least."""

FORMS = ((2, 2), (2, 3), (1, 3))
"""Distance and extent of the squares that are forms, the first of them form 1."""

_INT = ir.IntType(64)
_LANE = ir.IntType(32)


def form_of(kernel_size: Pair, stride: Pair, dilation: Pair) -> int:
    """Which form windows have, or 0."""
    kind = stride[1], kernel_size[0]
    if kernel_size[0] != kernel_size[1] or dilation != (1, 1) or kind not in FORMS:
        return 0
    return FORMS.index(kind) + 1


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
    side = POOL_BYTES // array.itemsize
    while side > count and side >= SMALLEST:
        side //= 2
    return side if side >= SMALLEST else 0


def _blocks(itemsize: int) -> list[int]:
    """The sides that blocks can have."""
    side = POOL_BYTES // itemsize
    return [side >> shift for shift in range(5) if side >> shift >= SMALLEST]


class Windows:
    """Emits what is done to the windows of one block, one to a lane."""

    def __init__(self, builder: Any, dtype: Any, side: int):
        self.builder = builder
        self.emitter = Emitter(builder, dtype, side * (dtype.bitwidth // 8), False)
        self.side = side
        self.integer = ir.VectorType(ir.IntType(dtype.bitwidth), side)
        # Every other element of two vectors, taken within 16 bytes, where that is one instruction;
        # `in_order` then brings the lanes into order.
        near = min(128 // dtype.bitwidth, side)
        self.even = [
            vector * side + start + i
            for start in range(0, side, near) for vector in range(2) for i in range(0, near, 2)
        ]  # fmt: skip
        order = [e // 2 for e in self.even]
        self.order = [order.index(window) for window in range(side)]

    def shuffle(self, first: Any, second: Any, lanes: list[int]) -> Any:
        """Those lanes of two vectors."""
        mask = ir.Constant(ir.VectorType(_LANE, len(lanes)), lanes)
        return self.builder.shuffle_vector(first, second, mask)

    def at(self, pointer: Any, offset: Any) -> Any:
        """The pointer to an element so much further on."""
        return self.builder.gep(pointer, [_INT(offset) if isinstance(offset, int) else offset])

    def pair(self, pointer: Any) -> tuple[Any, Any]:
        """The two neighbours at a pointer, and those every second element further, out of order."""
        low, high = self.emitter.load(pointer, 0), self.emitter.load(pointer, 1)
        return self.taken_apart(low, high)

    def taken_apart(self, low: Any, high: Any) -> tuple[Any, Any]:
        """The elements at even and at odd places of two vectors, out of order."""
        odd = [e + 1 for e in self.even]
        return self.shuffle(low, high, self.even), self.shuffle(low, high, odd)

    def halves(self, pointer: Any) -> tuple[Any, Any]:
        """Two vectors that hold every second element up to the last window's, and none behind it.

        The second one begins an element early.
        """
        high = self.at(pointer, self.side - 1)
        return self.emitter.load(pointer, 0), self.emitter.load(high, 0)

    def every_second(self, low: Any, high: Any) -> Any:
        """Every second element of `halves`, out of order."""
        return self.shuffle(low, high, [e + (e >= self.side) for e in self.even])

    def in_order(self, vector: Any) -> Any:
        """The lanes of what was taken apart, in order."""
        return self.shuffle(vector, vector, self.order)

    def interleaved(self, even: Any, odd: Any) -> list[Any]:
        """Two vectors of the elements of two in turn."""
        order = [i // 2 + self.side * (i % 2) for i in range(2 * self.side)]
        return [
            self.shuffle(even, odd, order[: self.side]),
            self.shuffle(even, odd, order[self.side :]),
        ]

    def load(self, pointer: Any, step: Any, literal: int) -> Any:
        """The elements at a step: neighbours, every second one, or any."""
        builder, side = self.builder, self.side
        if literal == 1:
            return self.emitter.load(pointer, 0)
        if literal == 2:
            return self.in_order(self.every_second(*self.halves(pointer)))
        vector = self.emitter.undefined
        for i in range(side):
            place = builder.gep(pointer, [builder.mul(step, _INT(i))])
            value = builder.load(place, align=self.emitter.itemsize)
            vector = builder.insert_element(vector, value, _LANE(i))
        return vector

    def fold(
        self, first: list[Any], start: Any, stop: Any, load: Callable[[Any], Any],
        combine: Callable[[Any, Any, list[Any]], list[Any]],
    ) -> list[Any]:  # fmt: skip
        """What remains of some vectors after combining them with the taps from start to stop."""
        builder = self.builder
        before = builder.block
        loop = builder.append_basic_block("taps.loop")
        after = builder.append_basic_block("taps.done")
        builder.cbranch(builder.icmp_signed("<", start, stop), loop, after)
        builder.position_at_end(loop)
        tap = builder.phi(_INT)
        states = [builder.phi(value.type) for value in first]
        results = combine(tap, load(tap), states)
        following = builder.add(tap, _INT(1))
        tap.add_incoming(start, before)
        tap.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
        builder.position_at_end(after)
        finals = []
        for state, begin, result in zip(states, first, results, strict=True):
            final = builder.phi(begin.type)
            for phi in (state, final):
                phi.add_incoming(begin, before)
                phi.add_incoming(result, loop)
            finals.append(final)
        return finals

    def splat(self, value: Any) -> Any:
        """A vector full of an integer."""
        builder = self.builder
        if isinstance(value, int):
            return ir.Constant(self.integer, [value] * self.side)
        narrow = value
        if self.integer.element.width < 64:
            narrow = builder.trunc(value, self.integer.element)
        undefined = ir.Constant(self.integer, ir.Undefined)
        one = builder.insert_element(undefined, narrow, _LANE(0))
        return self.shuffle(one, undefined, [0] * self.side)

    def keep_larger(self, value: Any, tap: Any, states: list[Any]) -> list[Any]:
        """The larger value and where it is; the first of equals, and the first NaN, stay."""
        builder = self.builder
        best, where = states
        larger = builder.fcmp_unordered(">", value, best)
        wins = builder.and_(larger, builder.fcmp_ordered("ord", best, best))
        return [builder.select(wins, value, best), builder.select(wins, self.splat(tap), where)]


def for_each_side(builder: Any, dtype: Any, side: Any, emit: Callable[[Windows], None]) -> None:
    """Emit code for each number of windows that blocks can have."""
    sides = _blocks(dtype.bitwidth // 8)
    switch(builder, side, sides, lambda value: emit(Windows(builder, dtype, value)))
