"""Lines of elements, of lengths around that of a vector, against NumPy."""

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import lines, vectors


@numba.njit
def run(a, b, count):
    """Everything that a line can go through, between other elements."""
    vectors.copy_line(a, 3, b, 5, count)
    lines.add_line(a, 0, b, 7, count)
    lines.copy_steps(a, 1, 3, b, 100, 2, count)
    vectors.fill_line(b, 200, count, 1.5)
    return lines.sum_line(a, 2, count), lines.dot_lines(a, 1, b, 2, count)


@numba.njit
def run_rows(a, b, count, rows, width, step):
    lines.repeat_row(a, 2, count, b, 3, rows, width, step)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lines(count, dtype):
    rng = np.random.default_rng(count)
    a, b = rng.integers(-9, 10, (2, 300)).astype(dtype)
    ref = b.copy()
    ref[5 : 5 + count] = a[3 : 3 + count]
    ref[7 : 7 + count] += a[:count]
    ref[100 : 100 + 2 * count : 2] = a[1 : 1 + 3 * count : 3]
    ref[200 : 200 + count] = 1.5
    total, product = run(a, b, count)
    np.testing.assert_array_equal(b, ref)
    assert total == a[2 : 2 + count].sum()
    assert product == a[1 : 1 + count] @ ref[2 : 2 + count]


@pytest.mark.parametrize("rows", [0, 1, 4])
@pytest.mark.parametrize("wide", [1, 2])
def test_repeat_row(rows, wide):
    width = wide * vectors.lanes_of(np.dtype(np.float32))
    a = np.arange(100, dtype=np.float32)
    for count in (1, width // 2 + 1, width):
        step = width + 3
        b = np.full(3 + 4 * step, 7, np.float32)
        ref = b.copy()
        row = np.zeros(width, np.float32)
        row[:count] = a[2 : 2 + count]
        ref[3:].reshape(4, step)[:rows, :width] = row
        run_rows(a, b, count, rows, width, step)
        np.testing.assert_array_equal(b, ref)


@numba.njit
def run_shifted(a, table, count, b, size):
    lines.add_shifted(a, 40, 60, 37, table, 1, count, b, 3, size)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 31, 40])
def test_add_shifted(size):
    """Rows of 37 elements, 60 apart, shifted by no more than a vector; what is beyond is NaN."""
    rng = np.random.default_rng(size)
    rows = np.full((4, 60), np.nan, np.float32)
    rows[:, :37] = rng.integers(-9, 10, (4, 37))
    a = np.full(400, np.nan, np.float32)
    a[40:280] = rows.ravel()
    taps = [(0, 0), (2, -3), (1, 5), (3, -41), (3, 37)]
    table = np.array([99, *(word for tap in taps for word in tap)])
    for count in (0, 1, 5):
        out, ref = np.full((2, 50), 7, np.float32)
        ref[3 : 3 + size] = 0
        for row, shift in taps[:count]:
            for i in range(size):
                if 0 <= i + shift < 37:
                    ref[3 + i] += rows[row, i + shift]
        run_shifted(a, table, count, out, size)
        np.testing.assert_array_equal(out, ref)


@numba.njit
def run_sum_of_rows(a, b, rows):
    vectors.add_rows(a, 3, rows, b, 5)


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 11])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_of_rows(rows, dtype):
    rng = np.random.default_rng(rows)
    a, b = rng.integers(-9, 10, (2, 600)).astype(dtype)
    ref = b.copy()
    width = 2 * vectors.lanes_of(a)
    ref[5 : 5 + width] += a[3 : 3 + rows * width].reshape(rows, width).sum(0)
    run_sum_of_rows(a, b, rows)
    np.testing.assert_array_equal(b, ref)
