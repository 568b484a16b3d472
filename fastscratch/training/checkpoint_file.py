"""The checkpoints of a run on the disk: the newest, and the one before it.

A checkpoint is an archive as `fastscratch.layers.archive` writes it, which NumPy can open
(``numpy.load(path, allow_pickle=False)``): the entry ``__header__`` holds the UTF-8 bytes of a
JSON object whose ``format`` is ``"fastscratch checkpoint"`` and whose ``version`` is 1; every other
entry is an array. `fastscratch.training.state` says what they hold. Nothing is pickled, and every
entry has a checksum.

A file is written beside its target, flushed to the disk and renamed, after the one before it was
renamed in turn: a process killed at any moment leaves at least one checkpoint that is whole.
"""

import contextlib
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastscratch.errors import CheckpointError, FallbackWarning
from fastscratch.files import remove_parts
from fastscratch.layers.archive import HEADER, read_archive, write_archive
from fastscratch.types import Array

try:
    import fcntl
except ImportError:  # not a POSIX system: the folder is not locked there
    fcntl = None  # type: ignore[assignment]

FORMAT = "fastscratch checkpoint"
VERSION = 1
NEWEST = "checkpoint.npz"
PREVIOUS = "checkpoint.previous.npz"

Content = tuple[dict[str, Any], dict[str, Array]]
"""Header, and arrays by name."""


class CheckpointFolder:
    """The newest checkpoint of a run, and the one before it. One run has the folder at a time.

    Parameters
    ----------
    folder : path-like
        Made when the first checkpoint is written.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = CheckpointFolder(name)
    ...     folder.save({"epoch": 3}, {"model/weight": np.ones(2)})
    ...     header, arrays = folder.load()
    >>> header["epoch"], arrays["model/weight"]
    (3, array([1., 1.]))
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.newest = self.folder / NEWEST
        self.previous = self.folder / PREVIOUS

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the folder for this run; it is free again when the process ends, however it does.

        Raises
        ------
        CheckpointError
            If another run has it, or it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{self.folder} cannot be written to: {error.strerror or error}"
            ) from error
        if fcntl is None:
            yield
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # not every file system has locks
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise CheckpointError(
                        f"{self.folder} is in use by another run; wait for it, or name another "
                        f"folder"
                    ) from error
            yield
        finally:
            os.close(descriptor)

    def exists(self) -> bool:
        """Whether there is a checkpoint, whole or not."""
        return self.newest.exists() or self.previous.exists()

    def save(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Write a checkpoint; the one that was the newest becomes the previous one."""
        part = self.folder / f"{NEWEST}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_parts(part)  # of a process that was killed while it wrote
            write_archive(part, {**header, "format": FORMAT, "version": VERSION}, arrays)
            if self.newest.exists():
                os.replace(self.newest, self.previous)
            os.replace(part, self.newest)
        except OSError as error:
            raise CheckpointError(
                f"{self.newest} cannot be written: {error.strerror or error}; "
                f"a checkpoint from before is untouched"
            ) from error

    def load(self) -> Content | None:
        """The newest checkpoint that is whole, or None if there is none at all.

        Raises
        ------
        CheckpointError
            If there are files, but none that is whole.

        Warns
        -----
        FallbackWarning
            If the newest is damaged and the one before it is used.
        """
        if not self.newest.exists():
            # Killed between the two renames: the previous one is the newest that was written.
            return read_checkpoint(self.previous) if self.previous.exists() else None
        try:
            return read_checkpoint(self.newest)
        except CheckpointError as error:
            if not self.previous.exists():
                raise
            content = read_checkpoint(self.previous)
            warnings.warn(
                f"{error}; going on from the one before it, {self.previous}",
                FallbackWarning,
                stacklevel=2,
            )
            return content


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it is a checkpoint; it may be damaged all the same."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f'"format": "{FORMAT}"'.encode() in archive.read(f"{HEADER}.npy")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def read_checkpoint(path: str | os.PathLike[str]) -> Content:
    """Read a checkpoint file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    header : dict
        See `fastscratch.training.state`.
    arrays : dict of str to ndarray

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, no checkpoint, or of another version.
    """
    return read_archive(path, FORMAT, VERSION)
