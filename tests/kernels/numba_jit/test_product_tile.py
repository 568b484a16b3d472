"""The tile of products, compiled for each width of vectors, against its plain loops."""

import re

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import machine, product_tile, vectors

pytestmark = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")


@pytest.mark.parametrize("width", [(16, 6, 4), (32, 6, 4), (64, 14, 9)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_tile(width, dtype, monkeypatch):
    vector_bytes, rows_max, triple_max = width
    monkeypatch.setattr(vectors, "VECTOR_BYTES", vector_bytes)
    tile = product_tile.make_product_tile(
        vector_bytes, rows_max, triple_max, fused=vector_bytes > 16
    )

    @numba.njit
    def run(rows, vectors, a, a_row, a_k, depth, b, b_k, init, init_row, out, out_row):
        tile(rows, vectors, a, 3, a_row, a_k, depth, b, 5, b_k, init, 1, init_row, out, 2, out_row)

    rng = np.random.default_rng(0)
    side = vector_bytes // np.dtype(dtype).itemsize
    a, b, init = (rng.integers(-4, 5, 2000).astype(dtype) for _ in range(3))
    for vectors_each, most in ((2, rows_max), (3, triple_max)):
        step = vectors_each * side
        for rows in range(1, most + 1):
            for a_row, a_k, depth, init_row in [(30, 1, 20, step), (1, 17, 11, 0), (9, 1, 0, step)]:
                ref = np.full(2 + rows * (step + 1), 77, dtype)
                out = ref.copy()
                operands = a, a_row, a_k, depth, b, step + 2, init, init_row
                run(rows, vectors_each, *operands, out, step + 1)
                product_tile.plain_product_tile(
                    rows, vectors_each, a, 3, a_row, a_k, depth, b, 5, step + 2,
                    init, 1, init_row, ref, 2, step + 1,
                )  # fmt: skip
                np.testing.assert_array_equal(out, ref)


def test_the_loop_holds_its_sums_in_registers():
    """Each row adds two or three fused multiply-adds of full width; none goes through memory."""
    if not machine.FUSED:
        pytest.skip("this processor has no fused multiply-add")
    tile = product_tile.product_tile

    @numba.njit
    def run(rows, vectors, a, row, k, depth, b, out):
        tile(rows, vectors, a, 0, row, k, depth, b, 0, 32, out, 0, 32, out, 0, 32)

    line = np.zeros(2000, np.float32)
    run(1, 2, line, 1, 1, 1, line, line)
    (code,) = run.inspect_asm().values()
    register = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[machine.VECTOR_BYTES]
    found = {}
    for block in re.split(r"^\.?\w+:", code, flags=re.MULTILINE):
        instructions = [line for line in block.splitlines() if register in line]
        sums = [line for line in instructions if "vfmadd" in line]
        if sums:
            found[len(sums)] = [line for line in instructions if "rsp" in line]
    counts = [2 * rows for rows in range(1, machine.ROWS + 1)]
    counts += [3 * rows for rows in range(1, machine.TRIPLE_ROWS + 1)]
    for count in counts:
        assert found[count] == [], f"{count} sums"
