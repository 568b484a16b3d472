"""What this process may use of the machine: processors, BLAS threads, and what fork left."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any

from fastscratch.errors import ArgumentError

forked = False
"""Whether this process is a child of ``fork``, where threads of the parent's pools are gone."""


def default_num_threads(configured: int | None = None) -> int:
    """``FASTSCRATCH_NUM_THREADS``, ``OMP_NUM_THREADS``, what is configured, or the processors."""
    for variable in ("FASTSCRATCH_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").strip()
        if not text:
            continue
        first = text.partition(",")[0]  # OpenMP allows a list, one number a nesting level
        if first.isdecimal() and int(first) > 0:
            return int(first)
        if variable == "FASTSCRATCH_NUM_THREADS":
            raise ArgumentError(f"{variable} must be a positive int, got {text!r}")
    return configured or usable_processors()


def usable_processors() -> int:
    """Processors that this process may use: its affinity, within its container's limit.

    >>> usable_processors() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    limit = _container_limit()
    return max(1, min(count, limit) if limit else count)


def _container_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The processor time that the container grants, in whole processors, rounded up."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]  # cgroup 2
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()  # cgroup 1
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return -(-int(quota) // int(period)) or None


@cache
def processor_name() -> str:
    """The processor's name, as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _blas() -> Any:
    # Kept, because finding the libraries again costs thirty times what setting the limit does.
    import threadpoolctl

    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def blas_info() -> list[dict[str, Any]]:
    """What each loaded BLAS says of itself."""
    return list(_blas().info())


@contextmanager
def blas_threads(num_threads: int) -> Iterator[None]:
    """Let BLAS use so many threads while the block runs."""
    with _blas().limit(limits=num_threads):
        yield


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Hold BLAS at one thread while the block runs.

    The threads of BLAS and those of the compiled kernels, taking turns in one process, wait for
    each other spinning: on two cores both fall to a twentieth of their speed. A loop that runs on
    compiled kernels therefore keeps BLAS's own pool still, for the whole of the loop.
    """
    _blas.cache_clear()  # a library that was loaded in the meantime has a pool of its own
    with blas_threads(1):
        yield


def on_one_blas_thread(function: Callable[..., None]) -> Callable[..., None]:
    """The function, during whose calls BLAS computes on one thread."""

    @wraps(function)
    def held(*arguments: Any) -> None:
        with blas_threads(1):
            function(*arguments)

    return held


def _after_fork_in_child() -> None:
    global forked
    forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
