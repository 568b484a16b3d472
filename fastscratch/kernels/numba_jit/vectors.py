"""Vector code, emitted through LLVM: what tiles and lines are made of.

All loads and stores are aligned to the element only.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.ir.values import FunctionAttributes
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic
from fastscratch.kernels.numba_jit.machine import MASKS, VECTOR_BYTES, register_class
from fastscratch.types import Array

_INT = ir.IntType(64)

_ADDED_AT_ONCE = 4
"""Rows, as many as hide the latency of an addition."""

_WIDE = f'"prefer-vector-width"="{8 * VECTOR_BYTES}"'


class _Attributes(FunctionAttributes):  # type: ignore[misc]
    """Those of a function, and one that llvmlite does not know."""

    _known = FunctionAttributes._known | {_WIDE}


def prefer_wide(builder: Any) -> None:
    """Have LLVM make the loops of this function of vectors as wide as the tiles' are.

    Left to itself it takes half of that on the processors for which it knows 512 bits: tanh took
    1.3 times as long.
    """
    function = builder.function
    if _WIDE not in function.attributes:
        function.attributes = _Attributes(function.attributes)
        function.attributes.add(_WIDE)


class Emitter:
    """Emits vector code for one element type through an LLVM builder."""

    def __init__(self, builder: Any, dtype: Any, vector_bytes: int, fused: bool):
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self.lanes = vector_bytes // self.itemsize
        self.scalar = ir.FloatType() if self.itemsize == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.undefined = ir.Constant(self.vector, ir.Undefined)
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)
        self.register = register_class(vector_bytes)
        self.has_bits = vector_bytes == 64
        self.fma = None
        if fused:
            self.fma = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(self.vector, [self.vector] * 3),
                f"llvm.fma.v{self.lanes}f{self.itemsize * 8}",
            )

    def load(self, pointer: Any, index: int) -> Any:
        """Load vector ``index`` behind a pointer to elements."""
        return self.builder.load(self._vector(pointer, index), align=self.itemsize)

    def store(self, value: Any, pointer: Any, index: int) -> None:
        """Store vector ``index`` behind a pointer to elements."""
        self.builder.store(value, self._vector(pointer, index), align=self.itemsize)

    def load_some(self, pointer: Any, lanes: Any) -> Any:
        """Load the lanes that a mask has; no other is touched, and zero is in its place."""
        place, align = self._vector(pointer, 0), ir.IntType(32)
        function = self._masked("load", [place.type, align, lanes.type, self.vector], self.vector)
        return self.builder.call(function, [place, align(self.itemsize), lanes, self.zero])

    def store_some(self, value: Any, pointer: Any, lanes: Any) -> None:
        """Store the lanes that a mask has."""
        place, align = self._vector(pointer, 0), ir.IntType(32)
        kinds = [self.vector, place.type, align, lanes.type]
        function = self._masked("store", kinds, ir.VoidType())
        self.builder.call(function, [value, place, align(self.itemsize), lanes])

    def _masked(self, operation: str, arguments: list[Any], result: Any) -> Any:
        kind = f"v{self.lanes}f{self.itemsize * 8}"
        return cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(result, arguments),
            f"llvm.masked.{operation}.{kind}.p0{kind}",
        )  # fmt: skip

    def broadcast(self, pointer: Any) -> Any:
        """A vector full of the element at a pointer."""
        return self.splat(self.builder.load(pointer, align=self.itemsize))

    def splat(self, scalar: Any) -> Any:
        """A vector full of a value."""
        builder = self.builder
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        one = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        return builder.shuffle_vector(one, undefined, _mask([0] * self.lanes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a*b + c, rounded once where the processor can."""
        if self.fma is not None:
            return self.builder.call(self.fma, [a, b, c])
        return self.builder.fadd(self.builder.fmul(a, b), c)

    def opaque(self, value: Any) -> Any:
        """The same value, of which the optimiser knows nothing.

        What is added to an address stays apart; a few zeros do not become a call of memset.
        """
        register: str | None = "r"
        if isinstance(value.type, (ir.VectorType, ir.FloatType, ir.DoubleType)):
            register = self.register
        if register is None:
            return value
        kind = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(kind, "", f"={register},0", [value], side_effect=False)

    def in_order(self, value: Any) -> Any:
        """The same value, computed before anything that stands below is loaded.

        LLVM loads the factors of all rows first, and those of 14 rows leave no registers for the
        sums: the tile took 3 to 5 times as long.
        """
        if self.register is None:
            return value
        kind = ir.FunctionType(value.type, [value.type])
        places = f"={self.register},0,~{{memory}}"
        return self.builder.asm(kind, "", places, [value], side_effect=True)

    def never_unrolled(self, branch: Any) -> None:
        """Mark the branch that closes a loop: of few rows LLVM would make two loops."""
        module = self.builder.module
        node = module.add_metadata([["llvm.loop.unroll.disable"]])
        if node not in node.operands:
            node.operands = node, *node.operands  # a loop's name begins with itself
        branch.set_metadata("llvm.loop", node)

    def multiples(self, step: Any, count: int) -> Callable[[Any, int], Any]:
        """Addresses fewer than ``count`` steps behind a pointer.

        Only odd multiples take registers: an address holds one of them times 1, 2, 4 or 8, and so
        the addresses of 14 rows take 8.
        """
        builder = self.builder
        if isinstance(step, ir.Constant):
            return lambda pointer, steps: builder.gep(pointer, [_INT(step.constant * steps)])
        bytes_each = builder.mul(step, _INT(self.itemsize))
        odds = [self.opaque(builder.mul(bytes_each, _INT(odd))) for odd in range(1, count, 2)]

        def address(pointer: Any, steps: int) -> Any:
            if steps == 0:
                return pointer
            shift = (steps & -steps).bit_length() - 1
            offset = builder.shl(odds[steps >> shift + 1], _INT(shift))
            byte = builder.gep(builder.bitcast(pointer, ir.IntType(8).as_pointer()), [offset])
            return builder.bitcast(byte, pointer.type)

        return address

    def sums(
        self, rows: int, vectors: int, start: Any, stop: Any,
        operands: Callable[..., tuple[list[Any], Any]], moving: Sequence[tuple[Any, Any]] = (),
    ) -> list[list[Any]]:  # fmt: skip
        """The loop: ``rows`` by ``vectors`` sums over k.

        ``operands(k, *moved)`` gives the pointers, one for each row and one for the vectors, or for
        each of them; ``moved`` are the pointers of ``moving``, each of which goes on by its stride
        from k to k.
        """
        builder = self.builder
        before = builder.block
        loop = builder.append_basic_block("tile.loop")
        after = builder.append_basic_block("tile.done")
        builder.cbranch(builder.icmp_signed("<", start, stop), loop, after)

        builder.position_at_end(loop)
        k = builder.phi(_INT)
        k.add_incoming(start, before)
        sums = [[builder.phi(self.vector) for _ in range(vectors)] for _ in range(rows)]
        moved = [builder.phi(pointer.type) for pointer, _ in moving]
        for here, (pointer, _) in zip(moved, moving, strict=True):
            here.add_incoming(pointer, before)
        scalars, b = operands(k, *moved)
        if isinstance(b, list):
            columns = [self.load(pointer, 0) for pointer in b]
        else:
            columns = [self.load(b, v) for v in range(vectors)]
        results = []
        for row, scalar in zip(sums, scalars, strict=True):
            factor = self.broadcast(scalar)
            done = [self.multiply_add(factor, b, c) for b, c in zip(columns, row, strict=True)]
            results.append([self.in_order(value) for value in done])
        for here, (_, stride) in zip(moved, moving, strict=True):
            here.add_incoming(builder.gep(here, [stride]), loop)
        following = builder.add(k, _INT(1))
        k.add_incoming(following, loop)
        again = builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
        self.never_unrolled(again)

        builder.position_at_end(after)
        finals = [[builder.phi(self.vector) for _ in range(vectors)] for _ in range(rows)]
        for r in range(rows):
            for v in range(vectors):
                sums[r][v].add_incoming(self.zero, before)
                sums[r][v].add_incoming(results[r][v], loop)
                finals[r][v].add_incoming(self.zero, before)
                finals[r][v].add_incoming(results[r][v], loop)
        return finals

    def add(self, sums: list[list[Any]], out: Any, stride: Any) -> None:
        """out[r, :] += sums[r]."""
        builder = self.builder
        for r, row in enumerate(sums):
            target = builder.gep(out, [builder.mul(stride, _INT(r))])
            for v, value in enumerate(row):
                self.store(builder.fadd(self.load(target, v), value), target, v)

    def store_sums(
        self, sums: list[list[Any]], init: Any, init_stride: Any, out: Any, out_stride: Any
    ) -> None:
        """out[r, :] = init[r, :] + sums[r]."""
        builder = self.builder
        for r, row in enumerate(sums):
            source = builder.gep(init, [builder.mul(init_stride, _INT(r))])
            target = builder.gep(out, [builder.mul(out_stride, _INT(r))])
            totals = [builder.fadd(self.load(source, v), value) for v, value in enumerate(row)]
            for v, total in enumerate(totals):
                self.store(total, target, v)

    def from_lane(self, first: Any) -> Any:
        """Which lanes of a vector are not before the one with this index."""
        index = ir.IntType(32)
        lanes = ir.Constant(ir.VectorType(index, self.lanes), list(range(self.lanes)))
        undefined = ir.Constant(lanes.type, ir.Undefined)
        one = self.builder.insert_element(undefined, self.builder.trunc(first, index), index(0))
        full = self.builder.shuffle_vector(one, undefined, _mask([0] * self.lanes))
        return self.builder.icmp_unsigned(">=", lanes, full)

    def lanes_between(self, first: Any, end: Any) -> Any:
        """The lanes in [first, end), none if there are none: bits, or signs of integers.

        The processors that compute with masks of bits have them in registers; for the others a
        vector of booleans would be built anew for each use.
        """
        builder = self.builder
        if self.has_bits:
            kind = ir.IntType(32)
            low, high = (builder.shl(kind(1), builder.trunc(lane, kind)) for lane in (first, end))
            some = builder.icmp_signed("<", first, end)
            return builder.select(some, builder.sub(high, low), kind(0))
        kind = ir.IntType(8 * self.itemsize)
        order = ir.Constant(ir.VectorType(kind, self.lanes), list(range(self.lanes)))
        if self.itemsize < 8:
            first, end = builder.trunc(first, kind), builder.trunc(end, kind)
        first, end = self.splat(first), self.splat(end)
        behind = builder.icmp_signed(">=", order, first)
        inside = builder.and_(behind, builder.icmp_signed("<", order, end))
        return builder.sext(inside, order.type)

    def no_lanes(self) -> Any:
        """The same of none."""
        if self.has_bits:
            return ir.IntType(32)(0)
        return ir.Constant(
            ir.VectorType(ir.IntType(8 * self.itemsize), self.lanes), [0] * self.lanes
        )

    def mask(self, lanes: Any) -> Any:
        """The same as LLVM's operations on some lanes take it."""
        builder = self.builder
        if self.has_bits:
            word = builder.trunc(lanes, ir.IntType(self.lanes))
            return builder.bitcast(word, ir.VectorType(ir.IntType(1), self.lanes))
        return builder.icmp_signed("<", lanes, self.no_lanes())

    def prefetch(self, pointer: Any, write: bool) -> None:
        """Bring a line of the cache here, to be written or read."""
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]),
            "llvm.prefetch.p0i8",
        )  # fmt: skip
        arguments = [self.builder.bitcast(pointer, byte), flag(int(write)), flag(3), flag(1)]
        self.builder.call(function, arguments)

    def between(self, first: Any, limit: Any) -> Any:
        """Whether first + lane is in [0, limit), for each lane."""
        kind = ir.VectorType(_INT, self.lanes)

        def full(value: Any) -> Any:
            undefined = ir.Constant(kind, ir.Undefined)
            one = self.builder.insert_element(undefined, value, ir.IntType(32)(0))
            return self.builder.shuffle_vector(one, undefined, _mask([0] * self.lanes))

        places = self.builder.add(full(first), ir.Constant(kind, list(range(self.lanes))))
        return self.builder.and_(
            self.builder.icmp_signed(">=", places, ir.Constant(kind, [0] * self.lanes)),
            self.builder.icmp_signed("<", places, full(limit)),
        )

    def transposed(self, rows: list[Any]) -> list[Any]:
        """The transpose of a square of vectors: log2(lanes) rounds of exchanges at a distance."""
        half = 1
        while half < self.lanes:
            low = [i + (self.lanes - half if i & half else 0) for i in range(self.lanes)]
            high = [i + (self.lanes if i & half else half) for i in range(self.lanes)]
            rows = list(rows)
            for r in range(self.lanes):
                if not r & half:
                    first, second = rows[r], rows[r + half]
                    rows[r] = self.builder.shuffle_vector(first, second, _mask(low))
                    rows[r + half] = self.builder.shuffle_vector(first, second, _mask(high))
            half *= 2
        return rows

    def _vector(self, pointer: Any, index: int) -> Any:
        element = _element(self.builder, pointer, index * self.lanes)
        return self.builder.bitcast(element, self.vector.as_pointer())


def _mask(indices: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


def _element(builder: Any, pointer: Any, index: int) -> Any:
    return builder.gep(pointer, [_INT(index)])


def pointers(context: Any, builder: Any, signature: Any) -> Callable[[int, Any], Any]:
    """From an argument's position and value to the pointer to its elements."""

    def pointer(position: int, value: Any) -> Any:
        return context.make_array(signature.args[position])(context, builder, value).data

    return pointer


def switch(
    builder: Any, value: Any, cases: Iterable[int], emit: Callable[[int], None],
    otherwise: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Emit code for each of some values, of which one is chosen at run time."""
    end = builder.append_basic_block("switch.end")
    default = builder.append_basic_block("switch.other") if otherwise else end
    chosen = builder.switch(value, default)
    for case in cases:
        block = builder.append_basic_block(f"switch.{case}")
        chosen.add_case(value.type(case), block)
        builder.position_at_end(block)
        emit(case)
        builder.branch(end)
    if otherwise:
        builder.position_at_end(default)
        otherwise()
        builder.branch(end)
    builder.position_at_end(end)


def repeat(
    builder: Any, turns: Any, carried: list[Any], body: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """Emit a loop that carries values from turn to turn; what they are in the end."""
    before = builder.block
    loop = builder.append_basic_block("repeat.turn")
    after = builder.append_basic_block("repeat.end")
    builder.cbranch(builder.icmp_signed(">", turns, _INT(0)), loop, after)
    builder.position_at_end(loop)
    left = builder.phi(_INT)
    values = [builder.phi(value.type) for value in carried]
    following = body(list(values))
    fewer = builder.sub(left, _INT(1))
    left.add_incoming(turns, before)
    left.add_incoming(fewer, builder.block)
    builder.cbranch(builder.icmp_signed(">", fewer, _INT(0)), loop, after)
    end = builder.block
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in carried]
    for value, result, given, new in zip(values, results, carried, following, strict=True):
        for phi in (value, result):
            phi.add_incoming(given, before)
            phi.add_incoming(new, end)
    return results


@intrinsic
def _lanes(typing_context, array):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _INT(VECTOR_BYTES // (signature.args[0].dtype.bitwidth // 8))

    return types.intp(array), generate


@intrinsic
def _copy_line(typing_context, src, src_start, dst, dst_start, count):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, src_start, dst, dst_start, count = arguments
        pointer = pointers(context, builder, signature)
        src = builder.gep(pointer(0, src), [src_start])
        dst = builder.gep(pointer(2, dst), [dst_start])
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)

        def vector(i: Any) -> None:
            emitter.store(emitter.load(builder.gep(src, [i]), 0), builder.gep(dst, [i]), 0)

        def element(i: Any) -> None:
            value = builder.load(builder.gep(src, [i]), align=emitter.itemsize)
            builder.store(value, builder.gep(dst, [i]), align=emitter.itemsize)

        def short() -> None:
            lanes = emitter.mask(emitter.lanes_between(_INT(0), count))
            emitter.store_some(emitter.load_some(src, lanes), dst, lanes)

        cover(builder, emitter.lanes, count, vector, element, short if MASKS else None)
        return context.get_dummy_value()

    return types.void(src, types.intp, dst, types.intp, types.intp), generate


@intrinsic
def _fill_line(typing_context, dst, dst_start, count, value):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dst, dst_start, count, value = arguments
        pointer = pointers(context, builder, signature)
        dst = builder.gep(pointer(0, dst), [dst_start])
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
        value = emitter.opaque(value)
        full = emitter.splat(value)

        def vector(i: Any) -> None:
            emitter.store(full, builder.gep(dst, [i]), 0)

        def element(i: Any) -> None:
            builder.store(value, builder.gep(dst, [i]), align=emitter.itemsize)

        def short() -> None:
            emitter.store_some(full, dst, emitter.mask(emitter.lanes_between(_INT(0), count)))

        cover(builder, emitter.lanes, count, vector, element, short if MASKS else None)
        return context.get_dummy_value()

    return types.void(dst, types.intp, types.intp, dst.dtype), generate


@intrinsic
def _add_rows(context, src, src_start, rows, dst, dst_start):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, src_start, rows, dst, dst_start = arguments
        pointer = pointers(context, builder, signature)
        dst = builder.gep(pointer(3, dst), [dst_start])
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)

        def turn(at_once: int) -> Callable[[list[Any]], list[Any]]:
            def body(carried: list[Any]) -> list[Any]:
                row, *sums = carried
                for i in range(2 * at_once):
                    sums[i] = builder.fadd(sums[i], emitter.load(row, i))
                return [builder.gep(row, [_INT(2 * at_once * emitter.lanes)]), *sums]

            return body

        start = builder.gep(pointer(0, src), [src_start])
        carried = [start, *[emitter.zero] * (2 * _ADDED_AT_ONCE)]
        whole = builder.sdiv(rows, _INT(_ADDED_AT_ONCE))
        carried = repeat(builder, whole, carried, turn(_ADDED_AT_ONCE))
        rest = builder.srem(rows, _INT(_ADDED_AT_ONCE))
        _, *sums = repeat(builder, rest, carried, turn(1))
        for v in range(2):
            total = emitter.load(dst, v)
            for value in sums[v::2]:
                total = builder.fadd(total, value)
            emitter.store(total, dst, v)
        return context.get_dummy_value()

    return types.void(src, types.intp, types.intp, dst, types.intp), generate


@intrinsic
def _prefetch(typing_context, array, index):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = pointers(context, builder, signature)(0, arguments[0])
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
        emitter.prefetch(builder.gep(data, [arguments[1]]), False)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def _clear_vector(typing_context, dst, dst_start):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dst = builder.gep(pointers(context, builder, signature)(0, arguments[0]), [arguments[1]])
        emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
        emitter.store(emitter.opaque(emitter.zero), dst, 0)
        return context.get_dummy_value()

    return types.void(dst, types.intp), generate


def _make_copy_vectors(count: int) -> Any:
    @intrinsic
    def copy_vectors(typing_context, src, src_start, dst, dst_start):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            src, src_start, dst, dst_start = arguments
            pointer = pointers(context, builder, signature)
            src = builder.gep(pointer(0, src), [src_start])
            dst = builder.gep(pointer(2, dst), [dst_start])
            emitter = Emitter(builder, signature.args[0].dtype, VECTOR_BYTES, False)
            for i in range(count):
                emitter.store(emitter.load(src, i), dst, i)
            return context.get_dummy_value()

        return types.void(src, types.intp, dst, types.intp), generate

    return copy_vectors


def _make_copy_bytes(size: int) -> Any:
    vector = ir.VectorType(ir.IntType(8), size)

    @intrinsic
    def copy_bytes(typing_context, src, src_start, dst, dst_start):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            src, src_start, dst, dst_start = arguments
            pointer = pointers(context, builder, signature)
            itemsize = signature.args[0].dtype.bitwidth // 8
            source, target = (
                builder.bitcast(builder.gep(array, [start]), vector.as_pointer())
                for array, start in ((pointer(0, src), src_start), (pointer(2, dst), dst_start))
            )
            builder.store(builder.load(source, align=itemsize), target, align=itemsize)
            return context.get_dummy_value()

        return types.void(src, types.intp, dst, types.intp), generate

    return copy_bytes


def cover(
    builder: Any, side: int, count: Any, vector: Callable[[Any], None],
    element: Callable[[Any], None], masked: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Emit a loop over a line by vectors, or, if it is shorter than one, by elements.

    Or by some lanes of a vector, where the processor has masks. The last vector overlaps the one
    before: left to the compiler, what does not fill four vectors is handled element by element.
    """
    with builder.if_else(builder.icmp_signed("<", count, _INT(side))) as (short, long):
        with short:
            if masked:
                masked()
            else:
                with cgutils.for_range(builder, count, intp=_INT) as loop:
                    element(loop.index)
        with long:
            last = builder.sub(count, _INT(side))
            with cgutils.for_range_slice(builder, _INT(0), last, _INT(side), _INT) as (i, _):
                vector(i)
            vector(last)


def lanes_of(array: Array | np.dtype[Any]) -> int:
    """Elements of a vector, for an array or a dtype; `lanes` is a constant in compiled code."""
    return VECTOR_BYTES // array.itemsize


def plain_copy_line(src: Array, src_start: int, dst: Array, dst_start: int, count: int) -> None:
    """dst = src."""
    dst[dst_start : dst_start + count] = src[src_start : src_start + count]


def plain_fill_line(dst: Array, dst_start: int, count: int, value: float) -> None:
    """dst = value."""
    dst[dst_start : dst_start + count] = value


def plain_clear_vector(dst: Array, dst_start: int) -> None:
    """dst = 0, one vector."""
    plain_fill_line(dst, dst_start, lanes_of(dst), 0)


def plain_copy_vector(src: Array, src_start: int, dst: Array, dst_start: int) -> None:
    """dst = src, one vector."""
    plain_copy_line(src, src_start, dst, dst_start, lanes_of(src))


def plain_copy_pair(src: Array, src_start: int, dst: Array, dst_start: int) -> None:
    """dst = src, two vectors: a row of a tile."""
    plain_copy_line(src, src_start, dst, dst_start, 2 * lanes_of(src))


def plain_add_rows(src: Array, src_start: int, rows: int, dst: Array, dst_start: int) -> None:
    """dst += the sum of rows of src, each of two vectors, which follow each other."""
    width = 2 * lanes_of(src)
    lines = src[src_start : src_start + rows * width].reshape(rows, width)
    dst[dst_start : dst_start + width] += lines.sum(0)


def plain_prefetch(array: Array, index: int) -> None:
    """Ask for the element at an index, which may lie beyond the end, to be in the cache soon."""


def plain_copy_16_bytes(src: Array, src_start: int, dst: Array, dst_start: int) -> None:
    """dst = src, 16 bytes."""
    plain_copy_line(src, src_start, dst, dst_start, 16 // src.itemsize)


def plain_copy_32_bytes(src: Array, src_start: int, dst: Array, dst_start: int) -> None:
    """dst = src, 32 bytes."""
    plain_copy_line(src, src_start, dst, dst_start, 32 // src.itemsize)


if JIT:
    prefetch, add_rows = _prefetch, _add_rows
    lanes, copy_line, fill_line = _lanes, _copy_line, _fill_line
    clear_vector, copy_vector, copy_pair = (
        _clear_vector, _make_copy_vectors(1), _make_copy_vectors(2),
    )  # fmt: skip
    copy_16_bytes, copy_32_bytes = _make_copy_bytes(16), _make_copy_bytes(32)
else:
    prefetch, add_rows = plain_prefetch, plain_add_rows
    lanes, copy_vector, copy_pair = lanes_of, plain_copy_vector, plain_copy_pair
    clear_vector = plain_clear_vector
    copy_16_bytes, copy_32_bytes = plain_copy_16_bytes, plain_copy_32_bytes
    copy_line, fill_line = plain_copy_line, plain_fill_line
