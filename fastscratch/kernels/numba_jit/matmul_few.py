"""Matrix products with few rows, or few steps, as the dense layer has them for few examples.

The larger operand is read once, as it lies: to pack it would cost more than to multiply it.
"""

from fastscratch.kernels.numba_jit.compile import In, Out, driver
from fastscratch.kernels.numba_jit.lines import add_line, dot_lines, get, put
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line

FEW_ROWS = 4
"""Examples of a product that is computed here."""

CHUNK = 256
"""Products summed in a row before they are added up, so that float32 keeps its digits."""

LINE = 512
"""Columns whose sums, and four rows of b, stay in the L1 cache."""


@driver
def multiply_lines(
    worker: int, workers: int, a: In, b: In, bias: In, out: Out, M: int, K: int, N: int
) -> None:
    """out[m, :] = bias + sum over k of a[m, k]*b[k, :]: b streams by once, four rows at a time."""
    for first in range(worker * LINE, N, workers * LINE):
        count = min(LINE, N - first)
        for m in range(M):
            copy_line(bias, first, out, m * N + first, count)
        for k in range(0, K // 4 * 4, 4):
            row = k * N + first
            for m in range(M):
                target = m * N + first
                a0, a1 = get(a, m * K + k), get(a, m * K + k + 1)
                a2, a3 = get(a, m * K + k + 2), get(a, m * K + k + 3)
                for n in range(count):
                    total = a0 * get(b, row + n) + a1 * get(b, row + N + n)
                    total += a2 * get(b, row + 2 * N + n) + a3 * get(b, row + 3 * N + n)
                    put(out, target + n, get(out, target + n) + total)
        for k in range(K // 4 * 4, K):
            row = k * N + first
            for m in range(M):
                target, factor = m * N + first, get(a, m * K + k)
                for n in range(count):
                    put(out, target + n, get(out, target + n) + factor * get(b, row + n))


@driver
def multiply_dots(
    worker: int, workers: int, a: In, b: In, out: Out, M: int, K: int, N: int
) -> None:
    """out[m, n] = <a[m, :], b[n, :]>."""
    for n in range(worker, N, workers):
        for m in range(M):
            total = dot_lines(a, m * K, b, n * K, min(CHUNK, K))
            for k in range(CHUNK, K, CHUNK):
                total += dot_lines(a, m * K + k, b, n * K + k, min(CHUNK, K - k))
            put(out, m * N + n, total)


@driver
def add_products(worker: int, workers: int, a: In, b: In, out: Out, M: int, K: int, N: int) -> None:
    """out[m, :] = sum over k of a[k, m]*b[k, :]."""
    for m in range(worker, M, workers):
        if K == 0:
            fill_line(out, m * N, N, 0)
        for k in range(K):
            factor = get(a, k * M + m)
            if k == 0:
                for n in range(N):
                    put(out, m * N + n, factor * get(b, n))
            else:
                for n in range(N):
                    put(out, m * N + n, get(out, m * N + n) + factor * get(b, k * N + n))


ADDED_COLUMNS = 64
ADDED_ROWS = 64
"""Rows are added up in blocks of so many, so that float32 keeps its digits."""


@driver
def add_rows(worker: int, workers: int, rows: In, out: Out, sums: Out, M: int, N: int) -> None:
    """out = the sum of the rows."""
    start = worker * ADDED_COLUMNS
    for n in range(worker * ADDED_COLUMNS, N, workers * ADDED_COLUMNS):
        count = min(ADDED_COLUMNS, N - n)
        fill_line(out, n, count, 0)
        for first in range(0, M, ADDED_ROWS):
            fill_line(sums, start, count, 0)
            for m in range(first, min(first + ADDED_ROWS, M)):
                add_line(rows, m * N + n, sums, start, count)
            add_line(sums, start, out, n, count)
