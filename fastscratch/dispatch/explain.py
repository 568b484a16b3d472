"""What was chosen and why, and what this installation has to choose from."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastscratch.dispatch import machine
from fastscratch.dispatch.choose import candidates, choose
from fastscratch.dispatch.registry import available_backends
from fastscratch.dispatch.settings import Settings, current_settings
from fastscratch.kernels.catalogue import BACKENDS, backend_reason
from fastscratch.kernels.problem import Problem


@dataclass(frozen=True)
class Explanation:
    """Which implementation runs a problem, by which rule, and who else could.

    Attributes
    ----------
    problem : str
        The problem in its written form.
    implementation, rule : str
        What runs, and what decided it.
    num_threads : int
        How many threads it is given.
    candidates : tuple of (str, str)
        Every implementation of the operation, with the reason why it cannot run ("" if it can).
    times : mapping of str to float
        Seconds of a call, of those that were measured on this machine and may run here.
    by_name_only : tuple of str
        Those that are only chosen by name here: they round more than ``accuracy(...)`` allows.
    """

    problem: str
    implementation: str
    rule: str
    num_threads: int
    candidates: tuple[tuple[str, str], ...]
    times: Mapping[str, float] = field(default_factory=dict)
    by_name_only: tuple[str, ...] = ()

    def __str__(self) -> str:
        threads = f"{self.num_threads} thread" + ("s" if self.num_threads > 1 else "")
        lines = [self.problem, f"  runs on {self.implementation}, {threads}: {self.rule}"]
        for name, reason in self.candidates:
            mark = "*" if name == self.implementation else "-"
            time = f", {1e3 * self.times[name]:.3f} ms" if name in self.times else ""
            can = "can run it, where it is named" if name in self.by_name_only else "can run it"
            lines.append(f"  {mark} {name}: {reason or can}{time}")
        return "\n".join(lines)


def explain_problem(
    problem: Problem, backend: str | None = None, settings: Settings | None = None
) -> Explanation:
    """Explain the choice for a problem, without running or measuring it."""
    # Without the journal: explaining is not running.
    held = replace(settings or current_settings(), journal=None, tuning=False)
    choice = choose(problem, held, backend)
    found = candidates(problem)
    return Explanation(
        str(problem),
        choice.implementation.name,
        choice.rule,
        choice.num_threads,
        tuple((entry.name, reason) for entry, reason in found),
        choice.times,
        tuple(entry.name for entry, _ in found if entry.accuracy not in ("default", held.accuracy)),
    )


class Config(Mapping[str, Any]):
    """What `show_config` found: a mapping whose text is a table."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self._entries = entries

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Any:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        lines = []
        for key, value in self._entries.items():
            if isinstance(value, dict):
                lines.append(f"{key}:")
                lines += [f"  {name}: {text}" for name, text in value.items()]
            else:
                lines.append(f"{key}: {value}")
        return "\n".join(lines)


def show_config() -> Config:
    """What was built, with what, for which processors, and, if something is missing, why.

    Returns
    -------
    Config
        A mapping; printed, it is a table.

    Examples
    --------
    >>> show_config()["backends"]["numpy"]
    'available'
    """
    from fastscratch.kernels import cython_ext

    settings = current_settings()
    blas = [
        f"{info.get('internal_api')} {info.get('version')}, "
        f"{info.get('architecture', 'unknown kernel')}, {info.get('num_threads')} threads"
        for info in machine.blas_info()
    ]
    return Config({
        "fastscratch": _version("fastscratch"),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "numba": _version("numba"),
        "system": platform.platform(),
        "processor": machine.processor_name(),
        "usable processors": machine.usable_processors(),
        "threads": settings.num_threads,
        "blas": "; ".join(blas) or "none found",
        "backends": {name: backend_reason(name) or "available" for name in BACKENDS},
        "order": ", ".join(available_backends()),
        "compiled level": cython_ext.level or "none",
        "build": dict(cython_ext.build_info),
    })  # fmt: skip


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, seldom needed

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
