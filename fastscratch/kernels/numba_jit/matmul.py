"""The matrix product behind the dense layer: packed columns times rows that are copied to a block.

::

    out[m, n] = bias[n] + sum over k of a[m*a_row + k*a_k] * b[k*b_k + n*b_n]

Strides let one driver serve the layer's three products. A task is a block of rows times a group of
columns: for each stretch of k it copies its rows of ``a`` into a local block, k running fastest,
and goes through the packed columns chunk by chunk.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import (
    Constants,
    In,
    Offsets,
    Out,
    driver,
    inner,
    usable_workers,
)
from fastscratch.kernels.numba_jit.lines import add_line, dot_lines, get, put, repeat_row
from fastscratch.kernels.numba_jit.machine import ROWS
from fastscratch.kernels.numba_jit.phases import CHUNK, wanted_tasks
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.kernels.numba_jit.tile import (
    PIXEL_ROWS,
    PIXEL_VECTORS,
    tile_pixels,
    tile_rows,
)
from fastscratch.kernels.numba_jit.vectors import copy_line, copy_pair, fill_line, lanes, lanes_of
from fastscratch.kernels.numba_jit.window import transpose
from fastscratch.types import Array

GROUP_COLUMNS = 256
"""Columns of a task: their sums stay in the L2 cache while k goes on."""

BLOCK_ROWS = 48
"""Rows of a task, about."""

STRETCH = 3 * CHUNK
"""Length in k of a local block of rows."""

FEW_ROWS = PIXEL_ROWS
"""Rows up to which packing the columns would cost more than it saves."""


class Extents(NamedTuple):
    """Extents of one product, all of them ints."""

    M: int
    K: int
    N: int
    a_row: int
    a_k: int
    b_k: int
    b_n: int
    tiles: int
    """Row tiles in all; a row belongs to one."""
    row_blocks: int
    blocks: int
    """Column blocks, two vectors wide, in all."""
    group: int
    """Column blocks of a task."""
    groups: int
    line: int
    """Elements from a row of the local block to the next."""
    rows: int
    """Rows of the local block."""


class Plan(NamedTuple):
    """What a shape alone decides."""

    extents: Extents
    multiplying: Constants
    """Tables and extents for the driver `multiply`."""
    few: Constants
    """Those for `multiply_lines`."""
    packed_size: int
    local_size: int
    sums_size: int
    few_size: int


@lru_cache(maxsize=256)
def _plan(
    M: int, K: int, N: int, a_row: int, a_k: int, b_k: int, b_n: int, dtype: np.dtype[np.floating]
) -> Plan:
    width = 2 * lanes_of(dtype)
    blocks = -(-N // width)
    groups = -(-N // GROUP_COLUMNS)
    group = -(-blocks // groups)
    groups = -(-blocks // group)
    tiles = max(-(-M // ROWS), 1)
    row_blocks = max(-(-M // BLOCK_ROWS), min(-(-wanted_tasks(M * N * K) // groups), tiles), 1)
    rows = min((-(-tiles // row_blocks) + 1) * ROWS, M)
    # Rows a whole number of pages apart would share one set of the L1 cache.
    line = min(K, STRETCH) + (64 + 16) // dtype.itemsize
    extents = Extents._make((
        M, K, N, a_row, a_k, b_k, b_n, tiles, row_blocks, blocks, group, groups, line, rows,
    ))  # fmt: skip
    k_offsets = np.arange(min(K, STRETCH), dtype=np.intp)
    row_offsets = np.arange(rows, dtype=np.intp) * line
    return Plan(
        extents, Constants(k_offsets, row_offsets, extents),
        Constants(np.arange(K if M <= FEW_ROWS else 0, dtype=np.intp) * b_k, extents),
        blocks * K * width, rows * line, group * rows * width,
        PIXEL_ROWS * max(PIXEL_VECTORS) * lanes_of(dtype),
    )  # fmt: skip


def matmul(
    a: Array, a_row: int, a_k: int, b: Array, b_k: int, b_n: int, bias: Array, out: Array, K: int,
    num_threads: int,
) -> None:  # fmt: skip
    """out[m, n] = bias[n] + the sum; ``out`` is (M, N)."""
    M, N = out.shape
    plan = _plan(M, K, N, a_row, a_k, b_k, b_n, out.dtype)
    workers = usable_workers(num_threads, M * N * K)
    if M <= FEW_ROWS and a_k == b_k == 1:
        multiply_dots(workers, a, b, bias, out, plan.extents)
        return
    if M <= FEW_ROWS and a_k == b_n == 1 and PIXEL_VECTORS[1] * lanes_of(out.dtype) <= N:
        with Scratch(out.dtype, workers * plan.few_size) as (sums, _):
            multiply_lines(workers, a, b, bias, out, sums, plan.few)
        return
    sizes = plan.packed_size, workers * plan.local_size, workers * plan.sums_size
    with Scratch(out.dtype, *sizes) as (packed, local, sums, _):
        pack(workers, b, packed, plan.extents)
        multiply(workers, a, packed, bias, out, local, sums, plan.multiplying)


def sum_rows(rows: Array, out: Array, num_threads: int) -> None:
    """out = the sum over the first axis."""
    workers = usable_workers(num_threads, rows.size)
    with Scratch(out.dtype, workers * ADDED_COLUMNS) as (sums, _):
        add_rows(workers, rows, out, sums, *rows.shape)


@driver
def pack(worker: int, workers: int, b: In, packed: Out, e: Extents) -> None:
    """packed[block, k, :] = the block's columns of b, zeros beyond the last."""
    width = 2 * lanes(b)
    for block in range(worker, e.blocks, workers):
        columns = min(width, e.N - block * width)
        target = block * e.K * width
        if columns < width:
            fill_line(packed, target, e.K * width, 0)
        source = block * width * e.b_n
        if e.b_k == 1:
            transpose(b, source, e.b_n, columns, e.K, packed, target, width)
        elif columns == width:
            for k in range(e.K):
                copy_pair(b, source + k * e.b_k, packed, target + k * width)
        else:
            for k in range(e.K):
                copy_line(b, source + k * e.b_k, packed, target + k * width, columns)


@inner
def _task(
    task: int, a: Array, packed: Array, bias: Array, out: Array, k_offsets: Array,
    row_offsets: Array, local: Array, local_start: int, sums: Array, sums_start: int, e: Extents,
) -> None:  # fmt: skip
    """A block of rows times a group of columns."""
    width = 2 * lanes(a)
    row_block, group = task % e.row_blocks, task // e.row_blocks
    tile_first = e.tiles * row_block // e.row_blocks
    tile_stop = e.tiles * (row_block + 1) // e.row_blocks
    m_first, m_stop = e.M * tile_first // e.tiles, e.M * tile_stop // e.tiles
    rows = m_stop - m_first
    block_first = group * e.group
    block_stop = min(block_first + e.group, e.blocks)
    for block in range(block_first, block_stop):
        columns = min(width, e.N - block * width)
        start = sums_start + (block - block_first) * rows * width
        repeat_row(bias, block * width, columns, sums, start, rows)
    for k_first in range(0, e.K, STRETCH):
        length = min(STRETCH, e.K - k_first)
        source = m_first * e.a_row + k_first * e.a_k
        if e.a_k == 1:
            for m in range(rows):
                copy_line(a, source + m * e.a_row, local, local_start + m * e.line, length)
        else:
            transpose(a, source, e.a_k, length, rows, local, local_start, e.line)
        chunks = (length + CHUNK - 1) // CHUNK
        for block in range(block_first, block_stop):
            start = sums_start + (block - block_first) * rows * width
            for chunk in range(chunks):
                k_start, k_stop = length * chunk // chunks, length * (chunk + 1) // chunks
                for tile in range(tile_first, tile_stop):
                    m = e.M * tile // e.tiles - m_first
                    count = e.M * (tile + 1) // e.tiles - m_first - m
                    tile_rows(
                        count, local, local_start, row_offsets, m, k_offsets, k_start, k_stop,
                        packed, (block * e.K + k_first) * width, width,
                        sums, start + m * width, width,
                    )  # fmt: skip
    for block in range(block_first, block_stop):
        columns = min(width, e.N - block * width)
        start = sums_start + (block - block_first) * rows * width
        for m in range(rows):
            target = (m_first + m) * e.N + block * width
            if columns == width:
                copy_pair(sums, start + m * width, out, target)
            else:
                copy_line(sums, start + m * width, out, target, columns)


@driver
def multiply(
    worker: int, workers: int, a: In, packed: In, bias: In, out: Out, local: Out, sums: Out,
    k_offsets: Offsets, row_offsets: Offsets, e: Extents,
) -> None:  # fmt: skip
    """Every task, each worker with its slice of the scratch."""
    local_start = worker * (local.size // workers)
    sums_start = worker * (sums.size // workers)
    for task in range(worker, e.row_blocks * e.groups, workers):
        _task(
            task, a, packed, bias, out, k_offsets, row_offsets,
            local, local_start, sums, sums_start, e,
        )  # fmt: skip


@driver
def multiply_lines(
    worker: int, workers: int, a: In, b: In, bias: In, out: Out, sums: Out, k_offsets: Offsets,
    e: Extents,
) -> None:  # fmt: skip
    """Few rows times b as it is: vectors run along its rows. The last columns overlap."""
    advance = PIXEL_VECTORS[e.M] * lanes(a)
    start = worker * (sums.size // workers)
    chunks = (e.K + CHUNK - 1) // CHUNK
    for block in range(worker, (e.N + advance - 1) // advance, workers):
        n = min(block * advance, e.N - advance)
        for m in range(e.M):
            copy_line(bias, n, sums, start + m * advance, advance)
        for chunk in range(chunks):
            tile_pixels(
                e.M, a, 0, e.a_row, k_offsets, e.K * chunk // chunks, e.K * (chunk + 1) // chunks,
                b, n, sums, start, advance,
            )  # fmt: skip
        for m in range(e.M):
            copy_line(sums, start + m * advance, out, m * e.N + n, advance)


@driver
def multiply_dots(worker: int, workers: int, a: In, b: In, bias: In, out: Out, e: Extents) -> None:
    """Few rows times lines along k: dot products."""
    for n in range(worker, e.N, workers):
        for m in range(e.M):
            total = get(bias, n)
            for k in range(0, e.K, 8 * CHUNK):
                count = min(8 * CHUNK, e.K - k)
                total += dot_lines(a, m * e.a_row + k, b, n * e.b_n + k, count)
            put(out, m * e.N + n, total)


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
