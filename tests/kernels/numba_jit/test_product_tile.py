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
    def run(rows, vectors, side_by_side, a, a_step, depth, b, init, init_row, out, out_row):
        tile(
            rows, vectors, side_by_side, a, 3, a_step, depth, b, 5,
            init, 1, init_row, out, 2, out_row,
        )  # fmt: skip

    rng = np.random.default_rng(0)
    side = vector_bytes // np.dtype(dtype).itemsize
    a, b, init = (rng.integers(-4, 5, 2000).astype(dtype) for _ in range(3))
    for vectors_each, most in ((2, rows_max), (3, triple_max)):
        step = vectors_each * side
        for rows in range(1, most + 1):
            for side_by_side, a_step, depth, init_row in [
                (0, 30, 21, step), (1, 17, 11, 0), (0, 9, 0, step), (1, 15, 3, step),
            ]:  # fmt: skip
                ref = np.full(2 + rows * (step + 1), 77, dtype)
                out = ref.copy()
                operands = a, a_step, depth, b, init, init_row
                run(rows, vectors_each, side_by_side, *operands, out, step + 1)
                product_tile.plain_product_tile(
                    rows, vectors_each, side_by_side, a, 3, a_step, depth, b, 5,
                    init, 1, init_row, ref, 2, step + 1,
                )  # fmt: skip
                np.testing.assert_array_equal(out, ref)


@pytest.mark.parametrize("width", [(16, 3), (32, 3), (64, 7)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_columns(width, dtype, monkeypatch):
    vector_bytes, most = width
    monkeypatch.setattr(vectors, "VECTOR_BYTES", vector_bytes)
    tile = product_tile.make_few_columns(vector_bytes, most, fused=vector_bytes > 16)

    @numba.njit
    def run(columns, a, a_step, depth, b, b_step, sums):
        tile(columns, a, 3, a_step, depth, b, 5, b_step, sums, 2)

    rng = np.random.default_rng(0)
    side = vector_bytes // np.dtype(dtype).itemsize
    a, b = (rng.integers(-4, 5, 2000).astype(dtype) for _ in range(2))
    for columns in range(1, most + 1):
        for depth, a_step, b_step in [(0, 9, 9), (1, 3 * side, 7), (21, 3 * side + 5, 33)]:
            ref = np.full(2 + 3 * side * columns + 1, 77, dtype)
            out = ref.copy()
            run(columns, a, a_step, depth, b, b_step, out)
            product_tile.plain_few_columns(columns, a, 3, a_step, depth, b, 5, b_step, ref, 2)
            np.testing.assert_array_equal(out, ref)


def test_the_loop_holds_its_sums_in_registers():
    """Each row adds two or three fused multiply-adds of full width; none goes through memory."""
    if not machine.FUSED:
        pytest.skip("this processor has no fused multiply-add")
    tile = product_tile.product_tile

    @numba.njit
    def run(rows, vectors, side_by_side, a, step, depth, b, out):
        tile(rows, vectors, side_by_side, a, 0, step, depth, b, 0, out, 0, 32, out, 0, 32)

    line = np.zeros(2000, np.float32)
    run(1, 2, 0, line, 1, 1, line, line)
    (code,) = run.inspect_asm().values()
    register = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[machine.VECTOR_BYTES]
    found: dict[int, list[tuple[list[str], int]]] = {}
    for block in re.split(r"^\.?\w+:", code, flags=re.MULTILINE):
        # LLVM puts what follows a loop into the same block.
        loop = block[: block.find("\tj")].splitlines()
        instructions = [line for line in loop if register in line]
        sums = [line for line in instructions if "vfmadd" in line]
        if sums:
            spills = [line for line in instructions if "rsp" in line]
            found.setdefault(len(sums), []).append((spills, len(loop)))
    shapes = [(rows, 2) for rows in range(1, machine.ROWS + 1)]
    shapes += [(rows, 3) for rows in range(1, machine.TRIPLE_ROWS + 1)]
    for rows, wide in shapes:
        count = rows * wide
        assert all(spills == [] for spills, _ in found[count]), f"{count} sums"
        if count in product_tile.UNROLLED_SUMS:
            loops = found[product_tile.UNROLLED * count]
            assert all(spills == [] for spills, _ in loops), f"{count} sums, unrolled"
            # Multiply-adds and loads, and hardly anything to find out the addresses.
            most = product_tile.UNROLLED * (count + rows + wide + 2)
            assert min(length for _, length in loops) <= most, f"{count} sums, unrolled"
