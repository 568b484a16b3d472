"""Matrix products with few rows, or few steps, as the dense layer has them for few examples.

The larger operand is read once, as it lies: to pack it would cost more than to multiply it.
"""

from fastscratch.kernels.numba_jit.compile import In, Out, driver
from fastscratch.kernels.numba_jit.few_tile import LINES, add_dots, add_lines
from fastscratch.kernels.numba_jit.lines import add_line, dot_lines, get, put, share_start
from fastscratch.kernels.numba_jit.vectors import copy_line, fill_line, lanes

FEW_ROWS = 4
"""Examples of a product that is computed here."""

LINE = 4096
"""Columns whose sums, and a few rows of b, stay in the L1 cache."""

CHUNK = 256
"""Products summed in a row before they are added up: float32 keeps its digits, L1 the rows of b."""


@driver
def multiply_lines(
    worker: int, workers: int, a: In, b: In, bias: In, out: Out, M: int, K: int, N: int
) -> None:
    """out[m, :] = bias + sum over k of a[m, k]*b[k, :]: b streams by once."""
    end = share_start(worker + 1, workers, N)
    for n in range(share_start(worker, workers, N), end, LINE):
        width = min(LINE, end - n)
        for m in range(M):
            copy_line(bias, n, out, m * N + n, width)
        for k in range(0, K, LINES):
            for m in range(M):
                if width >= lanes(a):
                    count = min(LINES, K - k)
                    add_lines(False, count, a, m * K + k, 1, b, k * N + n, N, width, out, m * N + n)
                    continue
                for i in range(k, min(k + LINES, K)):
                    factor = get(a, m * K + i)
                    for j in range(n, n + width):
                        put(out, m * N + j, get(out, m * N + j) + factor * get(b, i * N + j))


@driver
def multiply_dots(
    worker: int, workers: int, a: In, b: In, out: Out, M: int, K: int, N: int
) -> None:
    """out[m, n] = <a[m, :], b[n, :]>."""
    side = lanes(a)
    begin, end = share_start(worker, workers, N), share_start(worker + 1, workers, N)
    for m in range(M):
        fill_line(out, m * N + begin, end - begin, 0)
    for k in range(0, K, CHUNK):
        depth = min(CHUNK, K - k)
        for n in range(begin, end, side):
            first = min(n, N - side)
            for m in range(M):
                if first >= 0 and side <= K:
                    add_dots(
                        n - first, a, m * K + k, b, first * K + k, K, depth, out, m * N + first
                    )
                    continue
                for i in range(n, min(n + side, end)):
                    total = dot_lines(a, m * K + k, b, i * K + k, depth)
                    put(out, m * N + i, get(out, m * N + i) + total)


@driver
def add_products(worker: int, workers: int, a: In, b: In, out: Out, M: int, K: int, N: int) -> None:
    """out[m, :] = sum over k of a[k, m]*b[k, :]."""
    for m in range(worker, M, workers):
        if K == 1:  # nothing is added up: 11 us instead of 20 for 784 x 100
            factor = get(a, m)
            for n in range(N):
                put(out, m * N + n, factor * get(b, n))
            continue
        if lanes(a) > N or K == 0:
            for n in range(N):
                total = out.dtype.type(0)
                for k in range(K):
                    total += get(a, k * M + m) * get(b, k * N + n)
                put(out, m * N + n, total)
            continue
        for k in range(0, K, LINES):
            count = min(LINES, K - k)
            add_lines(k == 0, count, a, k * M + m, M, b, k * N, N, N, out, m * N)


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
