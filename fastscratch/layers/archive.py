"""Files of arrays: one npz archive with a JSON header, no pickle, never half written.

The archive is what ``numpy.load(path, allow_pickle=False)`` reads: one member an array, and one
called ``__header__``, the UTF-8 bytes of a JSON object that names the format and its version.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastscratch.errors import ArgumentError, CheckpointError, FastscratchError
from fastscratch.files import written_whole
from fastscratch.layers.registry import describe_layer, layer_from_description
from fastscratch.types import Array

if TYPE_CHECKING:
    from fastscratch.layers.base import Layer

HEADER = "__header__"
MODEL_FORMAT = "fastscratch model"
MODEL_VERSION = 1

# What the zip and npy readers raise on damaged bytes.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, ValueError, TypeError, KeyError, EOFError, OSError,
    NotImplementedError, RuntimeError, SyntaxError, OverflowError, MemoryError, RecursionError,
)  # fmt: skip


def write_archive(
    path: str | PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> None:
    """Write a header and arrays into one file, whole or not at all.

    The file is written beside its place, flushed to the disk, and renamed: at each moment the path
    holds the old file or the new one.

    Parameters
    ----------
    path : path
        Where to; used as it is.
    header : mapping
        What JSON can hold, with ``format`` and ``version``.
    arrays : mapping of str to ndarray
        Of plain dtypes.

    Raises
    ------
    ArgumentError
        If an array would need pickle.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_archive(f"{folder}/a", {"format": "mine", "version": 1}, {"w": np.ones(2)})
    ...     header, arrays = read_archive(f"{folder}/a", "mine", 1)
    >>> arrays["w"]
    array([1., 1.])
    """
    members = {HEADER: np.frombuffer(json.dumps(dict(header)).encode(), np.uint8)}
    for name, array in arrays.items():
        if name == HEADER or np.asarray(array).dtype.hasobject:
            raise ArgumentError(f"{name!r} cannot be stored: its name is taken or it holds objects")
        members[name] = np.asarray(array)
    # By hand, not np.savez: that takes no array called "file".
    with (
        written_whole(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, array in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_archive(
    path: str | PathLike[str], expected_format: str, expected_version: int
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write_archive` wrote.

    Parameters
    ----------
    path : path
        The file.
    expected_format : str
        The ``format`` that its header must name.
    expected_version : int
        The ``version`` that its header must name.

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, truncated, of another format or version; the message names
        the file.

    Examples
    --------
    >>> read_archive("/nowhere", "mine", 1)
    Traceback (most recent call last):
    fastscratch.errors.CheckpointError: /nowhere: there is no such file
    """
    file = Path(path)
    try:
        with zipfile.ZipFile(file) as archive:
            members = {
                name.removesuffix(".npy"): _read_member(archive, name)
                for name in archive.namelist()
            }
        header = json.loads(members.pop(HEADER).tobytes())
    except FileNotFoundError:
        raise CheckpointError(f"{file}: there is no such file") from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{file} is damaged, incomplete, or not a {expected_format} file "
            f"({type(error).__name__}: {error})"
        ) from error
    if not isinstance(header, dict) or header.get("format") != expected_format:
        raise CheckpointError(f"{file} is not a {expected_format} file")
    if header.get("version") != expected_version:
        raise CheckpointError(
            f"{file} has format version {header.get('version')!r}, this fastscratch reads version "
            f"{expected_version}"
        )
    return header, members


def save_model(model: "Layer", path: str | PathLike[str]) -> None:
    """Write a built layer, architecture and state, into one file.

    Parameters
    ----------
    model : Layer
        Built, of registered kinds.
    path : path
        Where to.
    """
    state = model.state_dict()
    assert model.dtype is not None and model.input_shape is not None
    header = {
        "format": MODEL_FORMAT,
        "version": MODEL_VERSION,
        "architecture": describe_layer(model),
        "input_shape": list(model.input_shape),
        "dtype": model.dtype.name,
        "seed": model.seed,
    }
    write_archive(path, header, state)


def load_model(path: str | PathLike[str]) -> Any:
    """Make a network from a file that ``model.save`` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Layer
        Of the kind that was saved (mostly a `Sequential`), built, with its state.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not a model; the message names the file.

    Examples
    --------
    >>> import tempfile
    >>> from fastscratch.layers import Dense, Sequential
    >>> model = Sequential(Dense(2))
    >>> model.build((3,))
    (2,)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.npz")
    ...     again = load_model(f"{folder}/model.npz")
    >>> bool((again["0"].weight.value == model["0"].weight.value).all())
    True
    """
    header, state = read_archive(path, MODEL_FORMAT, MODEL_VERSION)
    try:
        model = layer_from_description(header["architecture"])
        if not model.built:
            model.build(tuple(header["input_shape"]), header["dtype"], header["seed"])
        model.load_state_dict(state)
    except (FastscratchError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not hold a model that can be made: {error}") from error
    return model


def _read_member(archive: zipfile.ZipFile, name: str) -> Array:
    # The whole member first: its checksum is compared before anything in it is believed.
    array: Array = np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    return array
