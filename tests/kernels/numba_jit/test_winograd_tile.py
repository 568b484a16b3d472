"""Transforms and products of tiles, compiled for each width of vectors, against plain NumPy."""

import re

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import machine, vectors, winograd_blocks, winograd_tile

needs_jit = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")

WIDTHS = [(16, 6), (32, 6), (64, 14)]
MATRICES = {
    "source": winograd_blocks.SOURCE,
    "weight": winograd_blocks.WEIGHT,
    "output": winograd_blocks.OUTPUT,
    "gradient": winograd_tile.turned_round(winograd_blocks.OUTPUT),
    "sums": winograd_tile.turned_round(winograd_blocks.WEIGHT),
    "factors": ((4, 0, -5, 0.5), (0.25, 1, 0, -2), (-0.5, 0, -0.5, -0.5)),
}


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width[0]}_bytes")
def width(request, monkeypatch):
    """Bytes of a vector and rows of the tile, with the plain functions set to the same."""
    monkeypatch.setattr(vectors, "VECTOR_BYTES", request.param[0])
    return request.param


@needs_jit
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tile_product(width, dtype):
    vector_bytes, most = width
    tile_product = winograd_tile.make_product(vector_bytes, most, fused=vector_bytes > 16)

    @numba.njit
    def run(rows, a, row, k, depth, b, side, out, adding):
        tile_product(rows, a, 3, row, k, depth, b, 5, side + 2, out, 2, side + 1, adding)

    rng = np.random.default_rng(0)
    side = 2 * vector_bytes // np.dtype(dtype).itemsize
    a = rng.integers(-4, 5, 600).astype(dtype)
    b = rng.integers(-4, 5, 5 + 20 * (side + 2)).astype(dtype)
    for rows in range(1, most + 1):
        for row, k, depth, adding in [(21, 1, 20, 0), (1, 15, 17, 1), (21, 1, 0, 0), (3, 2, 0, 1)]:
            ref = rng.integers(-4, 5, 2 + rows * (side + 1)).astype(dtype)
            out = ref.copy()
            run(rows, a, row, k, depth, b, side, out, adding)
            winograd_tile.plain_tile_product(
                rows, a, 3, row, k, depth, b, 5, side + 2, ref, 2, side + 1, adding
            )
            np.testing.assert_array_equal(out, ref)


@needs_jit
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MATRICES)
def test_transform(width, dtype, name):
    matrix = MATRICES[name]
    compiled = winograd_tile.make_transform(matrix, width[0], fused=width[0] > 16)

    @numba.njit
    def run(vectors, src, src_row, src_col, dst, dst_row, dst_col):
        compiled(vectors, src, 100, src_row, src_col, dst, 3, dst_row, dst_col)

    rng = np.random.default_rng(0)
    side = 2 * width[0] // np.dtype(dtype).itemsize
    src = 16 * rng.integers(-4, 5, 1000).astype(dtype)
    for src_row, src_col in [(5 * side, side + 1), (-3, -1)]:
        out, ref = np.zeros((2, 3 + 16 * side), dtype)
        run(2, src, src_row, src_col, out, 4 * side, side)
        plain = winograd_tile.make_plain_transform(matrix)
        plain(2, src, 100, src_row, src_col, ref, 3, 4 * side, side)
        np.testing.assert_array_equal(out, ref)


@pytest.mark.parametrize("name", MATRICES)
def test_the_plain_transform_is_the_product_of_three_matrices(name):
    matrix = np.array(MATRICES[name])
    rows, columns = matrix.shape
    side = vectors.lanes_of(np.dtype(np.float32))
    src = np.random.default_rng(0).integers(-9, 9, (columns, columns, side)).astype(np.float32)
    dst = np.zeros((rows, rows, side), np.float32)
    winograd_tile.make_plain_transform(MATRICES[name])(
        1, src.ravel(), 0, columns * side, side, dst.reshape(-1), 0, rows * side, side
    )
    np.testing.assert_allclose(dst, np.einsum("ia,abv,jb->ijv", matrix, src, matrix), rtol=1e-6)


@needs_jit
def test_the_loop_holds_its_sums_in_registers():
    """Each row adds two fused multiply-adds of full width; none goes through memory."""
    if not machine.FUSED:
        pytest.skip("this processor has no fused multiply-add")
    tile_product = winograd_tile.tile_product

    @numba.njit
    def run(rows, a, row, k, depth, b, out):
        tile_product(rows, a, 0, row, k, depth, b, 0, 16, out, 0, 16, 0)

    line = np.zeros(64, np.float32)
    run(1, line, 1, 1, 1, line, line)
    (code,) = run.inspect_asm().values()
    register = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[machine.VECTOR_BYTES]
    found = {}
    for block in re.split(r"^\.?\w+:", code, flags=re.MULTILINE):
        instructions = [line for line in block.splitlines() if register in line]
        sums = [line for line in instructions if "vfmadd" in line]
        if sums:
            found[len(sums)] = [line for line in instructions if "rsp" in line]
    for rows in range(1, machine.ROWS + 1):
        assert found[2 * rows] == [], f"{rows} rows"


def test_what_is_multiplied_by_one_or_nothing_is_only_added():
    """The transform of the source has no product at all, and shares no more than it must."""
    if not compiling.JIT:
        pytest.skip("there is nothing to compile")
    transform = winograd_tile.make_transform(winograd_blocks.SOURCE, 16, fused=False)

    @numba.njit
    def run(src, dst):
        transform(1, src, 0, 16, 4, dst, 0, 16, 4)

    run(np.zeros(64, np.float32), np.zeros(64, np.float32))
    (code,) = run.inspect_llvm().values()
    vector = r"<4 x float>"
    assert not re.search(rf"fmul.*{vector}", code)
    assert len(re.findall(rf"f(?:add|sub).*{vector}", code)) == 32
