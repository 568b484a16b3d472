"""Forward pooling: the maxima and the means of rows of windows, block by block.

The twins for Cython are `largest_rows` and `mean_rows` of src_kernels/pool_tile.h.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.pool_tile import FORMS, Windows, for_each_side
from fastscratch.kernels.numba_jit.vectors import pointers, switch
from fastscratch.types import Array

_INT = ir.IntType(64)


class Cut(NamedTuple):
    """Some rows of windows, as drivers pass them: a tuple of ints."""

    side: Any
    form: Any
    step: Any
    """From a window to the next."""
    x_step: Any
    """From a row of windows to the next, in x."""
    rows: Any
    count: Any
    """Windows of a row."""
    row_step: Any
    """From a row of a window's elements to the next."""
    first: Any
    stop: Any
    """The taps that are seen; a form sees all."""
    y_step: Any
    """From a row of windows to the next, in y."""


class Rows:
    """Emits the loops over rows of windows, their blocks, and the taps of a block.

    What is done differs: ``square(windows, lines, step, extent)`` is a block's result, given a
    pointer to each row of its elements; elsewhere ``begin(windows, value, tap)`` and
    ``combine(windows, value, tap, states)`` make it, tap by tap. ``store(windows, states, place)``
    takes it.
    """

    def __init__(self, builder: Any, dtype: Any, cut: Any, x: Any, offsets: Any):
        self.builder, self.dtype, self.x, self.offsets = builder, dtype, x, offsets
        self.cut = Cut._make(builder.extract_value(cut, i) for i in range(len(Cut._fields)))

    def emit(
        self, square: Callable[..., list[Any]], begin: Callable[..., list[Any]],
        combine: Callable[..., list[Any]], store: Callable[..., None],
    ) -> None:  # fmt: skip
        """For each side, form and step, of which one is chosen at run time."""
        cut = self.cut
        builder = self.builder

        def any_window(windows: Windows, literal: int) -> Callable[[Any], list[Any]]:
            def block(source: Any) -> list[Any]:
                def load(tap: Any) -> Any:
                    offset = builder.load(builder.gep(self.offsets, [tap]))
                    return windows.load(builder.gep(source, [offset]), cut.step, literal)

                return windows.fold(
                    begin(windows, load(cut.first), cut.first),
                    builder.add(cut.first, _INT(1)), cut.stop, load,
                    lambda tap, value, states: combine(windows, value, tap, states),
                )  # fmt: skip

            return block

        def squares(windows: Windows, form: int) -> Callable[[Any], list[Any]]:
            step, extent = FORMS[form - 1]

            def block(source: Any) -> list[Any]:
                steps = [builder.mul(cut.row_step, _INT(kh)) for kh in range(extent)]
                return square(windows, [builder.gep(source, [row]) for row in steps], step, extent)

            return block

        def loops(windows: Windows, block: Callable[[Any], list[Any]], step: int) -> None:
            distance = _INT(step) if step else cut.step
            side, last = _INT(windows.side), builder.sub(cut.count, _INT(windows.side))
            with cgutils.for_range(builder, cut.rows, intp=_INT) as row:
                x_row, y_row = (builder.mul(row.index, step) for step in (cut.x_step, cut.y_step))
                with cgutils.for_range_slice(builder, _INT(0), cut.count, side, _INT) as (i, _):
                    i = builder.select(builder.icmp_signed(">", i, last), last, i)
                    source = builder.add(x_row, builder.mul(i, distance))
                    states = block(builder.gep(self.x, [source]))
                    store(windows, states, builder.add(y_row, i))

        def each(windows: Windows) -> None:
            switch(
                builder, cut.form, range(1, len(FORMS) + 1),
                lambda form: loops(windows, squares(windows, form), FORMS[form - 1][0]),
                lambda: switch(
                    builder, cut.step, [1, 2],
                    lambda literal: loops(windows, any_window(windows, literal), literal),
                    lambda: loops(windows, any_window(windows, 0), 0),
                ),
            )  # fmt: skip

        for_each_side(builder, self.dtype, cut.side, each)


@intrinsic
def _max_rows(typing_context, cut, x, start, offsets, y, argmax, target):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cut, x, start, offsets, y, argmax, target = arguments
        pointer = pointers(context, builder, signature)
        y = builder.gep(pointer(4, y), [target])
        argmax = builder.gep(pointer(5, argmax), [target])
        stored = ir.IntType(signature.args[5].dtype.bitwidth)

        def square(windows: Windows, lines: list[Any], step: int, extent: int) -> list[Any]:
            values: list[Any] = []
            for line in lines:
                if step == 1:
                    at = [windows.at(line, kw) for kw in range(extent)]
                    values += [windows.emitter.load(place, 0) for place in at]
                    continue
                for kw in range(0, extent - 1, 2):
                    values += windows.pair(windows.at(line, kw))
                if extent % 2:
                    ends = windows.halves(windows.at(line, extent - 1))
                    values.append(windows.every_second(*ends))
            states = begin(windows, values[0], 0)
            for tap, value in enumerate(values[1:], 1):
                states = windows.keep_larger(value, tap, states)
            return states if step == 1 else [windows.in_order(state) for state in states]

        def begin(windows: Windows, value: Any, tap: Any) -> list[Any]:
            return [value, windows.splat(tap)]

        def store(windows: Windows, states: list[Any], place: Any) -> None:
            best, where = states
            windows.emitter.store(best, builder.gep(y, [place]), 0)
            kind = ir.VectorType(stored, windows.side)
            if stored.width < windows.integer.element.width:
                where = builder.trunc(where, kind)
            target = builder.bitcast(builder.gep(argmax, [place]), kind.as_pointer())
            builder.store(where, target, align=stored.width // 8)

        x = builder.gep(pointer(1, x), [start])
        rows = Rows(builder, signature.args[1].dtype, cut, x, pointer(3, offsets))
        rows.emit(square, begin, Windows.keep_larger, store)
        return context.get_dummy_value()

    return types.void(cut, x, start, offsets, y, argmax, target), generate


@intrinsic
def _mean_rows(typing_context, cut, x, start, offsets, divisor, y, target):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cut, x, start, offsets, divisor, y, target = arguments
        pointer = pointers(context, builder, signature)
        y = builder.gep(pointer(5, y), [target])

        def add(vectors: list[Any]) -> Any:
            total = vectors[0]
            for vector in vectors[1:]:
                total = builder.fadd(total, vector)
            return total

        def square(windows: Windows, lines: list[Any], step: int, extent: int) -> list[Any]:
            """Down the columns first: fewer vectors are taken apart."""
            load = windows.emitter.load
            sums: list[Any] = []
            if step == 1:
                columns = [[windows.at(line, kw) for line in lines] for kw in range(extent)]
                return [add([add([load(place, 0) for place in column]) for column in columns])]
            for kw in range(0, extent - 1, 2):
                at = [windows.at(line, kw) for line in lines]
                low, high = (add([load(p, vector) for p in at]) for vector in range(2))
                sums += windows.taken_apart(low, high)
            if extent % 2:
                ends = [windows.halves(windows.at(line, extent - 1)) for line in lines]
                low, high = (add([end[vector] for end in ends]) for vector in range(2))
                sums.append(windows.every_second(low, high))
            return [windows.in_order(add(sums))]

        def begin(windows: Windows, value: Any, tap: Any) -> list[Any]:
            return [value]

        def combine(windows: Windows, value: Any, tap: Any, states: list[Any]) -> list[Any]:
            return [builder.fadd(states[0], value)]

        def store(windows: Windows, states: list[Any], place: Any) -> None:
            mean = builder.fdiv(states[0], windows.emitter.splat(divisor))
            windows.emitter.store(mean, builder.gep(y, [place]), 0)

        x = builder.gep(pointer(1, x), [start])
        rows = Rows(builder, signature.args[1].dtype, cut, x, pointer(3, offsets))
        rows.emit(square, begin, combine, store)
        return context.get_dummy_value()

    return types.void(cut, x, start, offsets, x.dtype, y, target), generate


def plain_max_rows(
    cut: tuple[int, ...], x: Array, start: int, offsets: Array, y: Array, argmax: Array, target: int
) -> None:
    """The maxima of rows of windows, of their taps first to stop, and where they are."""
    _, _, step, x_step, rows, count, _, first, stop, y_step = cut
    for row in range(rows):
        for i in range(count):
            place = start + row * x_step + i * step
            best, where = x[place + offsets[first]], first
            for tap in range(first + 1, stop):
                value = x[place + offsets[tap]]
                if best == best and not value <= best:
                    best, where = value, tap
            y[target + row * y_step + i], argmax[target + row * y_step + i] = best, where


def plain_mean_rows(
    cut: tuple[int, ...], x: Array, start: int, offsets: Array, divisor: float, y: Array,
    target: int,
) -> None:  # fmt: skip
    """The sums of taps first to stop of rows of windows, over the divisor."""
    _, _, step, x_step, rows, count, _, first, stop, y_step = cut
    for row in range(rows):
        for i in range(count):
            place = start + row * x_step + i * step
            total = x[place + offsets[first]]
            for tap in range(first + 1, stop):
                total += x[place + offsets[tap]]
            y[target + row * y_step + i] = total / x.dtype.type(divisor)


if JIT:
    max_rows, mean_rows = _max_rows, _mean_rows
else:
    max_rows, mean_rows = plain_max_rows, plain_mean_rows
