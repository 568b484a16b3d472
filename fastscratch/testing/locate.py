"""Kernels by name: how a command line or another process finds a function."""

import importlib
import importlib.util
import operator
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastscratch.errors import ArgumentError


def find_function(place: str) -> Callable[..., Any]:
    """The function that a text names.

    Parameters
    ----------
    place : str
        ``"package.module:function"``, or ``"folder/file.py:function"``. Modules are looked for in
        the working directory, too.

    Raises
    ------
    ArgumentError
        If there is no such file, module or function, or importing it fails.

    Examples
    --------
    >>> find_function("fastscratch.kernels.numpy_ref.dense:dense_forward").__name__
    'dense_forward'
    """
    module_name, colon, name = place.rpartition(":")
    if not colon or not module_name or not name:
        raise ArgumentError(f"expected MODULE:FUNCTION or FILE.py:FUNCTION, got {place!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        if module_name.endswith(".py"):
            found: Any = _import_file(Path(module_name))
        else:
            found = importlib.import_module(module_name)
    except Exception as error:  # whatever the module does when it is imported
        raise ArgumentError(f"{place!r}: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"{place!r}: {module_name} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ArgumentError(f"{place!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise ArgumentError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def place_of(function: Callable[..., Any]) -> str | None:
    """Where another process finds a function; None if it cannot.

    It can where the function stands in a module or a file under its own name, and not in the main
    program, which would run once more.

    >>> place_of(find_function)
    'fastscratch.testing.locate:find_function'
    """
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    if module is None or module.__name__ == "__main__":
        return None
    try:
        if operator.attrgetter(name)(module) is not function:
            return None
    except AttributeError:
        return None
    file = getattr(module, "__file__", None)
    spec = importlib.util.find_spec(module.__name__)
    if spec is not None and spec.origin == file:
        return f"{module.__name__}:{name}"
    return f"{file}:{name}" if file and file.endswith(".py") else None
