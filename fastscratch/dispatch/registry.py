"""Kernels from outside, and which backends are there."""

from collections.abc import Callable

from fastscratch.dispatch.outside import register_installed, registering_package
from fastscratch.dispatch.settings import forget_plans
from fastscratch.dispatch.tuning_table import forget_times
from fastscratch.kernels import catalogue
from fastscratch.kernels.problem import Problem


def available_backends() -> tuple[str, ...]:
    """The backends that can run on this machine, best first.

    Returns
    -------
    tuple of str
        The built-in ones of ``("cython", "numba", "numpy")`` that are there, and the names of
        registered kernels, those of installed packages among them. `show_config` tells why one
        is missing.

    Examples
    --------
    >>> "numpy" in available_backends()
    True
    """
    register_installed()
    found = [name for name in catalogue.BACKENDS if not catalogue.backend_reason(name)]
    for spec in catalogue.OPS.values():
        found += [entry.backend for entry in spec.implementations if entry.function is not None]
    return tuple(dict.fromkeys(found))


def register_kernel(
    op: str,
    function: catalogue.Kernel,
    *,
    name: str,
    supports: Callable[[Problem], bool] | None = None,
) -> None:
    """Add an implementation of an operation, to be chosen by its name.

    Parameters
    ----------
    op : str
        The operation, such as ``"conv2d_forward"``.
    function : callable
        Takes the kernel's arguments by position (``catalogue.OPS[op].signature``), fills the
        outputs whole, writes to no input and returns nothing. An attribute ``kernel_abi``, if it
        has one, must be `fastscratch.kernels.catalogue.KERNEL_ABI`.
    name : str
        Its name in ``use_backend(name)`` and ``backend=name``; not a built-in backend's. A name
        that is registered already for this operation gets the new function.
    supports : callable, optional
        Tells from a problem whether the function can serve it; None means all of them.

    Raises
    ------
    ArgumentError
        If the operation is unknown, the name is taken, or the function's signature does not fit.

    See Also
    --------
    fastscratch.testing.check_kernel : judges such a function against the reference.

    Examples
    --------
    >>> import numpy as np, fastscratch as fs
    >>> def dense(x, weight, bias, y, num_threads):
    ...     y[...] = x @ weight + bias
    >>> fs.register_kernel("dense_forward", dense, name="mine")
    >>> fs.ops.dense_forward(np.ones((1, 2)), np.ones((2, 1)), backend="mine")
    array([[2.]])
    >>> fs.unregister_kernel("dense_forward", "mine")
    """
    package = registering_package()
    catalogue.add_implementation(op, function, name, supports, package)
    if not package:
        forget_times(name)  # of whatever had the name before
    forget_plans()


def unregister_kernel(op: str, name: str) -> None:
    """Take a registered kernel off the list again; built-in ones stay.

    Parameters
    ----------
    op, name : str
        As given to `register_kernel`. A name that is not there is no error.

    Examples
    --------
    >>> import fastscratch as fs
    >>> fs.unregister_kernel("dense_forward", "never registered")
    """
    catalogue.remove_implementation(op, name)
    forget_times(name)
    forget_plans()
