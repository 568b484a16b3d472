"""Depthwise windows over narrow planes, compiled for each width of vectors, against plain loops."""

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import narrow_tile, vectors

pytestmark = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")


@pytest.fixture(params=[(16, np.float32), (32, np.float64), (64, np.float32), (64, np.float64)])
def tiles(request, monkeypatch):
    vector_bytes, dtype = request.param
    monkeypatch.setattr(vectors, "VECTOR_BYTES", vector_bytes)
    sums, dots = narrow_tile.make_narrow_tiles(vector_bytes, fused=vector_bytes > 16)

    @numba.njit
    def run_sums(
        kind, taps, step, weight, start, src, height, width, top, left, out, rows, cols, spill
    ):
        sums(
            kind, taps, step, weight, 2, start, src, 5, height, width, top, left,
            out, 3, rows, cols, spill,
        )  # fmt: skip

    @numba.njit
    def run_dots(step, a, rows, cols, b, height, width, top, left, step_h, step_w, out):
        dots(step, a, 4, rows, cols, b, 5, height, width, top, left, step_h, step_w, out, 1)

    return np.dtype(dtype), vector_bytes // np.dtype(dtype).itemsize, run_sums, run_dots


def plane(rng, dtype, before, height, width):
    """Whole numbers, and NaN around them: what lies outside a plane is not to be read."""
    array = np.full(before + height * width + 3, np.nan, dtype)
    array[before : before + height * width] = rng.integers(-4, 5, height * width)
    return array


@pytest.mark.parametrize("height", narrow_tile.NARROW_HEIGHTS)
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1), (5, 0), (-1, -1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_sums(height, padding, stride, tiles):
    dtype, side, run, _ = tiles
    rng = np.random.default_rng(height)
    top, bottom = padding
    for rows, cols, kernel_w, step, left in (
        (7, side, 3, 1, 1), (8, side - 1, 3, 1, 0), (15, 1, 1, 1, 0), (9, side, 2, 3, 4),
        (7, side // 2, 3, 1, 1), (5, side, 3, 1, 1), (4, side - 1, 2, 1, 0),
    ):  # fmt: skip
        H = (rows - 1) * stride + height - top - bottom
        W = max((cols - 1) * stride + 1 + (kernel_w - 1) * step - 2 * left, 1)
        weight = rng.integers(-4, 5, 2 + height * kernel_w).astype(dtype)
        src = plane(rng, dtype, 5, H, W)
        out = rng.integers(-4, 5, 3 + rows * cols + side).astype(dtype)
        ref = out.copy()
        kind = narrow_tile.narrow_kind(
            height, top, bottom, narrow_tile.step_of(stride, rows, cols, side)
        )
        taps = height * kernel_w
        window = kind, taps, step, weight
        room = rows - (side + cols - 1) // cols + 1
        for spill in (0, room):
            run(*window, 1.0, src, H, W, top, left, out, rows, cols, spill)
            narrow_tile.plain_narrow_sums(
                *window, 2, 1.0, src, 5, H, W, top, left, ref, 3, rows, cols, spill
            )  # fmt: skip
            np.testing.assert_array_equal(out, ref)


@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (4, 4), (-1, 0)])
@pytest.mark.parametrize("stride", [1, 2])
def test_dots(padding, stride, tiles, monkeypatch):
    dtype, side, _, run = tiles
    monkeypatch.setattr(narrow_tile, "lanes_of", lambda array: side)
    rng = np.random.default_rng(0)
    top, left = padding
    taps = narrow_tile.NARROW_DOTS**2
    for rows, cols, step_h, step_w in (
        (1, side, 1, 1), (6, side - 1, 2, 1), (5, 1, 1, 3), (4, side // 2, 1, 1),
    ):  # fmt: skip
        H = max((rows - 1) * stride + 1 + 2 * step_h - top, 1)
        W = max((cols - 1) * stride + 1 + 2 * step_w - 2 * left, 1)
        narrow = narrow_tile.step_of(stride, 7, cols, side)
        a, b = plane(rng, dtype, 4, rows, cols), plane(rng, dtype, 5, H, W)
        out = np.full(1 + (taps + 1) * side, 2, dtype)
        ref = out.copy()
        run(narrow, a, rows, cols, b, H, W, top, left, step_h, step_w, out)
        narrow_tile.plain_narrow_dots(
            narrow, a, 4, rows, cols, b, 5, H, W, top, left, step_h, step_w, ref, 1
        )
        np.testing.assert_array_equal(
            out[1:].reshape(-1, side).sum(1), ref[1:].reshape(-1, side).sum(1)
        )
