"""Which implementation runs a problem, by which rule, and with how many threads."""

import logging
import threading
from dataclasses import dataclass
from operator import itemgetter

from fastscratch.dispatch import machine
from fastscratch.dispatch.measure import Candidate, measure
from fastscratch.dispatch.outside import register_installed
from fastscratch.dispatch.settings import Settings
from fastscratch.dispatch.tuning_table import Times, own_table
from fastscratch.errors import BackendUnavailableError, warn_once
from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import (
    BACKENDS,
    Implementation,
    Kernel,
    OpSpec,
    backend_reason,
    find_op,
)
from fastscratch.kernels.problem import Problem

_log = logging.getLogger("fastscratch.dispatch")
"""At level DEBUG it tells of every decision, once for each problem."""
_tuning_log = _log.getChild("tuning")
"""At level INFO it tells of everything that is measured."""

# What a thread of the compiled kernels does in a second, roughly: a product of matrices, by the
# processor's level; and moving memory that is in a cache.
_FLOPS_PER_SECOND = {"avx512": 125e9, "avx2": 65e9, "base": 16e9}
_BYTES_PER_SECOND = 10e9
_SECONDS_PER_THREAD = {"cython": 13e-6, "numba": 5e-6}
"""Work that pays for one more thread, by backend.

Waking a thread and waiting for it takes Cython's kernels 2 to 6 us, at two threads; the operations'
break-evens lie between 10 us of such work (adam_update) and 40 us (dense_backward_weight). Numba's
kernels see for themselves what is too little.
"""

_measuring = threading.Lock()


@dataclass(frozen=True)
class Choice:
    """An implementation, and why it was chosen.

    ``times`` are those that decided, in seconds by implementation; empty if none did.
    """

    implementation: Implementation
    kernel: Kernel
    rule: str
    num_threads: int
    times: Times


def choose(problem: Problem, settings: Settings, named: str | None = None) -> Choice:
    """Choose the implementation for a problem.

    In this order: what the call names, what the block around it names for this operation or for
    all, what the layer was given, what the environment and the configuration file name, what was
    measured on this machine, and the order of the catalogue. A name with an algorithm
    (``"cython:direct"``) means just that one; the name of a backend leaves the algorithm open.

    Raises
    ------
    BackendUnavailableError
        If the one that is named is unknown, not there, or cannot serve the problem; or if something
        slower would have to run where ``fallback("error")`` forbids it.
    """
    register_installed()
    spec = find_op(problem.op)
    name, rule = _named(spec.name, settings, named)
    entries = _eligible(spec, problem, settings, name, rule)
    best = first = _first(entries, problem, name)
    if name is None and first.backend != "cython":
        _fall_back(
            settings, "cython",
            f"the compiled kernels are not available, {first.backend!r} runs instead, which is "
            f"slower: {backend_reason('cython')}",
        )  # fmt: skip
    if machine.forked and settings.num_threads > 1:
        _fall_back(
            settings, "fork",
            "this process was forked, so that kernels run on one thread here; start workers with "
            'multiprocessing.get_context("spawn") to let them use more',
        )  # fmt: skip
    at_most = 1 if machine.forked else settings.num_threads
    times: Times = {}
    if len(entries) > 1 and not settings.deterministic:
        times = _times(spec, problem, entries, first, at_most, settings.tuning)
        if first.name in times:
            best = pick(entries, times)
            rule = f"{rule}, the fastest of its algorithms" if name else "the fastest measured here"
    kernel = best.load()
    if settings.deterministic and best.backend == "numpy":
        kernel = machine.on_one_blas_thread(kernel)
    choice = Choice(
        best, kernel, rule or "the order of the catalogue",
        worthwhile_threads(spec, problem, best, at_most), times,
    )  # fmt: skip
    if settings.journal is not None:
        counts = settings.journal.choices.setdefault(spec.name, {})
        counts[best.name] = counts.get(best.name, 0) + 1
        settings.journal.decisions.append((problem, choice))
    _log.debug("%s: %s, threads %d: %s", problem, best.name, choice.num_threads, choice.rule)
    return choice


def worthwhile_threads(
    spec: OpSpec, problem: Problem, implementation: Implementation, at_most: int
) -> int:
    """How many threads a problem is worth: one where waking a second costs more than it saves."""
    if at_most == 1:
        return 1
    flops_per_second = _FLOPS_PER_SECOND[cython_ext.level or "avx2"]
    seconds = max(spec.flops(problem) / flops_per_second, spec.nbytes(problem) / _BYTES_PER_SECOND)
    grain = _SECONDS_PER_THREAD.get(implementation.backend, 5e-6)
    return max(1, min(at_most, int(seconds / grain)))


def candidates(problem: Problem) -> list[tuple[Implementation, str]]:
    """Every implementation of the problem's operation, with the reason why it cannot run it."""
    register_installed()
    found = []
    for implementation in find_op(problem.op).implementations:
        reason = ""
        try:
            implementation.load()
        except BackendUnavailableError as error:
            reason = str(error)
        if not reason and not implementation.can_serve(problem):
            reason = "does not support this problem"
        found.append((implementation, reason))
    return found


def _named(op: str, settings: Settings, named: str | None) -> tuple[str | None, str]:
    """The name that decides, and the rule by which it does; None and "" if nobody names one."""
    rules = (
        (named, "named by the call"),
        (dict(settings.per_op).get(op), "named by use_backend for this operation"),
        (settings.backend, "named by use_backend"),
        (settings.layer_backend, "given to the layer"),
        (dict(settings.environment.per_op).get(op), "named by FASTSCRATCH_BACKEND"),
        (settings.environment.backend, "named by FASTSCRATCH_BACKEND"),
        (dict(settings.file.per_op).get(op), f"named by {settings.file.source}"),
        (settings.file.backend, f"named by {settings.file.source}"),
    )
    return next(((name, rule) for name, rule in rules if name is not None), (None, ""))


def _eligible(
    spec: OpSpec, problem: Problem, settings: Settings, name: str | None, rule: str
) -> list[Implementation]:
    """The implementations that may run: the one that is named, or all that a name leaves open."""
    exact = [entry for entry in spec.implementations if name == entry.name]
    matches = exact or [entry for entry in spec.implementations if name in (None, entry.backend)]
    if not matches:
        known = ", ".join(entry.name for entry in spec.implementations)
        raise BackendUnavailableError(
            f"{spec.name}: no implementation is called {name!r} ({rule}); there are {known}. "
            f"To name one for some operations only: use_backend(conv2d_forward=…)"
        )
    found = [entry for entry in matches if entry.can_serve(problem)]
    if not exact:
        found = [entry for entry in found if entry.accuracy in ("default", settings.accuracy)]
    if not found:
        raise BackendUnavailableError(f"{name!r} ({rule}) does not support the problem {problem}")
    return found


def _first(entries: list[Implementation], problem: Problem, name: str | None) -> Implementation:
    """The first that the catalogue prefers; kernels from outside must be named or measured."""
    if name is not None:
        return next((entry for entry in entries if entry.prefers(problem)), entries[0])
    return next(
        entry for entry in entries
        if entry.backend in BACKENDS and entry.prefers(problem) and _is_there(entry)
    )  # fmt: skip


def _is_there(entry: Implementation) -> bool:
    return not backend_reason(entry.backend)


def _times(
    spec: OpSpec, problem: Problem, entries: list[Implementation], first: Implementation,
    at_most: int, tuning: bool,
) -> Times:  # fmt: skip
    """What was measured of these implementations; where tuning is on, they are measured now."""

    def known() -> Times:
        times = own_table().find(problem, at_most)
        return {entry.name: times[entry.key] for entry in entries if entry.key in times}

    if tuning and len(known()) < len(entries):
        # The first of the catalogue leads: the rest of a program runs on its backend.
        entries = [first, *(entry for entry in entries if entry != first and _is_there(entry))]
        with _measuring:  # one at a time: threads would time each other's load
            if len(known()) < len(entries):
                found = measure(problem, [
                    Candidate(
                        entry.name, entry.load(),
                        worthwhile_threads(spec, problem, entry, at_most),
                    )
                    for entry in entries
                ])  # fmt: skip
                keys = {entry.name: entry.key for entry in entries}
                own_table().add(problem, at_most, {keys[name]: found[name] for name in found})
                ranked = sorted(found.items(), key=itemgetter(1))
                texts = [f"{name} {1e3 * seconds:.3f} ms" for name, seconds in ranked]
                _tuning_log.info("%s, threads %d: %s", problem, at_most, ", ".join(texts))
    return known()


def pick(entries: list[Implementation], times: Times) -> Implementation:
    """The fastest of those that were measured and are there."""
    measured = [entry for entry in entries if entry.name in times]
    return next(
        entry for entry in sorted(measured, key=lambda entry: times[entry.name])
        if _is_there(entry)
    )  # fmt: skip


def _fall_back(settings: Settings, topic: str, text: str) -> None:
    if settings.fallback == "error":
        raise BackendUnavailableError(text)
    warn_once(topic, text)
