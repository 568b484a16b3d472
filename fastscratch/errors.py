"""Every error and warning of the package, and the one way to ask for an optional package."""

import importlib
import sys
import warnings
from types import FrameType, ModuleType


class FastscratchError(Exception):
    """Base of every error that fastscratch raises on purpose."""


class ShapeError(FastscratchError, ValueError):
    """Array extents that do not fit each other, or a window that does not fit its array."""


class DtypeError(FastscratchError, TypeError):
    """An array of a kind that the library does not compute with, or two that differ."""


class ArgumentError(FastscratchError, ValueError):
    """An argument outside its set of values."""


class BackendUnavailableError(FastscratchError, RuntimeError):
    """An implementation was named that is not here, or cannot serve the problem."""


class MissingExtraError(FastscratchError, ImportError):
    """An optional package is needed; the message says which extra installs it."""


class DataError(FastscratchError, ValueError):
    """A data file that is missing, damaged, truncated or of another kind."""


class CheckpointError(FastscratchError, ValueError):
    """A model or checkpoint file that is damaged, foreign, or belongs to something else."""


class TrainingError(FastscratchError, RuntimeError):
    """Training cannot go on: a loss that is not finite, a backward pass without a forward."""


class KernelCheckError(FastscratchError, AssertionError):
    """A kernel disagrees with the reference or breaks the kernel contract."""


class FallbackWarning(RuntimeWarning):
    """Something slower runs than what was to be expected; the text says why and how to mend it."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"matplotlib.pyplot"``.
    extra : str
        The extra of fastscratch that installs it, such as ``"plot"``.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingExtraError
        If it cannot be imported.

    Examples
    --------
    >>> require_extra("json", "plot").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"this needs {package}, which is not installed ({error}); "
            f"install it with: pip install 'fastscratch[{extra}]'"
        ) from error


_warned: set[str] = set()


def warn_once(topic: str, text: str) -> None:
    """Give a `FallbackWarning`, the first time only, pointing at the caller outside the package."""
    if topic in _warned:
        return
    _warned.add(topic)
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").startswith("fastscratch."):
        frame = frame.f_back
        level += 1
    warnings.warn(text, FallbackWarning, stacklevel=level if frame is not None else level - 1)
