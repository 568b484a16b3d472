"""Sums of windows that lie anywhere, compiled for each width of vectors, against plain loops."""

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import scattered, vectors

pytestmark = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scattered_sums(vector_bytes, dtype, monkeypatch):
    monkeypatch.setattr(vectors, "VECTOR_BYTES", vector_bytes)
    compiled = scattered.make_scattered_sums(vector_bytes, fused=vector_bytes > 16)

    @numba.njit
    def run(rows, x, row_offset, place, value, pairs, sums):
        compiled(rows, x, 3, row_offset, 1, place, 2, value, 1, pairs, sums, 2)

    rng = np.random.default_rng(0)
    x, value = (rng.integers(-4, 5, size).astype(dtype) for size in (200, 30))
    place, row_offset = rng.integers(0, 90, 30), rng.integers(0, 80, 8)
    width = vector_bytes // np.dtype(dtype).itemsize
    for rows in range(1, scattered.SCATTERED_ROWS + 1):
        for pairs in (0, 1, 9):
            ref = np.full(4 + rows * width, 7, dtype)
            out = ref.copy()
            run(rows, x, row_offset, place, value, pairs, out)
            scattered.plain_scattered_sums(
                rows, x, 3, row_offset, 1, place, 2, value, 1, pairs, ref, 2
            )
            np.testing.assert_array_equal(out, ref)
