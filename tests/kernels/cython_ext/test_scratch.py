"""Scratch memory: aligned, one block a call at a time, kept for the next, and no more than that."""

import ctypes
import gc
import importlib
import itertools
import re

import numpy as np
import pytest

from fastscratch.dispatch.choose import candidates
from fastscratch.dispatch.measure import operands
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import parse_problem

SHAPES = {
    "conv2d": [
        "n1c1h8w8:oc8k3s1p1", "n4c6h9w9:oc32k3s2p1floor", "n2c5h14w12:oc4k3s1p1floor",
        "n3c20h7w9:oc40k1s1p0floor", "n2c6h14w14:oc6k3s1p1g6floor", "n2c16h10w11:oc48k3s1p1floor",
        "n5c3h12w11:oc33k5s1p2floor", "n2c33h6w5:oc3k3s1p1floor",
    ],
    "max_pool2d": ["n2c3h9w11:k3s2p1floor", "n2c3h40w40:k2s2p0floor", "n1c2h9w9:k3s1p1floor"],
    "avg_pool2d": ["n2c3h9w11:k3s2p1floor", "n1c2h9w9:k3s1p1floor"],
    "dense": ["n5i30:o17", "n100i784:o50"],
    "conv2d_relu_max_pool2d": ["n3c6h14w14:oc16k5s1p0m2", "n3c1h12w12:oc5k3s1p1m2"],
}  # fmt: skip
"""Problems whose extents are no multiples of a vector's, for each way that kernels have."""


@pytest.fixture
def scratch(require_backend):
    require_backend("cython")
    return importlib.import_module("fastscratch.kernels.cython_ext.scratch").Scratch


@pytest.mark.parametrize("size", [0, 1, 63, 4096, 1_000_001])
def test_blocks_are_aligned(scratch, size):
    assert scratch(size).address % 64 == 0


def test_blocks_in_use_are_apart(scratch):
    size = 100_000
    blocks = [scratch(size) for _ in range(10)]
    addresses = sorted(block.address for block in blocks)
    assert all(after - before >= size for before, after in itertools.pairwise(addresses))


def test_a_returned_block_is_used_again(scratch):
    block = scratch(3_000_001)
    address = block.address
    del block
    gc.collect()
    assert scratch(2_999_999).address == address


def test_too_much_is_a_memory_error(scratch):
    with pytest.raises(MemoryError, match="no memory for 4611686018427387904 bytes"):
        scratch(2**62)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("group", SHAPES)
def test_what_kernels_leave_is_no_denormal_number(scratch, group, threads, dtype):
    # Vectors of the next call reach into it, and would take a hundred cycles for each.
    release = importlib.import_module(scratch.__module__).release_kept
    tiny = np.finfo(np.float32 if dtype == "f32" else np.float64).tiny
    tried = 0
    for op in OPS:
        for shape in SHAPES[group] if re.fullmatch(f"{group}_(forward|backward.*)", op) else ():
            problem = parse_problem(f"{op}:{dtype}:{shape}")
            arguments = OPS[op].arguments(problem)
            for entry, reason in candidates(problem):
                if reason or entry.backend != "cython":
                    continue
                release()
                entry.load()(*operands(problem), *arguments, threads)
                block = scratch(1)  # what the call has left
                count = block.capacity // tiny.itemsize
                memory = ctypes.string_at(block.address, count * tiny.itemsize)
                left = np.abs(np.frombuffer(memory, tiny.dtype))
                assert not np.any((left > 0) & (left < tiny)), f"{entry.name}: {problem}"
                tried += 1
    assert tried > 1
