"""Kernels by name: how a command line or another process finds a function."""

import base64
import importlib
import importlib.util
import os
import pickle
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


def pack(function: Callable[..., Any]) -> str:
    """A function as text, for another process of this Python.

    Functions that can be imported are packed by name, others by their code, with the copy of
    cloudpickle that Numba brings.

    Raises
    ------
    ArgumentError
        If the function cannot be packed: it holds something that only this process has.
    """
    try:
        from numba import cloudpickle as packer
    except ImportError:
        packer = pickle
    try:
        return base64.b64encode(packer.dumps(function)).decode()
    except Exception as error:  # each type of object has its own way to refuse
        raise ArgumentError(
            f"{getattr(function, '__name__', function)!r} cannot be handed to a process of its "
            f"own: {type(error).__name__}: {error}; put it into a module, or judge it in this "
            f"process with isolated=False"
        ) from error


def unpack(text: str) -> Callable[..., Any]:
    """The function that `pack` made a text of, or that a place names."""
    if ":" in text:
        return find_function(text)
    return pickle.loads(base64.b64decode(text))  # type: ignore[no-any-return]
