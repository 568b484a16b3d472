"""Scratch memory: aligned, one block a call at a time, kept for the next, and no more than that."""

import gc
import importlib
import itertools

import pytest


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
