"""How long each implementation of a problem takes on this machine."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from fastscratch.dispatch.machine import blas_threads
from fastscratch.kernels.catalogue import Kernel, find_op
from fastscratch.kernels.problem import Problem
from fastscratch.types import Array

_clock = time.perf_counter
_SECONDS = 0.1
"""What measuring a problem may take, beside the first two calls of each candidate."""
_MOST_ROUNDS = 15
_HOPELESS = 3.0
"""A candidate so many times as slow as the best is not measured more closely."""
_FIRST_CALLS = 5
_SAMPLE_SECONDS = 1e-3
"""Calls are repeated until a sample takes so long: the clock and a late thread matter less then."""

_SETTLING_SECONDS = 0.03
"""After which threads that wait for more work sleep: OpenBLAS's spin for 2^26 clock cycles."""

Call = Callable[[], object]


class Candidate(NamedTuple):
    """A kernel to be timed, under its name, with the threads that it would get."""

    name: str
    kernel: Kernel
    num_threads: int


def operands(problem: Problem) -> list[Array]:
    """Arrays that a kernel can be timed on, in the order of its signature.

    Positive numbers around 1: none is too small for full speed, and they serve as variances too.
    Whole numbers (labels, offsets of a maximum, keys) are 0, and what is not part of a problem
    (rates, a ratio, eps) is 1/2, which are valid for all of them.
    """
    rng = np.random.default_rng(0)
    arrays = []
    for name, array in find_op(problem.op).arrays(problem).items():
        if name in ("rates", "ratio", "eps"):
            arrays.append(np.full(array.shape, 0.5, array.dtype))
        elif array.dtype.kind == "f":
            values = rng.random(array.shape, dtype=array.dtype.type)
            arrays.append(np.add(values, 0.5, out=values))
        else:
            arrays.append(np.zeros(array.shape, array.dtype))
    return arrays


def measure(
    problem: Problem, candidates: Sequence[Candidate], seconds: float = _SECONDS
) -> dict[str, float]:
    """Seconds that a call of each candidate costs a program: the median of samples in turns.

    Machines are slow for a while and fast again; taking turns spreads that over all candidates. Of
    each turn the first call is left out: the threads of the one before may still be waiting there.

    The program is taken to run on the first candidate's backend elsewhere. At several threads the
    candidates of other backends, which may have a pool of threads of their own, are called in turns
    with the first candidate, and pay for what both lose.
    """
    spec = find_op(problem.op)
    arrays = operands(problem)
    arguments = spec.arguments(problem)
    calls: dict[str, Call] = {
        candidate.name: partial(candidate.kernel, *arrays, *arguments, candidate.num_threads)
        for candidate in candidates
    }
    most_threads = max(candidate.num_threads for candidate in candidates)
    main = candidates[0].name
    others = {
        name for name in calls
        if most_threads > 1 and name.partition(":")[0] != main.partition(":")[0]
    }  # fmt: skip
    with blas_threads(most_threads):
        times = {}
        for name, call in calls.items():
            call()  # compiles, pages its memory in
            first = _sample(call, 1)
            # One call may meet a busy moment; short ones cost nothing to repeat.
            repeats = _FIRST_CALLS if first < _SAMPLE_SECONDS else 0
            times[name] = min([first, *(_sample(call, 1) for _ in range(repeats))])
        limit = _HOPELESS * min(times.values())
        close = [name for name in calls if times[name] <= limit]
        samples: dict[str, list[float]] = {name: [] for name in close}
        in_turns: dict[str, list[float]] = {name: [] for name in close if name in others}
        end = _clock() + seconds
        for _ in range(_MOST_ROUNDS):
            if in_turns:
                settled = _clock() + _SETTLING_SECONDS
                while _clock() < settled:
                    calls[main]()
                end += _SETTLING_SECONDS
            for name in sorted(close, key=others.__contains__):
                calls[name]()
                samples[name].append(_sample(calls[name], _count(times[name])))
                if name in others:
                    both = _in_turns(calls[main], calls[name])
                    both()
                    in_turns[name].append(_sample(both, _count(times[name])))
            if _clock() > end:
                break
    medians = {name: float(np.median(found)) for name, found in samples.items()}
    alone = medians.get(main, times[main])
    for name, found in in_turns.items():
        medians[name] = max(medians[name], float(np.median(found)) - alone)
    return times | medians


def _in_turns(one: Call, other: Call) -> Call:
    def both() -> None:
        one()
        other()

    return both


def _count(seconds: float) -> int:
    """How often a call that takes so long is repeated for a sample."""
    return max(1, int(_SAMPLE_SECONDS / max(seconds, 1e-7)))


def _sample(call: Call, count: int) -> float:
    begun = _clock()
    for _ in range(count):
        call()
    return (_clock() - begun) / count
