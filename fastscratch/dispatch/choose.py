"""Which implementation runs a problem, by which rule, and with how many threads."""

import warnings
from dataclasses import dataclass
from typing import Any

from fastscratch.dispatch import machine
from fastscratch.dispatch.settings import Settings
from fastscratch.errors import BackendUnavailableError, FallbackWarning
from fastscratch.kernels.catalogue import (
    BACKENDS,
    Implementation,
    Kernel,
    OpSpec,
    backend_reason,
    find_op,
)
from fastscratch.kernels.problem import Problem

_warned: set[str] = set()

# What one core does in a second, roughly: enough to tell whether a second thread is worth waking.
_FLOPS_PER_SECOND = 50e9
_BYTES_PER_SECOND = 10e9
_SECONDS_PER_THREAD = {"cython": 5e-6, "numba": 20e-6}
"""Work that should pay for waking one more thread, by backend: an estimate, not measured."""


@dataclass(frozen=True)
class Choice:
    """An implementation, and why it was chosen."""

    implementation: Implementation
    kernel: Kernel
    rule: str
    num_threads: int


def choose(problem: Problem, settings: Settings, named: str | None = None) -> Choice:
    """Choose the implementation for a problem.

    In this order: what the call names, what the block around it names for this operation or for
    all, what the layer was given, what the environment names, and the order of the catalogue. A
    name with an algorithm (``"cython:direct"``) means just that one; the name of a backend leaves
    the algorithm to the catalogue, which knows for which problems each is preferred.

    Raises
    ------
    BackendUnavailableError
        If the one that is named is unknown, not there, or cannot serve the problem.
    """
    spec = find_op(problem.op)
    name, rule = _named(spec.name, settings, named)
    if name is not None:
        implementation, kernel = _find(spec, problem, name, rule, settings.accuracy)
    else:
        implementation, kernel = _first(spec, problem, settings.accuracy)
        rule = "the order of the catalogue"
    num_threads = worthwhile_threads(spec, problem, implementation, settings.num_threads)
    if settings.journal is not None:
        counts = settings.journal.choices.setdefault(spec.name, {})
        counts[implementation.name] = counts.get(implementation.name, 0) + 1
    return Choice(implementation, kernel, rule, num_threads)


def worthwhile_threads(
    spec: OpSpec, problem: Problem, implementation: Implementation, at_most: int
) -> int:
    """How many threads a problem is worth: one where waking a second costs more than it saves."""
    if at_most == 1:
        return 1
    if machine.forked:
        _warn_once(
            "fork",
            "this process was forked, so that kernels run on one thread here; start workers with "
            'multiprocessing.get_context("spawn") to let them use more',
        )
        return 1
    seconds = max(spec.flops(problem) / _FLOPS_PER_SECOND, spec.nbytes(problem) / _BYTES_PER_SECOND)
    grain = _SECONDS_PER_THREAD.get(implementation.backend, 5e-6)
    return max(1, min(at_most, int(seconds / grain)))


def candidates(problem: Problem) -> list[tuple[Implementation, str]]:
    """Every implementation of the problem's operation, with the reason why it cannot run it."""
    found = []
    for implementation in find_op(problem.op).implementations:
        reason = ""
        try:
            implementation.load()
        except BackendUnavailableError as error:
            reason = str(error)
        if not reason and implementation.supports and not implementation.supports(problem):
            reason = "does not support this problem"
        found.append((implementation, reason))
    return found


def _named(op: str, settings: Settings, named: str | None) -> tuple[str | None, str]:
    """The name that decides, and the rule by which it does."""
    if named is not None:
        return named, "named by the call"
    if op in dict(settings.per_op):
        return dict(settings.per_op)[op], "named by use_backend for this operation"
    if settings.backend is not None:
        return settings.backend, "named by use_backend"
    if settings.layer_backend is not None:
        return settings.layer_backend, "given to the layer"
    if op in dict(settings.environment_per_op):
        return dict(settings.environment_per_op)[op], "named by FASTSCRATCH_BACKEND"
    return settings.environment, "named by FASTSCRATCH_BACKEND"


def _find(
    spec: OpSpec, problem: Problem, name: str, rule: str, accuracy: str
) -> tuple[Implementation, Kernel]:
    exact = [entry for entry in spec.implementations if name == entry.name]
    matches = exact or [entry for entry in spec.implementations if name == entry.backend]
    if not matches:
        known = ", ".join(entry.name for entry in spec.implementations)
        raise BackendUnavailableError(
            f"{spec.name}: no implementation is called {name!r} ({rule}); there are {known}. "
            f"To name one for some operations only: use_backend(conv2d_forward=…)"
        )
    for implementation in matches:
        if implementation.supports is not None and not implementation.supports(problem):
            continue
        if exact or implementation.prefers(problem, accuracy):
            return implementation, implementation.load()
    raise BackendUnavailableError(f"{name!r} ({rule}) does not support the problem {problem}")


def _first(spec: OpSpec, problem: Problem, accuracy: str) -> tuple[Implementation, Kernel]:
    """The first built-in implementation that is there; the reference always is."""
    for implementation in spec.implementations:
        if implementation.backend not in BACKENDS:
            continue
        if implementation.supports is not None and not implementation.supports(problem):
            continue
        if not implementation.prefers(problem, accuracy):
            continue
        try:
            kernel = implementation.load()
        except BackendUnavailableError:
            continue
        if implementation.backend != "cython":
            _warn_once(
                "cython",
                f"the compiled kernels are not available, {implementation.backend!r} runs "
                f"instead, which is slower: {backend_reason('cython')}",
            )
        return implementation, kernel
    raise BackendUnavailableError(f"{spec.name}: no implementation serves the problem {problem}")


def _warn_once(topic: str, text: str) -> None:
    if topic not in _warned:
        _warned.add(topic)
        warnings.warn(text, FallbackWarning, stacklevel=_outside())


def _outside() -> int:
    """The stack level of the first caller outside the package, for a warning to point at."""
    import sys

    frame: Any = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("fastscratch."):
        frame = frame.f_back
        level += 1
    return level if frame is not None else level - 1
