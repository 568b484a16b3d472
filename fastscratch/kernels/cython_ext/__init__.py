"""The compiled kernels: the modules of ``numpy_ref``, built from ``src_kernels/`` when installing.

Each module is compiled once per processor level, into a folder of its own::

    cython_ext/_processor.*.so              asks the processor; runs anywhere
    cython_ext/base/    conv2d.*.so ...     any processor
    cython_ext/avx2/    conv2d.*.so ...     x86-64 with AVX2 and fused multiply-add
    cython_ext/avx512/  conv2d.*.so ...     x86-64 with AVX-512 F, VL, BW and DQ

Importing this package sets its ``__path__`` to the folder of the best level that the processor
has, so that ``fastscratch.kernels.cython_ext.conv2d`` is always the right file: importing another
would end in an illegal instruction. ``FASTSCRATCH_ISA`` caps the level.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

from fastscratch.errors import ArgumentError

LEVELS = ("base", "avx2", "avx512")
"""The processor levels, lowest first."""

_FOLDER = Path(__file__).resolve().parent
_MENDING = (
    "install a C compiler (GCC or Clang) and then fastscratch again, with "
    "FASTSCRATCH_BUILD=require, which shows what the compiler says"
)

_AGAIN = "to mend it, install fastscratch again, or: python setup.py build_ext --inplace"


def _read_build_info() -> dict[str, Any]:
    try:
        info = json.loads((_FOLDER / "build_info.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"built": False, "reason": "nothing was built beside the Python files"}
    except (OSError, ValueError) as error:
        return {"built": False, "reason": f"the record of the build cannot be read: {error}"}
    return dict(info)


def _level_cap() -> str:
    cap = os.environ.get("FASTSCRATCH_ISA", "") or LEVELS[-1]
    if cap not in LEVELS:
        raise ArgumentError(f"FASTSCRATCH_ISA={cap!r}: expected one of {', '.join(LEVELS)}")
    return cap


def _choose_level() -> tuple[str | None, str]:
    """The best level that is built, that the processor has and that the environment allows."""
    cap = _level_cap()
    if not build_info["built"]:
        return None, f"{build_info['reason']}; to mend it, {_MENDING}"
    try:
        supported = importlib.import_module(f"{__name__}._processor").supported_levels()
    except ImportError as error:
        return None, f"the compiled files do not fit this Python: {error}; to mend it, {_MENDING}"
    for level in reversed(LEVELS[: LEVELS.index(cap) + 1]):
        if level in supported and level in build_info["levels"]:
            if not any((_FOLDER / level).glob("calls.*")):
                return None, f"what was compiled is older than the Python files; {_AGAIN}"
            return level, ""
    return None, f"nothing was built for this processor; to mend it, {_MENDING}"


build_info: dict[str, Any] = _read_build_info()
"""What ``setup.py`` recorded: compiler, flags and levels, or the reason for their absence."""

level: str | None
"""The level that is loaded, or None."""

reason: str
"""Why the compiled kernels are not available, and how to mend it; empty if they are."""

level, reason = _choose_level()
__path__ = [] if level is None else [str(_FOLDER / level)]
