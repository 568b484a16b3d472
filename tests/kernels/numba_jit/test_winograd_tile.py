"""Transforms and products of tiles, compiled for each width of vectors, against plain NumPy."""

import re

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import machine, vectors, winograd_tile
from fastscratch.kernels.numba_jit.winograd_points import FILTERINGS
from fastscratch.kernels.numba_jit.winograd_tile import kind_of

needs_jit = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")

WIDTHS = [(16, 6), (32, 6), (64, 14)]
KINDS = {
    f"{factor}_{name}_{taps}{'_line' * lines}": kind_of(filtering, factor, **options)
    for (name, taps, lines), filtering in FILTERINGS.items()
    for factor, options in (
        ("source", {"shared": 0 if lines else taps - 1}),
        ("weight", {}),
        ("output", {"added": True}),
        ("gradient", {"summed": True}),
        ("sums", {}),
    )
}


def matrix_of(program, side):
    """A program is linear: what it makes of the unit vectors is its matrix."""
    return np.array(program(list(np.eye(side)))).reshape(-1, side)


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width[0]}_bytes")
def width(request, monkeypatch):
    """Bytes of a vector and rows of the tile, with the plain functions set to the same."""
    monkeypatch.setattr(vectors, "VECTOR_BYTES", request.param[0])
    return request.param


@needs_jit
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vectors", [1, 2])
def test_tile_product(width, dtype, vectors):
    vector_bytes, most = width
    tile_product = winograd_tile.make_product(vector_bytes, most, vector_bytes > 16, vectors)
    plain = winograd_tile.make_plain_product(vectors)

    @numba.njit
    def run(rows, a, row, k, depth, b, side, out, adding):
        tile_product(rows, a, 3, row, k, depth, b, 5, side + 2, out, 2, side + 1, adding)

    rng = np.random.default_rng(0)
    side = vectors * vector_bytes // np.dtype(dtype).itemsize
    a = rng.integers(-4, 5, 600).astype(dtype)
    b = rng.integers(-4, 5, 5 + 20 * (side + 2)).astype(dtype)
    for rows in range(1, most + 1):
        for row, k, depth, adding in [(21, 1, 20, 0), (1, 15, 17, 1), (21, 1, 0, 0), (3, 2, 0, 1)]:
            ref = rng.integers(-4, 5, 2 + rows * (side + 1)).astype(dtype)
            out = ref.copy()
            run(rows, a, row, k, depth, b, side, out, adding)
            plain(rows, a, 3, row, k, depth, b, 5, side + 2, ref, 2, side + 1, adding)
            np.testing.assert_array_equal(out, ref)


@needs_jit
@pytest.mark.parametrize("name", KINDS)
def test_transform(width, name):
    """One dtype for each width: every transform takes half a second to compile."""
    kind = KINDS[name]
    dtype = np.float64 if width[0] == 32 else np.float32
    compiled = winograd_tile.make_transform(kind, width[0], fused=width[0] > 16)

    @numba.njit
    def run(count, src, src_row, src_col, src_next, dst, dst_row, dst_col):
        compiled(
            count, 2, src, 150, src_row, src_col, src_next,
            dst, 3, dst_row, dst_col, 7 * dst_row,
        )  # fmt: skip

    rng = np.random.default_rng(0)
    side = 2 * width[0] // np.dtype(dtype).itemsize
    src = 16 * rng.integers(-4, 5, 5000).astype(dtype)
    plain = winograd_tile.make_plain_transform(kind)
    step = kind.columns - kind.shared
    row = 7 * side if kind.spread is None else 46 * side
    for count, src_row, src_col in [(1, 9 * side, side + 1), (3, -3, -1), (0, 1, 1)]:
        out, ref = np.zeros((2, 3 + 3 * 7 * row), dtype)
        run(count, src, src_row, src_col, step * src_col, out, row, side)
        plain(
            count, 2, src, 150, src_row, src_col, step * src_col, ref, 3, row, side, 7 * row
        )  # fmt: skip
        # Products are rounded, or not, before they are added.
        exact = "winograd4" not in name
        np.testing.assert_allclose(out, ref, rtol=0, atol=0 if exact else 1e-5 * abs(src).max())


@pytest.mark.parametrize("name", KINDS)
def test_the_plain_transform_is_the_product_of_three_matrices(name):
    """Between those of the axes, and what takes both to the points and back. Lines have one."""
    kind = KINDS[name]
    matrix = matrix_of(kind.program, kind.side)
    across = np.eye(1) if kind.lines else matrix
    width = vectors.lanes_of(np.dtype(np.float32))
    rng = np.random.default_rng(0)
    src = rng.integers(-9, 9, (kind.rows + 1, kind.line, width)).astype(np.float32)
    values = np.array(kind.gather(src[0]) if kind.gather else src[: kind.rows])
    ref = np.einsum("ia,abv,jb->ijv", matrix, values, across)
    ref = np.array([kind.spread(ref)] if kind.spread else ref) + kind.added * src[kind.rows, 0]
    rows, columns = ref.shape[:2]
    dst = np.zeros((rows + 1, columns, width), np.float32)
    winograd_tile.make_plain_transform(kind)(
        1, 1, src.ravel(), 0, kind.line * width, width, 0,
        dst.reshape(-1), 0, columns * width, width, 0,
    )  # fmt: skip
    np.testing.assert_allclose(dst[:rows], ref, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(dst[rows, 0], kind.summed * values.sum(axis=(0, 1)))


def at_points(filtering, factor, block):
    """A factor of both axes, or of a line, at the points."""
    matrix = matrix_of(getattr(filtering, factor), len(block))
    values = matrix @ block if filtering.lines else matrix @ block @ matrix.T
    meeting = filtering.meeting
    return np.array(getattr(meeting, factor)(values)) if meeting else values.ravel()


def of_points(filtering, factor, points):
    """The way back."""
    side = filtering.side
    matrix = matrix_of(getattr(filtering, factor), side)
    meeting = filtering.meeting
    values = getattr(meeting, factor)(points) if meeting else points.reshape(side, side)
    result = matrix @ np.array(values)
    return result if filtering.lines else result @ matrix.T


def correlate(image, window):
    """The plain sum, in every place where the window is inside."""
    return np.einsum("ijab,ab->ij", np.lib.stride_tricks.sliding_window_view(image, window.shape),
                     window)  # fmt: skip


@pytest.mark.parametrize(("name", "taps", "lines"), FILTERINGS)
@pytest.mark.parametrize("whole", [True, False])
def test_the_programs_filter(name, taps, lines, whole):
    """Outputs and both ways back: exact for whole numbers where that is promised."""
    filtering = FILTERINGS[name, taps, lines]
    rng = np.random.default_rng(0)
    d, g, dy = (
        rng.integers(-9, 9, shape).astype(float) if whole else rng.standard_normal(shape)
        for n in (filtering.side, taps, filtering.step)
        for shape in [(n, 1 if lines else n)]
    )
    source = at_points(filtering, "source", d)
    assert source.size == filtering.points
    y = of_points(filtering, "output", source * at_points(filtering, "weight", g))
    dw = of_points(filtering, "sums", source * at_points(filtering, "gradient", dy))
    if whole and name != "winograd4":
        np.testing.assert_array_equal(y, correlate(d, g))
        np.testing.assert_array_equal(dw, correlate(d, dy))
    np.testing.assert_allclose(y, correlate(d, g), rtol=0, atol=1e-12 * 81 * taps**2)
    np.testing.assert_allclose(dw, correlate(d, dy), rtol=0, atol=1e-12 * 81 * 16)


@needs_jit
def test_the_loop_holds_its_sums_in_registers():
    """Each row adds two fused multiply-adds of full width; none goes through memory."""
    if not machine.FUSED:
        pytest.skip("this processor has no fused multiply-add")
    tile_product = winograd_tile.product_of(2)

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


@needs_jit
def test_neighbours_share_their_first_transform():
    """F(2x2) of the source: nothing is multiplied, and a block adds what is new in it alone."""
    transform = winograd_tile.make_transform(KINDS["source_winograd2_3"], 16, fused=False)

    @numba.njit
    def run(count, src, dst):
        transform(count, 1, src, 0, 64, 4, 8, dst, 0, 16, 4, 64)

    run(0, np.zeros(64, np.float32), np.zeros(64, np.float32))
    (code,) = run.inspect_llvm().values()
    vector = r"<4 x float>"
    assert not re.search(rf"fmul.*{vector}", code)
    # Two columns before the first block; two and four rows in each, which LLVM unrolls for some
    # processors.
    sums = len(re.findall(rf"f(?:add|sub) .*{vector}", code))
    assert sums in [4 * (2 + blocks * (2 + 4)) for blocks in range(1, 9)]
    assert re.search(rf"phi {vector}", code), "no column is carried from a block to the next"
