"""How long each implementation of a problem takes on this machine."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

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


class Candidate(NamedTuple):
    """A kernel to be timed, under its name, with the threads that it would get."""

    name: str
    kernel: Kernel
    num_threads: int


def operands(problem: Problem) -> list[Array]:
    """Arrays that a kernel can be timed on, in the order of its signature.

    Positive numbers around 1: none is too small for full speed, and they serve as variances too.
    Whole numbers (labels, offsets of a maximum, keys) are 0, which is valid for all of them.
    """
    rng = np.random.default_rng(0)
    arrays = []
    for array in find_op(problem.op).arrays(problem).values():
        if array.dtype.kind == "f":
            values = rng.random(array.shape, dtype=array.dtype.type)
            arrays.append(np.add(values, 0.5, out=values))
        else:
            arrays.append(np.zeros(array.shape, array.dtype))
    return arrays


def measure(
    problem: Problem, candidates: Sequence[Candidate], seconds: float = _SECONDS
) -> dict[str, float]:
    """Seconds of a call of each candidate: the median of samples that take turns.

    Machines are slow for a while and fast again; taking turns spreads that over all candidates. Of
    each turn the first call is left out: the threads of the one before may still be waiting there.
    """
    spec = find_op(problem.op)
    arrays = operands(problem)
    arguments = spec.arguments(problem)
    with blas_threads(max(candidate.num_threads for candidate in candidates)):
        times = {}
        for name, kernel, num_threads in candidates:
            call: tuple[Any, ...] = (*arrays, *arguments, num_threads)
            kernel(*call)  # compiles, pages its memory in
            first = _sample(kernel, call, 1)
            # One call may meet a busy moment; short ones cost nothing to repeat.
            repeats = _FIRST_CALLS if first < _SAMPLE_SECONDS else 0
            times[name] = min([first, *(_sample(kernel, call, 1) for _ in range(repeats))])
        limit = _HOPELESS * min(times.values())
        close = [candidate for candidate in candidates if times[candidate.name] <= limit]
        samples: dict[str, list[float]] = {candidate.name: [] for candidate in close}
        end = _clock() + seconds
        for _ in range(_MOST_ROUNDS):
            for name, kernel, num_threads in close:
                calls = max(1, int(_SAMPLE_SECONDS / max(times[name], 1e-7)))
                call = (*arrays, *arguments, num_threads)
                kernel(*call)
                samples[name].append(_sample(kernel, call, calls))
            if _clock() > end:
                break
        return times | {name: float(np.median(found)) for name, found in samples.items()}


def _sample(kernel: Kernel, call: tuple[Any, ...], calls: int) -> float:
    begun = _clock()
    for _ in range(calls):
        kernel(*call)
    return (_clock() - begun) / calls
