"""Blocks that steer the choice: what a ``with`` statement changes, and takes back at its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastscratch.arguments import as_count
from fastscratch.dispatch.buffers import Buffers
from fastscratch.dispatch.settings import (
    Block,
    Choices,
    Journal,
    Settings,
    changed,
    check_name,
    current_settings,
    forget_plans,
    keep_journal,
)
from fastscratch.errors import ArgumentError
from fastscratch.kernels.catalogue import find_op


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
    return changed(lambda old: {
        "backend": old.backend if name is None else name,
        # Naming one for all operations covers what an outer block named for some.
        "per_op": tuple(sorted({**(dict(old.per_op) if name is None else {}), **per_op}.items())),
    })  # fmt: skip


def prefer_backend(name: str) -> Block:
    """Name the implementation for a layer: weaker than any ``use_backend`` block around it."""
    check_name(name)
    return changed(lambda old: {"layer_backend": name})


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
    checked = as_count(num_threads, "num_threads")
    return changed(lambda old: {"num_threads": checked})


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
    return changed(lambda old: {"accuracy": level})


def tuning(enabled: bool = True) -> Block:
    """Measure the implementations of each problem that comes up for the first time, inside a block.

    What was measured is kept, in memory and in the user's cache, and decides from then on, inside
    of such blocks and outside: the fastest implementation runs, where none is named. A problem
    takes about a tenth of a second, and once more two calls of each implementation; up to half a
    second at several threads, where pools of threads must come to rest in between. Batches from
    one power of two to the next count as one, so that a last, smaller one is not measured again.

    Parameters
    ----------
    enabled : bool
        False turns it off where the environment (``FASTSCRATCH_TUNING=1``) or an outer block has
        turned it on.

    Examples
    --------
    >>> import numpy as np, fastscratch as fs
    >>> x, weight = np.ones((2, 11), np.float32), np.ones((11, 13), np.float32)
    >>> with fs.tuning():
    ...     y = fs.ops.dense_forward(x, weight)
    >>> fs.explain("dense_forward", x, weight).rule
    'the fastest measured here'
    """
    return _with_plans_forgotten(changed(lambda old: {"tuning": bool(enabled)}))


def deterministic(enabled: bool = True) -> Block:
    """Give the same bits from run to run and at any number of threads, inside a block.

    Compiled kernels do so anyway. What may differ is the choice among them, which measurements
    decide, and the reference's matrix products, which BLAS cuts up by its threads: inside of the
    block the order of the catalogue decides, and BLAS computes on one thread.

    Parameters
    ----------
    enabled : bool
        False turns it off again where an outer block or the environment has turned it on.

    Examples
    --------
    >>> import fastscratch as fs
    >>> with fs.deterministic():
    ...     fs.explain("dense_forward:f32:n100i784:o50").rule
    'the order of the catalogue'
    """
    return changed(lambda old: {"deterministic": bool(enabled)})


def fallback(mode: str) -> Block:
    """Say what happens where something slower would have to run, inside a block.

    That is: the compiled kernels are missing, or the process was forked and has lost its threads.

    Parameters
    ----------
    mode : {"warn", "error"}
        One `FallbackWarning`, the default; or a `BackendUnavailableError`.

    Raises
    ------
    ArgumentError
        If the mode is another.

    Examples
    --------
    >>> import fastscratch as fs
    >>> with fs.fallback("error"), fs.use_backend("numpy"):
    ...     fs.explain("im2col:f32:n1c1h4w4:k2").implementation
    'numpy'
    """
    if mode not in ("warn", "error"):
        raise ArgumentError(f'fallback must be "warn" or "error", got {mode!r}')
    return changed(lambda old: {"fallback": mode})


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
    keep_journal(journal)
    with changed(lambda old: {"journal": journal}):
        yield journal.choices


@contextmanager
def record_decisions() -> Iterator[list[tuple[Any, Any]]]:
    """Collect each new problem while the block runs, with the `Choice` that was made for it."""
    journal = Journal()
    keep_journal(journal)
    with changed(lambda old: {"journal": journal}):
        yield journal.decisions


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
    keep_journal(journal)
    try:
        with changed(lambda old: {"journal": journal, "buffers": buffers}):
            yield
    finally:
        buffers.clear()


@contextmanager
def _with_plans_forgotten(block: Block) -> Iterator[Settings]:
    """The block, after which everyone decides anew: the times that it measured are known now."""
    with block as settings:
        yield settings
    forget_plans()
