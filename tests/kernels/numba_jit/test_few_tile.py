"""The tiles of products of one row, compiled for each width of vectors, against plain loops."""

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import few_tile, vectors

pytestmark = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")


@pytest.mark.parametrize(
    ("vector_bytes", "dtype"),
    [(16, np.float32), (32, np.float64), (32, np.float32), (64, np.float32)],
)
def test_few_tiles(vector_bytes, dtype, monkeypatch):
    monkeypatch.setattr(vectors, "VECTOR_BYTES", vector_bytes)
    lines, dots = few_tile.make_few_tiles(vector_bytes, fused=vector_bytes > 16)

    @numba.njit
    def run_lines(fresh, count, a, a_step, b, b_step, width, out):
        lines(fresh, count, a, 20, a_step, b, 30, b_step, width, out, 2)

    @numba.njit
    def run_dots(skip, a, b, b_step, depth, out):
        dots(skip, a, 20, b, 30, b_step, depth, out, 2)

    rng = np.random.default_rng(0)
    side = vector_bytes // np.dtype(dtype).itemsize
    a = rng.integers(-4, 5, 20 + 50).astype(dtype)
    b = rng.integers(-4, 5, 30 + 50 * 5 * side).astype(dtype)
    b[:14] = np.nan  # read, for the first row lies close to them, and not counted
    a[:4] = np.nan
    start = rng.integers(-4, 5, 4 + 5 * side).astype(dtype)

    def compare(run, plain, run_arguments, plain_arguments):
        out, ref = start.copy(), start.copy()
        run(*run_arguments, out)
        plain(*plain_arguments, ref, 2)
        np.testing.assert_array_equal(out, ref)

    for count in range(1, few_tile.LINES + 1):
        for width in (side, side + 1, 2 * side - 1, 4 * side):
            for fresh in (False, True):
                operands = b, 30, width + 3, width
                compare(
                    run_lines, few_tile.plain_add_lines, (fresh, count, a, 3, b, width + 3, width),
                    (fresh, count, a, 20, 3, *operands),
                )  # fmt: skip
    for skip in (0, 1, side - 1):
        for depth in (1, side - 1, side, 2 * side + 1, 50):
            step = depth + 2 * side
            compare(
                run_dots, few_tile.plain_add_dots, (skip, a, b, step, depth),
                (skip, a, 20, b, 30, step, depth),
            )  # fmt: skip
