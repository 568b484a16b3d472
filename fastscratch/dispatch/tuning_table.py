"""What was measured on this machine: in memory, and in one file a machine in the user's cache.

The file is JSON::

    {"format": "fastscratch tuning", "version": 2,
     "machine": {"processor": ..., "level": ..., "fastscratch": ..., ...},
     "times": {"conv2d_forward:f32:n64c64h32w32:oc64k3s1p1":
               {"2": {"cython:winograd2": 0.0012, "cython:direct": 0.0017}}}}

that is, seconds of a call by problem, threads and implementation. A batch stands for all between
its power of two and the next: ``n64`` for 64 to 127 images. ``machine`` holds everything else that
could change a time; where it differs, the times are not used.
"""

# hashlib and json are imported where a file is at hand: 9 of the 130 ms that this package takes.
import contextlib
import math
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fastscratch.dispatch import machine
from fastscratch.errors import DataError, warn_once
from fastscratch.files import cache_folder, written_whole
from fastscratch.kernels.catalogue import BACKENDS, OPS
from fastscratch.kernels.problem import ElementsProblem, Problem

FORMAT, VERSION = "fastscratch tuning", 2

Times = dict[str, float]
"""Seconds of a call, by implementation: its key, which holds a package's version."""
Table = dict[str, dict[str, Times]]
"""Times by problem and number of threads (as text, as JSON has it)."""


def key_of(problem: Problem) -> str:
    """The written form of a problem, its batch rounded down to a power of two.

    >>> from fastscratch.kernels.problem import parse_problem
    >>> key_of(parse_problem("dense_forward:f32:n100i784:o50"))
    'dense_forward:f32:n64i784:o50'
    """
    if isinstance(problem, ElementsProblem):
        return str(replace(problem, shape=(_power_of_two(problem.size),)))
    return str(replace(problem, N=_power_of_two(problem.N)))


def _power_of_two(number: int) -> int:
    return 1 << (number.bit_length() - 1) if number > 0 else 0


class TuningTable:
    """Times that were measured here, and the file that keeps them.

    A file that cannot be read or written costs one warning; the times are kept in memory then.

    Parameters
    ----------
    path : Path, optional
        The file; by default the machine's own in the user's cache.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.times: Table = {}
        self._given = path
        self._lock = threading.Lock()
        # Describing the machine takes longer than a small network's first call: not for nothing.
        if path is None and not any(_folder().glob("*.json")):
            return
        if self.path.exists():
            try:
                self.times = read_table(self.path)
            except DataError as error:
                warn_once(
                    "unreadable tuning table",
                    f"{error}; what it held is measured anew where tuning is on",
                )

    @cached_property
    def path(self) -> Path:
        """The file."""
        return self._given or own_path()

    def find(self, problem: Problem, num_threads: int) -> Times:
        """Times of a problem's implementations; empty if nobody has measured them."""
        return self.times.get(key_of(problem), {}).get(str(num_threads), {})

    def add(self, problem: Problem, num_threads: int, times: Mapping[str, float]) -> None:
        """Note times in memory, and in the file those of implementations that it may keep."""
        with self._lock:
            merge(self.times, {key_of(problem): {str(num_threads): dict(times)}})
        self._save()

    def update(self, times: Table) -> None:
        """Take over the times of another table."""
        with self._lock:
            merge(self.times, times)
        self._save()

    def forget(self, name: str) -> None:
        """Drop the times of an implementation that is not what it was."""
        for by_threads in self.times.values():
            for times in by_threads.values():
                times.pop(name, None)

    def clear(self) -> None:
        """Forget everything, the file included."""
        self.times.clear()
        self.path.unlink(missing_ok=True)

    def lasting(self) -> Table:
        """The times that another process can use: of built-in kernels, and of installed packages'.

        A kernel that was registered by hand may be another one under the same name tomorrow.
        """
        packaged = {
            entry.key for spec in OPS.values() for entry in spec.implementations if entry.package
        }
        return {
            problem: {
                threads: {
                    name: seconds
                    for name, seconds in times.items()
                    if name.partition(":")[0] in BACKENDS or name in packaged
                }
                for threads, times in by_threads.items()
            }
            for problem, by_threads in self.times.items()
        }

    def _save(self) -> None:
        """Write the file, with what other processes have added to it in the meantime."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_suffix(".lock")):
                found: Table = {}
                if self.path.exists():
                    with contextlib.suppress(DataError):
                        found = read_table(self.path)
                with self._lock:
                    merge(found, self.lasting())
                write_table(self.path, found)
        except OSError as error:
            warn_once(
                "unwritable tuning table",
                f"{self.path} cannot be written: {error.strerror or error}; what is measured is "
                f"forgotten when this process ends. FASTSCRATCH_CACHE names another folder",
            )


_own: TuningTable | None = None
_reading = threading.Lock()


def forget_times(name: str) -> None:
    """Drop the times of a kernel from outside that is not what it was."""
    if _own is not None:
        _own.forget(name)


def own_table() -> TuningTable:
    """The times of this machine and installation; read when they are first asked for."""
    global _own
    with _reading:
        if _own is None:
            _own = TuningTable()
        return _own


def merge(table: Table, other: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Add another table's times; where both have one, the other's counts."""
    for problem, by_threads in other.items():
        for threads, times in by_threads.items():
            table.setdefault(problem, {}).setdefault(threads, {}).update(times)


def describe_machine() -> dict[str, str]:
    """Everything, apart from the problem and the threads, that the times depend on."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    from fastscratch.kernels import cython_ext, numba_jit, numpy_ref

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    return {
        "processor": machine.processor_name(),
        "level": str(cython_ext.level),
        "fastscratch": installed("fastscratch"),
        "cython kernels": str(cython_ext.build_info.get("sources", "")),
        "compiler": str(cython_ext.build_info.get("compiler", "")),
        "numba": installed("numba"),
        "numba kernels": _digest(numba_jit.__file__),
        "numpy": np.__version__,
        "numpy kernels": _digest(numpy_ref.__file__),
    }


def _digest(init_file: str | None) -> str:
    import hashlib

    state = hashlib.sha256()
    for path in sorted(Path(init_file or "").parent.glob("*.py")):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()[:16]


def own_path() -> Path:
    """The file of this machine and installation, in the user's cache."""
    import hashlib
    import json

    text = json.dumps(describe_machine(), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return _folder() / f"{digest}.json"


def _folder() -> Path:
    return cache_folder() / "tuning"


def write_table(path: str | os.PathLike[str], times: Table) -> None:
    """Write times into a file, whole or not at all."""
    import json

    content = {
        "format": FORMAT, "version": VERSION, "machine": describe_machine(),
        "times": {problem: times[problem] for problem in sorted(times)},
    }  # fmt: skip
    with written_whole(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read times that were measured on this machine, with these versions.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged or of another kind, or was measured elsewhere.
    """
    import json

    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no table of times: {error}") from error
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or content.get("version") != VERSION
    ):
        raise DataError(f"{path} is no table of times of this version")
    here, there = describe_machine(), content.get("machine")
    if here != there:
        found = there if isinstance(there, dict) else {}
        others = [
            f"{name} {found.get(name)!r}, not {text!r}"
            for name, text in here.items() if found.get(name) != text
        ]  # fmt: skip
        raise DataError(f"{path} was measured elsewhere: {'; '.join(others) or there}")
    return _checked(path, content.get("times"))


def _checked(path: str | os.PathLike[str], times: Any) -> Table:
    """The times, seen to be what a table holds."""
    table: Table = {}
    try:
        for problem, by_threads in times.items():
            for threads, by_name in by_threads.items():
                if not threads.isdecimal():
                    raise ValueError(f"{threads!r} is no number of threads")
                for name, seconds in by_name.items():
                    if not (isinstance(seconds, float) and 0 < seconds < math.inf):
                        raise ValueError(f"{seconds!r} is no time")
                    merge(table, {problem: {threads: {name: seconds}}})
    except (AttributeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return table


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out while the block runs, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows: the last writer wins
        yield
        return
    with open(path, "wb") as file:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
