"""The matrix product behind the dense layer, in blocks that fit the caches, on the product tile.

::

    out[m, n] = bias[n] + sum over k of A[m, k]*B[k, n]

A job is a block of rows of ``out`` and a share of its panels, a panel being the columns of one
tile. It runs ::

    for each chunk of k             whose part of one panel of B stays in L1
        copy the rows of A          where they lie badly
        for each group of panels    packed together, so that the tile reads B in one stream
            for each part of the rows       whose part of A stays in L2 beside the group
                for each panel, for each tile
        the few last columns        if they fill little of a vector, and rows of A lie side by side

Nothing is shared between jobs. How many there are depends on the number of workers; the order of
the sum over k, and so every bit of the result, on the shape alone. Products of few rows are in
``matmul_few``.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Out,
    driver,
    inlined,
    inner,
    usable_workers,
)
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.machine import FEW_COLUMNS, ROWS, TRIPLE_ROWS, VECTOR_BYTES
from fastscratch.kernels.numba_jit.product_tile import few_columns, product_tile
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.kernels.numba_jit.vectors import (
    copy_line,
    copy_pair,
    fill_line,
    lanes,
    lanes_of,
    prefetch,
)
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.types import Array

CHUNK = 512 if VECTOR_BYTES == 64 else 256
"""Steps of k: float32 loses no digits. As many with vectors of 64 bytes are 1.02 times as fast."""

BYTES_OF_A = 192 * 1024
"""Of A, in L2 at once."""

BYTES_OF_B = 256 * CHUNK
"""Of a group of panels, packed from one reading of the rows of B."""

ROWS_PER_JOB = 1024
"""For as many, B is packed once."""

SLACK = 16
"""Elements between rows whose distance would be a power of two."""

COLUMNS_PER_COPY = 24
"""Vectors of B that make a copy of A worth its while."""

COLUMNS_BESIDE_FEW = 12
"""Vectors of B beside which a few columns more are little."""

STEPS_PER_COPY = 8
"""Steps of k: what is read stays in few pages, what is written in few lines."""

PACK_AHEAD = 8
"""Rows of B that are fetched ahead: each may lie on a page of its own."""

MOVE = 8
"""Products in the time that an element takes to be packed or copied."""


class Extents(NamedTuple):
    """Extents of one product, all of them ints."""

    M: int
    K: int
    N: int
    a_row: int
    a_k: int
    """A[m, k] is a[m*a_row + k*a_k]; one of the two is 1."""
    b_transposed: int
    """B[k, n] is b[n*K + k] instead of b[k*N + n]."""
    has_bias: int
    panels: int
    """Of two vectors; the last has one to three."""
    few: int
    """Last columns, whose vectors lie along the rows: 1.1 times as fast with N = 100."""
    blocks: int
    shares: int
    """Jobs: blocks of rows, and shares of the panels."""
    group: int
    """Panels that are packed together at most."""
    chunks: int
    chunk: int
    """How many, and steps of k in one at most."""
    part_rows: int
    """Rows that stay in L2: whole tiles."""
    copied: int
    """Whether the rows of A are copied: as they are, or, if a_row is 1, as the tile reads them."""


class Plan(NamedTuple):
    """What a shape alone decides, and how it is shared out."""

    extents: Constants
    sizes: tuple[int, int, int, int]
    """Elements of scratch that the workers need: packed B, copied A, an edge, a start."""


def matmul(
    a: Array, side_by_side: bool, b: Array, b_transposed: bool, bias: Array | None, out: Array,
    K: int, num_threads: int,
) -> None:  # fmt: skip
    """out = bias + A @ B.

    A is (M, K), or (K, M) if its rows lie side by side; B is (K, N), or (N, K) if transposed.
    """
    M, N = out.shape
    dtype = out.dtype
    # A single row, or a single step of k, lies in either way; the steps between rows tell which.
    side_by_side = (side_by_side and M > 1) or K == 1
    workers = usable_workers(num_threads, M * N * K)
    plan = _plan(M, K, N, side_by_side, b_transposed, bias is not None, dtype, workers)
    with Scratch(dtype, *plan.sizes) as (packed, copy, edge, start, _):
        start_from = out if bias is None else bias
        multiply(workers, a, b, start_from, out, packed, copy, edge, start, plan.extents)


@lru_cache(maxsize=256)
def _plan(
    M: int, K: int, N: int, side_by_side: bool, b_transposed: bool, has_bias: bool,
    dtype: np.dtype[np.floating], workers: int,
) -> Plan:  # fmt: skip
    side = lanes_of(dtype)
    vectors = -(-N // side)
    a_row, a_k = (1, M) if side_by_side else (K, 1)
    # Steps of a power of two fall into one set of the cache. Where rows lie side by side, each step
    # of k is a page of its own, too, and a copy pays once there are panels enough.
    copied = vectors > 2 and max(a_row, a_k) * dtype.itemsize % 512 == 0
    copied = copied or (side_by_side and vectors >= COLUMNS_PER_COPY)
    few = N % side if side_by_side and side <= N <= COLUMNS_BESIDE_FEW * side else 0
    if few > min(FEW_COLUMNS, side // 2):
        few = 0

    def panels_of(few: int) -> int:
        # The copy of rows side by side has the pairs' tiles; else an odd vector makes a triple.
        vectors = -(-(N - few) // side)
        return max(-(-vectors // 2) if copied and side_by_side else vectors // 2, 1)

    chunks = max(-(-K // CHUNK), 1)
    chunk = -(-K // chunks)
    blocks, shares = _jobs(M, N, panels_of(few), copied, workers)
    if few and M // blocks < 3 * side:
        few = 0
        blocks, shares = _jobs(M, N, panels_of(few), copied, workers)
    panels = panels_of(few)
    rows = -(-M // blocks)
    group = max(BYTES_OF_B // max(chunk * 2 * side * dtype.itemsize, 1), 1)
    group = min(-(-panels // shares), group)
    copy_size = 0
    if copied:
        copy_size = chunk * -(-rows // ROWS) * ROWS if side_by_side else (chunk + SLACK) * rows
    extents = Extents(
        M, K, N, a_row, a_k, int(b_transposed), int(has_bias), panels, few, blocks, shares, group,
        chunks, chunk, max(BYTES_OF_A // max(chunk * dtype.itemsize, 1) // ROWS, 1) * ROWS,
        int(copied),
    )  # fmt: skip
    packed_size, edge_size = chunk * (2 * group + 1) * side, ROWS * 3 * side
    start_size = (2 * panels + 2) * side  # panels, the odd vector, and a few columns
    sizes = workers * packed_size, workers * copy_size, workers * edge_size, workers * start_size
    return Plan(Constants(extents), sizes)


def _jobs(M: int, N: int, panels: int, copied: bool, workers: int) -> tuple[int, int]:
    """Blocks of rows and shares of the panels: what the worker with the most to do does least of.

    Each job packs its columns of B, and copies its rows of A.
    """
    least = max(-(-M // ROWS_PER_JOB), 1)

    def cost(cut: tuple[int, int]) -> int:
        blocks, shares = cut
        rows, columns = -(-M // blocks), -(-panels // shares) * -(-N // panels)
        job = rows * columns + MOVE * columns + (MOVE * rows if copied else 0)
        return -(-blocks * shares // workers) * job

    most = max(least, min(least + workers, -(-M // ROWS)))
    cuts = [
        (blocks, min(shares, panels))
        for blocks in range(least, most + 1) for shares in range(1, workers + 1)
    ]  # fmt: skip
    return min(cuts, key=cost)


@inner
def _pack(
    b: Array, packed: Array, start: int, n: int, width: int, panels: int, k: int, depth: int,
    e: Extents,
) -> None:  # fmt: skip
    """packed[panel, k, :] = the columns of a group's panels, zeros beyond the last to a vector."""
    side = lanes(b)
    panel = 2 * side
    whole = panels if width == panels * panel else panels - 1
    rest = width - whole * panel
    step = (rest + side - 1) // side * side
    step = max(step, panel)
    target = start + whole * panel * depth
    if rest > 0 and rest < step:
        fill_line(packed, target, depth * step, 0)
    if e.b_transposed:
        # A vector of columns at a time: as many rows of memory as a set of the cache has ways.
        for q in range(panels):
            columns, step_here = (panel, panel) if q < whole else (rest, step)
            for j in range(0, columns, side):
                transpose(
                    b, (n + q * panel + j) * e.K + k, e.K, min(side, columns - j), depth,
                    packed, start + q * panel * depth + j, step_here,
                )  # fmt: skip
        return
    for i in range(depth):
        source = (k + i) * e.N + n
        for q in range(whole):
            prefetch(b, source + PACK_AHEAD * e.N + q * panel)
            copy_pair(b, source + q * panel, packed, start + (q * depth + i) * panel)
        if rest > 0:
            copy_line(b, source + whole * panel, packed, target + i * step, rest)


@inner
def _copy_rows(
    a: Array, a_start: int, rows: int, depth: int, copy: Array, start: int, e: Extents
) -> None:
    """A chunk of rows: not a power of two apart, or as the tile reads them, [tile, k, row]."""
    if e.a_k == 1:
        for m in range(rows):
            copy_line(a, a_start + m * e.a_row, copy, start + m * (e.chunk + SLACK), depth)
        return
    tiles = (rows + ROWS - 1) // ROWS
    for k_first in range(0, depth, STEPS_PER_COPY):
        k_stop = min(k_first + STEPS_PER_COPY, depth)
        for tile in range(tiles):
            m, m_stop = tile * ROWS, min((tile + 1) * ROWS, rows)
            target = start + m * e.chunk
            if m_stop - m == ROWS:  # a constant: two moves instead of a loop
                for k in range(k_first, k_stop):
                    for r in range(ROWS):
                        value = get(a, a_start + k * e.a_k + m + r)
                        put(copy, target + k * ROWS + r, value)
                continue
            for k in range(k_first, k_stop):
                for r in range(m_stop - m):
                    put(copy, target + k * ROWS + r, get(a, a_start + k * e.a_k + m + r))


@inlined
def _tile(
    rows: int, width: int, side_by_side: int, a: Array, a_start: int, a_step: int, depth: int,
    packed: Array, packed_start: int, first: bool, start: Array, start_start: int,
    out: Array, out_start: int, N: int, edge: Array, edge_start: int,
) -> None:  # fmt: skip
    """Add one chunk of the sum to a tile of out; the first chunk begins at ``start``."""
    side = lanes(a)
    vectors = max((width + side - 1) // side, 2)
    step = vectors * side
    init, init_start, init_row = out, out_start, N
    if first:
        init, init_start, init_row = start, start_start, 0
    target, target_start, target_row = out, out_start, N
    if width < step:
        # The last columns, through a tile of memory that is wide enough.
        target, target_start, target_row = edge, edge_start, step
        if not first:
            for r in range(rows):
                copy_line(out, out_start + r * N, edge, edge_start + r * step, width)
            init, init_start, init_row = edge, edge_start, step
    product_tile(
        rows, vectors, side_by_side, a, a_start, a_step, depth, packed, packed_start,
        init, init_start, init_row, target, target_start, target_row,
    )  # fmt: skip
    if width < step:
        for r in range(rows):
            copy_line(edge, edge_start + r * step, out, out_start + r * N, width)


@inner
def _job(
    job: int, a: Array, b: Array, out: Array, packed: Array, packed_start: int,
    copy: Array, copy_start: int, edge: Array, edge_start: int, start: Array, start_start: int,
    e: Extents,
) -> None:  # fmt: skip
    """One block of rows times one share of the panels."""
    panel = 2 * lanes(a)
    block, share = job % e.blocks, job // e.blocks
    m_first = e.M * block // e.blocks
    rows = e.M * (block + 1) // e.blocks - m_first
    begin, end = e.panels * share // e.shares, e.panels * (share + 1) // e.shares
    groups = (end - begin + e.group - 1) // e.group
    parts = (rows + e.part_rows - 1) // e.part_rows
    laid_out = e.copied and e.a_row == 1
    a_row, a_step = e.a_row, max(e.a_row, e.a_k)
    if laid_out:
        a_step = ROWS
    elif e.copied:
        a_row = a_step = e.chunk + SLACK
    side_by_side = 1 if e.a_row == 1 else 0
    for chunk in range(e.chunks):
        k = e.K * chunk // e.chunks
        depth = e.K * (chunk + 1) // e.chunks - k
        rows_of_a, rows_start = a, m_first * e.a_row + k * e.a_k
        if e.copied:
            _copy_rows(a, rows_start, rows, depth, copy, copy_start, e)
            rows_of_a, rows_start = copy, copy_start
        for group in range(groups):
            first = begin + (end - begin) * group // groups
            stop = begin + (end - begin) * (group + 1) // groups
            n_stop = e.N - e.few if stop == e.panels else stop * panel
            width = n_stop - first * panel
            _pack(b, packed, packed_start, first * panel, width, stop - first, k, depth, e)
            for part in range(parts):
                m_begin = part * e.part_rows
                m_end = min(m_begin + e.part_rows, rows)
                for q in range(first, stop):
                    n = q * panel
                    columns = (n_stop if q + 1 == stop else n + panel) - n
                    most = TRIPLE_ROWS if columns > panel else ROWS
                    # As even as can be; a copy's tiles are cut already.
                    tiles = (m_end - m_begin + most - 1) // most
                    tile_rows = ROWS if laid_out else (m_end - m_begin + tiles - 1) // tiles
                    longer = m_end - m_begin - tiles * (tile_rows - 1)
                    m = m_begin
                    for tile in range(tiles):
                        if laid_out:
                            tile_rows = min(ROWS, m_end - m)
                        elif tile == longer:
                            tile_rows -= 1
                        place = packed_start + (q - first) * panel * depth
                        target = (m_first + m) * e.N + n
                        source = rows_start + m * a_row
                        if laid_out:
                            source = rows_start + m * e.chunk
                        _tile(
                            tile_rows, columns, side_by_side, rows_of_a, source, a_step, depth,
                            packed, place, chunk == 0, start, start_start + n,
                            out, target, e.N, edge, edge_start,
                        )  # fmt: skip
                        m += tile_rows
        if e.few > 0 and share == e.shares - 1:
            n, m_start = e.N - e.few, m_first + k * e.a_k
            _few_columns(
                a, m_start, rows, depth, b, k * e.N + n, chunk == 0, start, start_start + n,
                out, m_first * e.N + n, edge, edge_start, e,
            )  # fmt: skip


@inner
def _few_columns(
    a: Array, a_start: int, rows: int, depth: int, b: Array, b_start: int,
    first: bool, start: Array, start_start: int, out: Array, out_start: int,
    sums: Array, sums_start: int, e: Extents,
) -> None:  # fmt: skip
    """Add one chunk of the sum to the few last columns of a block of rows."""
    width = 3 * lanes(a)
    done = 0
    while done < rows:
        m = min(done, rows - width)  # the last vectors overlap those before
        few_columns(
            e.few, a, a_start + m, e.a_k, depth, b, b_start, e.N, sums, sums_start
        )  # fmt: skip
        for r in range(done - m, width):
            target = out_start + (m + r) * e.N
            for j in range(e.few):
                before = get(start, start_start + j) if first else get(out, target + j)
                put(out, target + j, before + get(sums, sums_start + j * width + r))
        done = m + width


@driver
def multiply(
    worker: int, workers: int, a: In, b: In, bias: In, out: Out, packed: Out, copy: Out, edge: Out,
    start: Out, e: Extents,
) -> None:  # fmt: skip
    """Every job, each worker with its slice of the scratch."""
    start_start = worker * (start.size // workers)
    fill_line(start, start_start, start.size // workers, 0)
    if e.has_bias:
        copy_line(bias, 0, start, start_start, e.N)
    for job in range(worker, e.blocks * e.shares, workers):
        _job(
            job, a, b, out, packed, worker * (packed.size // workers),
            copy, worker * (copy.size // workers), edge, worker * (edge.size // workers),
            start, start_start, e,
        )  # fmt: skip
