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

import numpy as np

from fastscratch.dispatch.buffers import Buffers
from fastscratch.dispatch.machine import default_num_threads
from fastscratch.errors import ArgumentError, BackendUnavailableError
from fastscratch.kernels.catalogue import OPS, backend_reason, find_op

PerOp = tuple[tuple[str, str], ...]
Choices = dict[str, dict[str, int]]


class Journal:
    """What `record_choices` collects, and the settings that collect into it."""

    def __init__(self) -> None:
        self.choices: Choices = {}
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
    environment, environment_per_op
        What ``FASTSCRATCH_BACKEND`` names.
    accuracy : str
        What an algorithm may cost in accuracy, to be chosen without being named.
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
    environment: str | None = None
    environment_per_op: PerOp = ()
    accuracy: str = "default"
    journal: Journal | None = field(default=None, compare=False)
    buffers: Buffers | None = field(default=None, compare=False)
    plans: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


# What `contextmanager` makes; the standard library has no public name for one that decorates, too.
Block = _GeneratorContextManager[Settings]

_process: Settings | None = None
_context: ContextVar[Settings | None] = ContextVar("fastscratch_settings", default=None)
_interned: dict[Settings, Settings] = {}
_journals: WeakSet[Journal] = WeakSet()


def current_settings() -> Settings:
    """The settings that hold here."""
    return _context.get() or _process or _process_settings()


def use_backend(name: str | None = None, **per_op: str) -> Block:
    """Name the implementation for all operations, or for some, inside a ``with`` block.

    Parameters
    ----------
    name : str, optional
        ``"numpy"``, ``"numba"``, ``"cython"``, one algorithm of these (``"cython:direct"``), or
        the name under which a kernel was registered. None leaves the choice for all operations
        as it is.
    **per_op : str
        The same for single operations; these win over ``name``.

    Returns
    -------
    context manager
        It can also decorate a function.

    Raises
    ------
    ArgumentError
        If an operation or a name is unknown.
    BackendUnavailableError
        If a built-in backend is not there; the message says why.

    Examples
    --------
    >>> import numpy as np, fastscratch as fs
    >>> x, weight = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
    >>> with fs.use_backend("numpy", conv2d_forward="numpy"):
    ...     fs.ops.conv2d_forward(x, weight).shape
    (1, 1, 2, 2)
    """
    for op, choice in per_op.items():
        find_op(op)
        check_name(choice, op)
    if name is not None:
        check_name(name)
    return _changed(lambda old: {
        "backend": old.backend if name is None else name,
        # Naming one for all operations covers what an outer block named for some.
        "per_op": tuple(sorted({**(dict(old.per_op) if name is None else {}), **per_op}.items())),
    })  # fmt: skip


def prefer_backend(name: str) -> Block:
    """Name the implementation for a layer: weaker than any ``use_backend`` block around it."""
    check_name(name)
    return _changed(lambda old: {"layer_backend": name})


def threads(num_threads: int) -> Block:
    """Let kernels use at most so many threads inside a ``with`` block.

    Parameters
    ----------
    num_threads : int
        One or more.

    Examples
    --------
    >>> import fastscratch as fs
    >>> with fs.threads(1):
    ...     fs.get_num_threads()
    1
    """
    checked = _check_num_threads(num_threads)
    return _changed(lambda old: {"num_threads": checked})


def accuracy(level: str) -> Block:
    """Say what speed may cost in accuracy inside a ``with`` block.

    Parameters
    ----------
    level : {"default", "fast"}
        "fast" allows algorithms whose rounding errors are larger: for 3x3 windows at stride 1, the
        transform F(4x4, 3x3), with a quarter of the multiplications. Its largest error, over the
        largest output, stays below 32 times the dtype's ``eps`` (4e-6 in float32) for inputs of one
        size, where the default's is below 8 times, and small integers are not exact.

    Raises
    ------
    ArgumentError
        If the level is another.

    References
    ----------
    Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015), section 4.

    Examples
    --------
    >>> import fastscratch as fs
    >>> with fs.accuracy("fast"):
    ...     report = fs.explain("conv2d_forward:f32:n8c64h56w56:oc64k3p1")
    >>> report.problem
    'conv2d_forward:f32:n8c64h56w56:oc64k3s1p1'
    """
    if level not in ("default", "fast"):
        raise ArgumentError(f'accuracy must be "default" or "fast", got {level!r}')
    return _changed(lambda old: {"accuracy": level})


@contextmanager
def record_choices() -> Iterator[Choices]:
    """Collect which implementation is chosen for each operation while the block runs.

    Yields
    ------
    dict of str to dict of str to int
        For each operation, the implementations that ran and for how many different problems.

    Examples
    --------
    >>> import numpy as np, fastscratch as fs
    >>> with fs.use_backend("numpy"), record_choices() as choices:
    ...     y = fs.ops.dense_forward(np.ones((2, 3)), np.ones((3, 4)))
    >>> choices
    {'dense_forward': {'numpy': 1}}
    """
    journal = Journal()
    _journals.add(journal)
    with _changed(lambda old: {"journal": journal}):
        yield journal.choices


@contextmanager
def reuse_buffers() -> Iterator[None]:
    """Let operations return arrays that they returned before, once nobody holds them any more.

    Inside the block a training step allocates what it needs once. An array that the caller still
    holds, or a view of it, is never handed out again, so that nothing changes but the time.

    Examples
    --------
    >>> import numpy as np, fastscratch as fs
    >>> with reuse_buffers():
    ...     y = fs.ops.relu_forward(np.array([-1.0, 2.0]))
    >>> y
    array([0., 2.])
    """
    # With a journal of its own: plans that hold buffers must not outlive the block.
    outer = current_settings().journal
    journal = Journal()
    if outer is not None:
        journal.choices = outer.choices
    buffers = Buffers()
    _journals.add(journal)
    try:
        with _changed(lambda old: {"journal": journal, "buffers": buffers}):
            yield
    finally:
        buffers.clear()


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
    checked = _check_num_threads(num_threads)
    _process = _intern(replace(_process_settings(), num_threads=checked, plans={}))
    inner = _context.get()
    if inner is not None:
        _context.set(_intern(replace(inner, num_threads=checked, plans={})))


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


@contextmanager
def _changed(change: Callable[[Settings], dict[str, Any]]) -> Iterator[Settings]:
    old = current_settings()
    token = _context.set(_intern(replace(old, plans={}, **change(old))))
    try:
        yield current_settings()
    finally:
        _context.reset(token)


def _intern(settings: Settings) -> Settings:
    """The one object that stands for equal settings, so that its plans are found again."""
    # A journal has a table of its own: it wants to see choices that were made before it, too.
    table = _interned if settings.journal is None else settings.journal.interned
    return table.setdefault(settings, settings)


def _process_settings() -> Settings:
    global _process
    if _process is None:
        name, per_op = _read_environment(os.environ.get("FASTSCRATCH_BACKEND", ""))
        _process = _intern(
            Settings(default_num_threads(), environment=name, environment_per_op=per_op)
        )
    return _process


def _read_environment(text: str) -> tuple[str | None, PerOp]:
    """Read ``FASTSCRATCH_BACKEND``: ``numba``, or ``cython,conv2d_forward=numba``."""
    name: str | None = None
    per_op: dict[str, str] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        op, equals, choice = word.partition("=")
        if equals:
            find_op(op.strip())
            per_op[op.strip()] = choice.strip()
        elif name is None:
            name = word
        else:
            raise ArgumentError(
                f"FASTSCRATCH_BACKEND={text!r}: name one backend for all operations, and others "
                'as operation=backend, such as "cython,conv2d_forward=numba"'
            )
    return name, tuple(sorted(per_op.items()))


def _check_num_threads(num_threads: int) -> int:
    if (
        isinstance(num_threads, bool)
        or not isinstance(num_threads, int | np.integer)
        or num_threads < 1
    ):
        raise ArgumentError(f"num_threads must be a positive int, got {num_threads!r}")
    return int(num_threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_plans)  # a child may not use the parent's threads
