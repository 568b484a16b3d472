"""What the kernels may know of the processor: the width of its vectors and its multiply-add."""

import os
import platform

import llvmlite.binding as llvm

_WIDTHS = {"base": 16, "avx2": 32, "avx512": 64}


def host_features() -> frozenset[str]:
    """Names, as LLVM spells them, of what the processor (and its operating system) can do."""
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def vector_bytes(features: frozenset[str], cap: str = "") -> int:
    """Width of the vectors to compute in, for a processor and for a ``FASTSCRATCH_ISA``."""
    widest = 16
    if {"avx2", "fma"} <= features:
        widest = 32
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= features:
        widest = 64
    return min(widest, _WIDTHS.get(cap, widest))


def register_class(width: int) -> str | None:
    """What assembly calls the registers of vectors, where one holds so many bytes.

    Of x86 alone: the tiles that other processors get leave half of their registers free.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return "v" if x86 and width <= vector_bytes(host_features()) else None


# FASTSCRATCH_VECTOR_BYTES forces a width that the processor need not have (LLVM splits what is too
# wide): for testing the kernels of one machine on another.
VECTOR_BYTES = int(
    os.environ.get("FASTSCRATCH_VECTOR_BYTES")
    or vector_bytes(host_features(), os.environ.get("FASTSCRATCH_ISA", ""))
)
"""Width in bytes of the vectors that the tile computes in: 16, 32 or 64."""

FUSED = bool({"fma", "avx512f", "neon"} & host_features())
"""Whether the processor multiplies and adds in one step."""

MASKS = VECTOR_BYTES == 64
"""Whether some lanes of a vector can be loaded and stored alone."""

MASKED_LOADS = VECTOR_BYTES >= 32
"""Whether they can be loaded."""

ROWS = 14 if VECTOR_BYTES == 64 else 6
"""Rows of the register tile: with two vectors each, what the register file holds."""

ADDRESSED_ROWS = min(9, ROWS)
"""Rows of a tile that has an address for each: with the sums of 14, they do not fit the registers.

Backward weight, whose rows lie anywhere, takes 0.8 to 0.95 of the time with nine of them.
"""

FEW_COLUMNS = ROWS // 2
"""The most columns of a product whose vectors lie along the rows instead, three for each column."""

TRIPLE_ROWS = 9 if VECTOR_BYTES == 64 else 4
"""The same with three vectors each: for the last of an odd number of them."""
