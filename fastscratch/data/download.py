"""Fetch a file into the user's cache from the first mirror that delivers the right bytes."""

import hashlib
import io
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from fastscratch.data.idx import unpack
from fastscratch.errors import DataError, require_extra
from fastscratch.files import remove_stale_parts, written_whole

_TIMEOUT = 30


def fetch(name: str, sha256: str, mirrors: Sequence[str], folder: Path, mirror_folder: str) -> Path:
    """Path of the file `name` in `folder`, uncompressed; downloaded if it is not there.

    ``FASTSCRATCH_MIRRORS``, addresses separated by blanks, replaces the mirrors: each holds
    `mirror_folder` with the files in it, as ``name.gz``. A file in the cache whose bytes are not
    the right ones is fetched again. The bytes are checked in memory, so a wrong file never reaches
    the disk; writing goes to a part file beside the target, which is renamed once it is complete.
    """
    target = folder / name
    damaged = target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() != sha256
    if target.is_file() and not damaged:
        return target
    own = os.environ.get("FASTSCRATCH_MIRRORS", "").split()
    bases = [f"{base.rstrip('/')}/{mirror_folder}/" for base in own] or list(mirrors)
    failures = []
    for base in bases:
        address = f"{base.rstrip('/')}/{name}.gz"
        try:
            content = unpack(_download(address))
        except (OSError, EOFError, zlib.error) as error:
            # requests' errors are OSErrors; gzip's are OSError, EOFError and zlib.error.
            failures.append(f"  {address}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() == sha256:
            _store(content, target)
            return target
        failures.append(f"  {address}: not the bytes expected (wrong SHA-256)")
    raise DataError(
        f"{target} {'is damaged' if damaged else 'is not there'}, and no mirror delivers it:\n"
        + "\n".join(failures)
        + f"\nTry again later, or put the file there yourself ({name}, or {name}.gz in a folder "
        f"that you pass or that FASTSCRATCH_DATA names), or name a mirror in FASTSCRATCH_MIRRORS."
    )


def _download(address: str) -> bytes:
    """The bytes at an address, with a progress bar on a terminal."""
    pooch = require_extra("pooch", "data")
    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=_TIMEOUT
    )
    content = io.BytesIO()
    download(address, content, None)
    return content.getvalue()


def _store(content: bytes, target: Path) -> None:
    """Write beside the target and rename: the target is whole or not there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(target.parent)
        with written_whole(target) as file:
            file.write(content)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}; "
            f"name another cache folder in FASTSCRATCH_CACHE"
        ) from error
