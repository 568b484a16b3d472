"""What the environment and a configuration file say about the choice of implementations.

A configuration file is TOML; ``FASTSCRATCH_CONFIG`` names it, else it is ``config.toml`` in the
user's configuration folder. All entries may be left out::

    threads = 2
    backend = "cython"
    accuracy = "default"        # or "fast"
    deterministic = false
    tuning = false
    fallback = "warn"           # or "error"

    [operations]
    conv2d_forward = "numba"

The environment's word counts more: ``FASTSCRATCH_BACKEND`` (``cython,conv2d_forward=numba``),
``FASTSCRATCH_NUM_THREADS``, ``FASTSCRATCH_ACCURACY``, ``FASTSCRATCH_DETERMINISTIC``,
``FASTSCRATCH_TUNING`` (0 or 1) and ``FASTSCRATCH_FALLBACK``.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastscratch.errors import ArgumentError
from fastscratch.kernels.catalogue import OPS, find_op

PerOp = tuple[tuple[str, str], ...]

LEVELS = {"accuracy": ("default", "fast"), "fallback": ("warn", "error")}
"""The values of settings that have a few."""
_SWITCHES = ("deterministic", "tuning")


@dataclass(frozen=True)
class Configuration:
    """What one source says; None where it says nothing."""

    source: str
    backend: str | None = None
    per_op: PerOp = ()
    threads: int | None = None
    accuracy: str | None = None
    deterministic: bool | None = None
    tuning: bool | None = None
    fallback: str | None = None


def config_file() -> Path:
    """The configuration file, whether it is there or not."""
    named = os.environ.get("FASTSCRATCH_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"
    return Path(base) / "fastscratch" / "config.toml"


def read_environment() -> Configuration:
    """What the environment's variables say; threads aside, which other programs' count for, too."""
    found: dict[str, Any] = {}
    name, per_op = _backends(os.environ.get("FASTSCRATCH_BACKEND", ""))
    for key in (*LEVELS, *_SWITCHES):
        variable = f"FASTSCRATCH_{key.upper()}"
        text = os.environ.get(variable, "")
        if not text:
            continue
        if key in LEVELS:
            found[key] = _one_of(LEVELS[key], text, variable)
        else:
            found[key] = _one_of(("0", "1"), text, variable) == "1"
    return Configuration("FASTSCRATCH_BACKEND", name, per_op, **found)


def read_file() -> Configuration:
    """What the configuration file says.

    Raises
    ------
    ArgumentError
        If it is named and not there, cannot be read, or says what nobody understands.
    """
    path = config_file()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if os.environ.get("FASTSCRATCH_CONFIG"):
            raise ArgumentError(f"FASTSCRATCH_CONFIG={str(path)!r}: no such file") from None
        return Configuration(str(path))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"the configuration file {path} cannot be read: {error}") from error
    import tomllib  # slow to import, and most have no such file

    try:
        content = tomllib.loads(text)
    except ValueError as error:
        raise ArgumentError(f"the configuration file {path} cannot be read: {error}") from error
    kinds: dict[str, type] = {"threads": int, "backend": str, "operations": dict}
    kinds |= dict.fromkeys(LEVELS, str) | dict.fromkeys(_SWITCHES, bool)
    for key, value in content.items():
        if key not in kinds:
            raise ArgumentError(f"{path}: unknown entry {key!r}; there are {', '.join(kinds)}")
        if type(value) is not kinds[key]:
            raise ArgumentError(f"{path}: {key} must be a {kinds[key].__name__}, got {value!r}")
        if key in LEVELS:
            _one_of(LEVELS[key], str(value), f"{path}: {key}")
    if content.get("threads", 1) < 1:
        raise ArgumentError(f"{path}: threads must be 1 or more, got {content['threads']}")
    per_op = content.pop("operations", {})
    for op, name in per_op.items():
        if op not in OPS:
            raise ArgumentError(f"{path}: unknown operation {op!r}; one of {', '.join(OPS)}")
        if not isinstance(name, str):
            raise ArgumentError(f"{path}: operations.{op} must be a str, got {name!r}")
    return Configuration(str(path), per_op=tuple(sorted(per_op.items())), **content)


def _backends(text: str) -> tuple[str | None, PerOp]:
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


def _one_of(values: tuple[str, ...], text: str, where: str) -> str:
    if text not in values:
        raise ArgumentError(f"{where} must be {' or '.join(values)}, got {text!r}")
    return text
