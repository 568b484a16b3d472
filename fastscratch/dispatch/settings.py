"""What is chosen where: one immutable settings object, held by a context variable.

Blocks (``with use_backend(...)``) put a changed copy in the variable and take it out again, so they
nest and are private to a thread or task. `set_num_threads` changes the process's own settings,
which hold wherever no block is open. What was decided under some settings (the plans) lives in
them, so that switching settings switches plans; equal settings are one object and share theirs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import _GeneratorContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakSet

from fastscratch.arguments import as_count
from fastscratch.dispatch.buffers import Buffers
from fastscratch.dispatch.configuration import Configuration, PerOp, read_environment, read_file
from fastscratch.dispatch.machine import default_num_threads
from fastscratch.dispatch.outside import register_installed
from fastscratch.errors import BackendUnavailableError
from fastscratch.kernels.catalogue import OPS, backend_reason

Choices = dict[str, dict[str, int]]

_SAYS_NOTHING = Configuration("nothing")


class Journal:
    """What `record_choices` collects, and the settings that collect into it."""

    def __init__(self) -> None:
        self.choices: Choices = {}
        self.decisions: list[tuple[Any, Any]] = []
        self.interned: dict[Settings, Settings] = {}


@dataclass(frozen=True)
class Settings:
    """Everything that decides which implementation runs, apart from the problem.

    Attributes
    ----------
    num_threads : int
        The most threads that a kernel may use.
    backend, per_op
        What ``use_backend`` named: for all operations, and for some.
    layer_backend : str or None
        What the layer that is running was given.
    environment, file : Configuration
        What the environment and the configuration file name.
    accuracy : str
        What an algorithm may cost in accuracy, to be chosen without being named.
    tuning : bool
        Whether problems that nobody has measured are.
    deterministic : bool
        Whether measurements and BLAS's threads must not change a bit.
    fallback : str
        What happens where something slower would have to run: "warn" or "error".
    journal : Journal or None
        Where `record_choices` wants to see each new plan.
    buffers : Buffers or None
        Where `reuse_buffers` keeps the arrays that operations return.
    plans : dict
        What was decided so far.
    """

    num_threads: int
    backend: str | None = None
    per_op: PerOp = ()
    layer_backend: str | None = None
    environment: Configuration = _SAYS_NOTHING
    file: Configuration = _SAYS_NOTHING
    accuracy: str = "default"
    tuning: bool = False
    deterministic: bool = False
    fallback: str = "warn"
    journal: Journal | None = field(default=None, compare=False)
    buffers: Buffers | None = field(default=None, compare=False)
    plans: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


# What `contextmanager` makes; the standard library has no public name for one that decorates, too.
Block = _GeneratorContextManager[Settings]

_process: Settings | None = None
context: ContextVar[Settings | None] = ContextVar("fastscratch_settings", default=None)
"""The settings of the blocks that are open here."""
_interned: dict[Settings, Settings] = {}
_journals: WeakSet[Journal] = WeakSet()


def current_settings() -> Settings:
    """The settings that hold here."""
    return context.get() or process_settings()


def set_num_threads(num_threads: int) -> None:
    """Let the kernels of this process use at most so many threads.

    It holds for every Python thread, wherever no ``with threads(...)`` block says otherwise.

    Parameters
    ----------
    num_threads : int
        One or more. The default is ``FASTSCRATCH_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the
        number of processors that this process may use.

    Raises
    ------
    ArgumentError
        If it is not a positive int.

    Examples
    --------
    >>> import fastscratch as fs
    >>> fs.set_num_threads(fs.get_num_threads())
    """
    global _process
    checked = as_count(num_threads, "num_threads")
    _process = _intern(replace(process_settings(), num_threads=checked, plans={}))
    inner = context.get()
    if inner is not None:
        context.set(_intern(replace(inner, num_threads=checked, plans={})))


def get_num_threads() -> int:
    """The most threads that a kernel called here may use.

    Examples
    --------
    >>> import fastscratch as fs
    >>> fs.get_num_threads() >= 1
    True
    """
    return current_settings().num_threads


def forget_plans() -> None:
    """Decide anew at the next call: the list of implementations, or the process, has changed."""
    for table in (_interned, *(journal.interned for journal in list(_journals))):
        for settings in list(table.values()):
            settings.plans.clear()


def check_name(name: str, op: str | None = None) -> None:
    """Raise unless ``name`` is an implementation that is there (for ``op``, or for any)."""
    register_installed()
    specs = [OPS[op]] if op else list(OPS.values())
    known = dict.fromkeys(
        word for spec in specs for entry in spec.implementations
        for word in (entry.backend, entry.name)
    )  # fmt: skip
    if not isinstance(name, str) or name not in known:
        where = f" for {op}" if op else ""
        raise BackendUnavailableError(
            f"no implementation is called {name!r}{where}; there are {', '.join(known)}"
        )
    reason = backend_reason(name.partition(":")[0])
    if reason:
        raise BackendUnavailableError(f"backend {name!r} is not available: {reason}")


def keep_journal(journal: Journal) -> None:
    """Let `forget_plans` reach the plans that a journal holds."""
    _journals.add(journal)


@contextmanager
def changed(change: Callable[[Settings], dict[str, Any]]) -> Iterator[Settings]:
    """Hold other settings while the block runs: ``change`` gives what differs from the old ones."""
    old = current_settings()
    token = context.set(_intern(replace(old, plans={}, **change(old))))
    try:
        yield current_settings()
    finally:
        context.reset(token)


def _intern(settings: Settings) -> Settings:
    """The one object that stands for equal settings, so that its plans are found again."""
    # A journal has a table of its own: it wants to see choices that were made before it, too.
    table = _interned if settings.journal is None else settings.journal.interned
    return table.setdefault(settings, settings)


def process_settings() -> Settings:
    """The settings that hold where no block is open."""
    global _process
    if _process is None:
        environment, file = read_environment(), read_file()

        def said(key: str, otherwise: Any) -> Any:
            found = (getattr(source, key) for source in (environment, file))
            return next((value for value in found if value is not None), otherwise)

        _process = _intern(Settings(
            default_num_threads(file.threads), environment=environment, file=file,
            accuracy=said("accuracy", "default"), tuning=said("tuning", False),
            deterministic=said("deterministic", False), fallback=said("fallback", "warn"),
        ))  # fmt: skip
    return _process


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_plans)  # a child may not use the parent's threads
