"""Where the package keeps files, and how it writes them: whole, or not at all."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PART = ".part"
_STALE = 24 * 3600
"""Seconds after which nobody writes a part file any more."""


def cache_folder() -> Path:
    """The folder that ``FASTSCRATCH_CACHE`` names, else the user's cache folder."""
    named = os.environ.get("FASTSCRATCH_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    return Path(base) / "fastscratch"


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write into, which takes its name once the block has ended well.

    Until then it is a part file beside the target, which stays what it was; an error or an
    interruption removes the part file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(f"{folder}/a") as file:
    ...         _ = file.write(b"all of it")
    ...     os.listdir(folder)
    ['a']
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}{_PART}")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def remove_stale_parts(folder: Path) -> None:
    """Remove part files that a killed process left, a day later."""
    for part in folder.glob(f"*{_PART}"):
        try:
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()
        except FileNotFoundError:
            continue


def remove_parts(target: Path) -> None:
    """Remove part files of one target that nobody else may be writing."""
    for part in target.parent.glob(f".{target.name}.*{_PART}"):
        part.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power failure, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
