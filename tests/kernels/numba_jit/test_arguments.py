"""The block of words that carries a driver's arguments, and the pieces of scratch memory in it."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from fastscratch.kernels.numba_jit import arguments
from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit.arguments import take
from fastscratch.kernels.numba_jit.compile import Constants, In, Offsets, Out, Tasks, driver
from fastscratch.kernels.numba_jit.scratch import KEPT_BYTES, Scratch


class Pair(NamedTuple):
    first: int
    second: int


@driver
def note(
    worker: int, workers: int, x: In, out: Out, table: Offsets, pair: Pair, flag: int, piece: Out
) -> None:
    """What arrived, in elements of ``out``; and a mark at the end of the piece of scratch."""
    out[0] = x.size
    out[1] = x[x.size - 1]
    out[2] = table[1]
    out[3] = pair.first
    out[4] = pair.second
    out[5] = flag
    out[6] = piece.size
    piece[piece.size - 1] = 5


@driver
def mark(worker: int, workers: int, queue: Tasks, out: Out, tasks: int) -> None:
    """One more in each place."""
    task = take(queue)
    while task < tasks:
        out[task] += 1
        task = take(queue)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_taken_once(workers):
    compiling.usable_workers(workers, 10**9)
    for tasks in (0, 1, 1000):
        out = np.zeros(1001, np.float32)
        mark(workers, out, tasks)
        assert out[:tasks].all()
        assert out.sum() == tasks


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_arrives(dtype):
    x = np.arange(12, dtype=dtype).reshape(3, 4)
    x.flags.writeable = False
    for constants in [
        (np.array([7, -8]), Pair(-(2**40), 9)),
        (Constants(np.array([7, -8]), Pair(-(2**40), 9)),),
    ]:
        out = np.zeros(7, dtype)
        with Scratch(np.dtype(dtype), 33) as (piece, _):
            note(1, x, out, *constants, np.int64(3), piece)
        assert out.tolist() == [12, 11, -8, -(2**40), 9, 3, 33]


@pytest.mark.skipif(not compiling.JIT, reason="plain Python takes any argument")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((2**70,), OverflowError),
        (("a",), TypeError),
        ((1,) * (arguments.MOST_WORDS + 1), ValueError),
    ],
)
def test_what_cannot_be_passed_is_an_error(words, error):
    x = np.zeros(3)
    with pytest.raises(error):
        note(1, x, x, words)
    with pytest.raises(ValueError, match="too many"):
        note(1, x, x, Constants(*(1,) * (arguments.MOST_WORDS + 1)))


@pytest.mark.skipif(not compiling.JIT, reason="plain Python gets fresh arrays")
def test_scratch_is_aligned_kept_and_never_shared():
    dtype = np.dtype(np.float32)
    with Scratch(dtype, 5, 100, offsets=3) as first, Scratch(dtype, 5, 100, offsets=3) as second:
        spans = sorted((address, address + 4 * size) for address, size in first[:2] + second[:2])
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert all(address % 64 == 0 for address, _ in first + second)
        assert [size for _, size in first] == [5, 100, 3]
    with Scratch(dtype, 5, 100, offsets=3) as again:
        assert again == first
    with Scratch(dtype, KEPT_BYTES // 4 + 16) as large:
        assert large != first
    with Scratch(dtype, 10) as small:
        assert small[0][0] != large[0][0]
