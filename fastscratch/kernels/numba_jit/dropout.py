"""Dropout with a mask that is a function of a key and an element's place; see the reference."""

from typing import Any

from llvmlite import ir
from numba import types

from fastscratch.kernels.numba_jit.compile import (
    JIT,
    In,
    Labels,
    Numbers,
    Out,
    driver,
    intrinsic,
    usable_workers,
)
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.types import Array

CHUNK = 8192
"""Elements of a task: a divisor of 2**32."""

_WORD = ir.IntType(32)


def dropout_forward(x: Array, key: Array, ratio: Array, y: Array, num_threads: int) -> None:
    """y = x/(1 - ratio) where an element's bits are at least ratio*2**32, else 0."""
    drop(usable_workers(num_threads, 8 * x.size), x, key, ratio, y, x.size)


def dropout_backward(dout: Array, key: Array, ratio: Array, dx: Array, num_threads: int) -> None:
    """dx = dout/(1 - ratio) where the forward pass kept an element, else 0."""
    drop(usable_workers(num_threads, 8 * dx.size), dout, key, ratio, dx, dx.size)


def _mix(builder: Any, word: Any) -> Any:
    """Three shifts and two products."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
        word = builder.mul(builder.xor(word, builder.lshr(word, _WORD(shift))), _WORD(factor))
    return builder.xor(word, builder.lshr(word, _WORD(15)))


@intrinsic
def _bits_reach(typing_context, place, first, second, threshold):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, first, second, least = (builder.trunc(value, _WORD) for value in arguments)
        word = _mix(builder, builder.xor(_mix(builder, builder.xor(place, first)), second))
        possible = builder.icmp_unsigned("<", arguments[3], arguments[3].type(2**32))
        return builder.and_(builder.icmp_unsigned(">=", word, least), possible)

    return types.boolean(types.int64, types.int64, types.int64, types.int64), generate


def plain_bits_reach(place: int, first: int, second: int, threshold: int) -> bool:
    """Whether mix(mix(place ^ first) ^ second) >= threshold, in words of 32 bits.

    In integers of 64 bits, as Numba has them, a product takes three steps of the processor and a
    vector holds half as many: dropout took 2.2 times as long.
    """

    def mix(word: int) -> int:
        for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
            word = (word ^ (word >> shift)) * factor & 0xFFFFFFFF
        return word ^ (word >> 15)

    return mix(mix((place ^ first) & 0xFFFFFFFF) ^ (second & 0xFFFFFFFF)) >= threshold


bits_reach = _bits_reach if JIT else plain_bits_reach


@driver
def drop(
    worker: int, workers: int, source: In, key: Labels, ratio: Numbers, target: Out, size: int
) -> None:
    """A task is a chunk, whose places share their high word.

    A choice, not a product: a dropped infinity is 0.
    """
    first, second = int(get(key, 0)), int(get(key, 1))
    threshold = int(get(ratio, 0) * 4294967296.0 + 0.5)
    scale = source.dtype.type(1 / (1 - get(ratio, 0)))
    zero = source.dtype.type(0)
    tasks = (size + CHUNK - 1) // CHUNK
    for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
        start = task * CHUNK
        high = second ^ (start >> 32)
        for i in range(start, min(start + CHUNK, size)):
            kept = bits_reach(i, first, high, threshold)
            put(target, i, get(source, i) * scale if kept else zero)
