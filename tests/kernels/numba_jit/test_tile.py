"""The register tile, compiled for each width of vectors, against its plain loops."""

import itertools
import re

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import machine, tile, vectors

pytestmark = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")

WIDTHS = [(16, 6), (32, 6), (64, 14)]


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width[0]}_bytes")
def made(request, monkeypatch):
    """The compiled functions for a width, with the plain ones set to the same width."""
    vector_bytes, rows = request.param
    monkeypatch.setattr(vectors, "VECTOR_BYTES", vector_bytes)
    return vector_bytes, rows, tile.make_tiles(vector_bytes, rows, fused=vector_bytes > 16)


def integers(rng, *shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tile_rows(made, dtype):
    vector_bytes, most, (tile_rows, *_) = made

    @numba.njit
    def run(rows, vectors, a, row_offsets, k_offsets, start, stop, b, width, out):
        tile_rows(
            rows, vectors, a, 3, row_offsets, 1, k_offsets, start, stop, b, 5, width,
            out, 2, width + 1,
        )  # fmt: skip

    rng = np.random.default_rng(0)
    width = 2 * vector_bytes // np.dtype(dtype).itemsize
    a = integers(rng, 500, dtype=dtype)
    anywhere = rng.permutation(40)[: most + 1]
    evenly = 7 + 2 * np.arange(most + 1)
    k_offsets = rng.permutation(400)[:20]
    b = integers(rng, 5 + 20 * width, dtype=dtype)
    for rows, count in itertools.product(range(1, most + 1), (1, 2)):
        row_offsets = anywhere if rows <= machine.ADDRESSED_ROWS else evenly
        for start, stop in [(0, 20), (3, 4), (7, 7)]:
            ref = integers(rng, 2 + rows * (width + 1), dtype=dtype)
            out = ref.copy()
            run(rows, count, a, row_offsets, k_offsets, start, stop, b, width, out)
            tile.plain_tile_rows(
                rows, count, a, 3, row_offsets, 1, k_offsets, start, stop, b, 5, width,
                ref, 2, width + 1,
            )  # fmt: skip
            np.testing.assert_array_equal(out, ref)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tile_pixels(made, dtype):
    vector_bytes, _, (_, tile_pixels, *_) = made

    @numba.njit
    def run(rows, a, k_offsets, start, stop, b, out, stride):
        tile_pixels(rows, a, 2, 30, k_offsets, start, stop, b, 3, out, 1, stride)

    rng = np.random.default_rng(0)
    side = vector_bytes // np.dtype(dtype).itemsize
    a = integers(rng, 2 + 4 * 30, dtype=dtype)
    k_offsets = rng.permutation(100)[:25]
    b = integers(rng, 103 + 8 * side, dtype=dtype)
    for rows in range(1, tile.PIXEL_ROWS + 1):
        stride = tile.PIXEL_VECTORS[rows] * side + 3
        for start, stop in [(0, 25), (24, 25), (5, 5)]:
            ref = integers(rng, 1 + rows * stride, dtype=dtype)
            out = ref.copy()
            run(rows, a, k_offsets, start, stop, b, out, stride)
            tile.plain_tile_pixels(rows, a, 2, 30, k_offsets, start, stop, b, 3, ref, 1, stride)
            np.testing.assert_array_equal(out, ref)


def test_tile_wide(made):
    vector_bytes, *_ = made
    dtype = np.float64 if vector_bytes == 32 else np.float32
    tile_wide = tile.make_wide_tile(vector_bytes, fused=vector_bytes > 16)

    @numba.njit
    def run(rows, a, k_offsets, depth, b, places, bias, adding, out, stride, targets):
        tile_wide(
            rows, a, 2, k_offsets, 1, depth, b, 3, places, 2, bias, 1, adding,
            out, 4, stride, targets, 5,
        )  # fmt: skip

    rng = np.random.default_rng(0)
    side = vector_bytes // np.dtype(dtype).itemsize
    a, bias = integers(rng, 400, dtype=dtype), integers(rng, 20, dtype=dtype)
    k_offsets, places = rng.permutation(100)[:26], rng.permutation(50)[:10]
    b = integers(rng, 160 + side, dtype=dtype)
    targets = rng.permutation(13) * side
    stride = 13 * side + 1
    for rows in range(1, tile.WIDE_ROWS + 1):
        for depth, adding in [(25, 0), (25, 1), (0, 0), (1, 1)]:
            ref = integers(rng, 4 + rows * stride, dtype=dtype)
            out = ref.copy()
            run(rows, a, k_offsets, depth, b, places, bias, adding, out, stride, targets)
            tile.plain_tile_wide(
                rows, a, 2, k_offsets, 1, depth, b, 3, places, 2, bias, 1, adding,
                ref, 4, stride, targets, 5,
            )  # fmt: skip
            np.testing.assert_array_equal(out, ref)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transpose_block(made, dtype):
    vector_bytes, _, (_, _, transpose_block) = made

    @numba.njit
    def run(src, src_stride, dst, dst_stride):
        transpose_block(src, 1, src_stride, dst, 2, dst_stride)

    side = vector_bytes // np.dtype(dtype).itemsize
    src = np.arange(1 + side * (side + 3), dtype=dtype)
    out, ref = np.zeros((2, 2 + side * (side + 1)), dtype)
    run(src, side + 3, out, side + 1)
    tile.plain_transpose_block(src, 1, side + 3, ref, 2, side + 1)
    np.testing.assert_array_equal(out, ref)
    assert np.count_nonzero(out) == side * side


@pytest.mark.skipif(machine.VECTOR_BYTES < 64, reason="parts of vectors are moved one by one")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 8), (8, 5), (7, 7), (0, 2), (2, 0)])
def test_transpose_part(dtype, rows, cols):
    """Neither array has an element more than it needs."""
    part = tile.transpose_part

    @numba.njit
    def run(src, src_stride, rows, cols, dst, dst_stride):
        part(src, 1, src_stride, rows, cols, dst, 2, dst_stride)

    src = np.arange(1 + rows * cols, dtype=dtype)
    out, ref = np.full((2, 2 + rows * cols), -1, dtype)
    run(src, cols, rows, cols, out, rows)
    ref[2:] = src[1:].reshape(rows, cols).T.ravel()
    np.testing.assert_array_equal(out, ref)


def test_the_loop_holds_its_sums_in_registers():
    """Each row adds one or two fused multiply-adds of full width; none goes through memory."""
    if not machine.FUSED:
        pytest.skip("this processor has no fused multiply-add")
    make = tile.tile_rows

    @numba.njit
    def run(rows, vectors, a, offsets, stop, b, out):
        make(rows, vectors, a, 0, offsets, 0, offsets, 0, stop, b, 0, 16, out, 0, 16)

    line = np.zeros(64, np.float32)
    run(1, 1, line, np.zeros(16, np.intp), 1, line, line)
    found = spills_by_sums(run)
    for sums in (*range(1, machine.ROWS), *range(2, 2 * machine.ROWS + 1, 2)):
        assert found[sums] == [], f"{sums} sums"


def test_the_wide_loop_holds_its_sums_in_registers():
    if not machine.FUSED:
        pytest.skip("this processor has no fused multiply-add")
    make = tile.tile_wide

    @numba.njit
    def run(rows, a, offsets, depth, b, out):
        make(
            rows, a, 0, offsets, 0, depth, b, 0, offsets, 0, a, 0, 0, out, 0, 16, offsets, 0
        )  # fmt: skip

    line = np.zeros(64, np.float32)
    run(1, line, np.zeros(16, np.intp), 1, line, line)
    found = spills_by_sums(run)
    for rows in range(1, tile.WIDE_ROWS + 1):
        assert found[rows * tile.WIDE_VECTORS[rows]] == [], f"{rows} rows"


def spills_by_sums(run):
    """Accesses to the stack in each block that multiplies and adds, by the number of its sums."""
    (code,) = run.inspect_asm().values()
    register = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[machine.VECTOR_BYTES]
    found: dict[int, list[str]] = {}
    for block in re.split(r"^\.?\w+:", code, flags=re.MULTILINE):
        instructions = [line for line in block.splitlines() if register in line]
        sums = [line for line in instructions if "vfmadd" in line]
        if sums:
            found.setdefault(len(sums), []).extend(line for line in instructions if "rsp" in line)
    return found
