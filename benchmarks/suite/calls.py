"""One way to call a kernel, and one to time a call, for everything that measures here.

Only what has not changed since the first commit is used of the library: the catalogue, the written
form of problems, and the contract of kernels.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]

PAGE = 4096
PLACE = 11 * 64
"""Bytes, whole cache lines, between the places in a page of a call's arrays."""

NUMBERS = ("rates", "ratio", "eps")
"""Arrays of numbers that are not part of a problem: a half is a valid one for all of them."""


def find_implementation(problem: Any, name: str) -> Any:
    """The catalogue's entry of that name, or the one that a backend prefers for a problem.

    Raises NotImplementedError, which asv shows as "n/a", where there is none.
    """
    from fastscratch.kernels.catalogue import BACKENDS, OPS, backend_reason

    if problem.op not in OPS:
        raise NotImplementedError(f"there is no {problem.op} yet")
    if outside := name.partition(":")[0] not in BACKENDS:
        register_installed()
    for entry in OPS[problem.op].implementations:
        named = entry.name == name and (outside or ":" in name)
        if not named and entry.backend != name:
            continue
        if reason := backend_reason(entry.backend):
            raise NotImplementedError(f"{entry.backend} is not available: {reason}")
        if entry.supports is not None and not entry.supports(problem):
            continue
        algorithm = getattr(entry, "algorithm", None)
        if named or algorithm is None:
            return entry
        if getattr(algorithm, "accuracy", "default") == "default" and algorithm.prefers(problem):
            return entry
    raise NotImplementedError(f"no {name} for {problem}")


def register_installed() -> None:
    """The kernels of installed packages, if this commit knows such."""
    try:
        from fastscratch.dispatch.outside import register_installed
    except ImportError:
        return
    register_installed()


def parse(text: str) -> Any:
    """The problem of a written form; what this commit cannot read is "n/a"."""
    from fastscratch.errors import FastscratchError
    from fastscratch.kernels.problem import parse_problem

    try:
        return parse_problem(text)
    except FastscratchError as error:
        raise NotImplementedError(str(error)) from None


def make_arrays(problem: Any) -> dict[str, Any]:
    """Arrays for a kernel, in the order of its signature.

    Numbers around 1, as none may be too small for full speed, and 0 for whole numbers (labels,
    offsets of a maximum, keys), which is valid for all of them.
    """
    import numpy as np

    from fastscratch.kernels.catalogue import OPS

    rng = np.random.default_rng(0)
    arrays = {}
    for name, array in OPS[problem.op].arrays(problem).items():
        if name in NUMBERS:
            arrays[name] = np.full(array.shape, 0.5, array.dtype)
        elif array.dtype.kind == "f":
            arrays[name] = (rng.random(array.shape) + 0.5).astype(array.dtype)
        else:
            arrays[name] = np.zeros(array.shape, array.dtype)
    return {name: place(array, i) for i, (name, array) in enumerate(arrays.items())}


def place(array: Any, number: int) -> Any:
    """A copy that lies in its page where the array of that number of a call always lies.

    A load waits for an earlier store that has the same place in another page: where memory comes as
    it comes, small kernels are by chance slower or faster for as long as a process lives.
    """
    import numpy as np

    memory = np.empty(array.nbytes + 2 * PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE + number * PLACE % PAGE
    copy = np.ndarray(array.shape, array.dtype, memory, start)
    copy[...] = array
    return copy


def kernel_call(text: str, implementation: str, num_threads: int) -> Call:
    """A call of a kernel on arrays that are there: packing and transforms are inside, checks not.

    BLAS, which the NumPy reference runs on, gets as many threads from here on.
    """
    import threadpoolctl

    from fastscratch.kernels.catalogue import OPS

    problem = parse(text)
    entry = find_implementation(problem, implementation)
    kernel, spec = entry.load(), OPS[problem.op]
    arguments = (*make_arrays(problem).values(), *spec.arguments(problem), num_threads)
    threadpoolctl.threadpool_limits(num_threads, user_api="blas")

    def call() -> None:
        kernel(*arguments)

    call()  # compiles, and pages its memory in
    return call


def seconds_of_call(call: Call, count: int) -> float:
    """Seconds of a call, the mean of so many."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def calls_within(call: Call, seconds: float, most: int = 10000) -> int:
    """How many calls take about so long, at least one."""
    first = seconds_of_call(call, 1)
    if first < 1e-3:
        first = min(first, seconds_of_call(call, 5))
    return max(1, min(most, int(seconds / max(first, 1e-7))))


class TimedCalls(ABC):
    """Base of benchmarks that time a call: `prepare` returns it, outside of what is timed.

    Abstract, as asv takes every other class with a method ``time_...`` for a benchmark.

    asv runs a set-up before every single call, however short. So a benchmark's body makes as many
    calls as take a moment, on a clock that is divided by their number, and is set up once.
    """

    sample_seconds = 0.004
    warmup_time = 0.03
    repeat = (3, 15, 0.3)
    rounds = 1
    timeout = 120
    version = "1"

    @abstractmethod
    def prepare(self, *params: Any) -> Call:
        """What is to be timed."""

    def setup(self, *params: Any) -> None:
        if hasattr(self, "call"):
            return
        self.call = self.prepare(*params)
        self.calls = range(calls_within(self.call, self.sample_seconds))
        count = len(self.calls)
        self.timer = lambda: time.perf_counter() / count

    def time_call(self, *params: Any) -> None:
        call = self.call
        for _ in self.calls:
            call()
