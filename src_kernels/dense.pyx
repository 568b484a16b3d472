"""Dense layer: three matrix products in blocks that fit the caches, on the register tile.

All three are C[m, n] = start[n] + sum_k A[m, k] * B[k, n]. A job is a block of rows and a share of
the panels, a panel being the columns of one tile. For each chunk of k, a job packs its part of B a
group of panels at a time, so that the tile reads it in one stream, and runs over its rows. Nothing
is shared between jobs. How many there are depends on the number of threads; the order of the sum
over k, and so every bit of the result, on the shape alone.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset

from geometry cimport aligned, ceil_div, part_start
from tile cimport CHECK, CHECKED, TILE_ROWS, dot, lanes_of, pack_rows, real, tile, transpose

from fastscratch.kernels.cython_ext.scratch import Scratch

cnp.import_array()

cdef enum:
    ROWS_PER_BLOCK = 256  # with a chunk of k, A's part takes half of a small L2 cache
    PANELS_PER_GROUP = 8
    CHUNK = 256  # of k: a packed panel stays in L1
    JOBS_PER_THREAD = 3  # enough to share out evenly; each copies its rows of A anew
    FEW_ROWS = 3  # up to here B is read once, unpacked
    SLACK = 16  # elements between rows whose distance would be a power of two
    PANELS_PER_COPY = 6  # of B, that make a copy of A worth its while
    STEPS_PER_COPY = 8  # of k: what is read stays in few pages, what is written in few lines


cdef struct Product:
    Py_ssize_t M, N, K
    const void* a
    Py_ssize_t a_row, a_k  # A[m, k] is a[m*a_row + k*a_k], and one of the steps is 1
    const void* b
    bint b_transposed  # B[k, n] is b[n*K + k] instead of b[k*N + n]
    void* c
    Py_ssize_t panel, panels, blocks, shares, group, chunks, chunk
    bint copy_a
    void* start  # bias, padded to whole panels with zeros
    Py_ssize_t* k_offset  # into A, or its copy
    char* workspace
    Py_ssize_t workspace_size, packed_size, copy_size


cdef Py_ssize_t plan(Product* p, Py_ssize_t itemsize, int num_threads) noexcept nogil:
    """Choose the blocks. Returns the bytes that one worker needs."""
    cdef Py_ssize_t rows, jobs = JOBS_PER_THREAD * num_threads if num_threads > 1 else 1
    p.panel = 2 * lanes_of(itemsize)
    p.panels = ceil_div(p.N, p.panel)
    p.blocks = max(1, ceil_div(p.M, ROWS_PER_BLOCK))
    p.shares = max(1, min(p.panels, ceil_div(jobs, p.blocks)))
    p.group = min(ceil_div(p.panels, p.shares), PANELS_PER_GROUP)
    p.chunks = max(1, ceil_div(p.K, CHUNK))
    p.chunk = ceil_div(p.K, p.chunks)
    rows = ceil_div(p.M, p.blocks)
    # Steps of a power of two fall into one set of the cache. Where rows lie side by side, each
    # step of k is a page of its own, too, and a copy pays once there are panels enough: 0.93 of
    # OpenBLAS's speed instead of 0.87 at 7 panels, but 0.78 instead of 0.92 at 4.
    p.copy_a = p.panels > 1 and (p.a_k if p.a_k != 1 else p.a_row) * itemsize % 512 == 0
    p.copy_a = p.copy_a or (p.a_k != 1 and p.panels >= PANELS_PER_COPY)
    p.packed_size = aligned(p.chunk * p.group * p.panel * itemsize)
    p.copy_size = 0
    if p.copy_a and p.a_k == 1:
        p.copy_size = aligned((p.chunk + SLACK) * rows * itemsize)
    elif p.copy_a:
        p.copy_size = aligned(p.chunk * ceil_div(rows, TILE_ROWS) * TILE_ROWS * itemsize)
    p.workspace_size = (
        p.packed_size + p.copy_size + aligned(TILE_ROWS * p.panel * itemsize)
        + aligned(rows * sizeof(Py_ssize_t))
    )
    return p.workspace_size


cdef void pack(
    const Product* p, real* packed, Py_ssize_t n, Py_ssize_t cols, Py_ssize_t k, Py_ssize_t depth
) noexcept nogil:
    """packed[panel][k][j] = B[k, n + panel*PANEL + j], zero beyond the last column."""
    cdef const real* b = <const real*> p.b
    cdef Py_ssize_t panel = p.panel, whole = cols // panel, rest = cols % panel, i, j, q
    cdef real* target = packed + whole * panel * depth
    if rest:
        memset(target, 0, depth * panel * sizeof(real))
    if p.b_transposed:
        for q in range(whole):
            transpose(packed + q * panel * depth, panel, b + (n + q * panel) * p.K + k, p.K,
                      panel, depth)
        transpose(target, panel, b + (n + whole * panel) * p.K + k, p.K, rest, depth)
    else:
        pack_rows(packed, panel * depth, b + k * p.N + n, p.N, depth, whole)
        for i in range(depth if rest else 0):
            for j in range(rest):
                target[i * panel + j] = b[(k + i) * p.N + n + whole * panel + j]


cdef void multiply(
    const Product* p, Py_ssize_t job, Py_ssize_t worker, real* c
) noexcept nogil:
    """One block of rows times one share of the panels."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef real* packed = <real*> workspace
    cdef real* copy = <real*> (workspace + p.packed_size)
    cdef real* edge = <real*> (workspace + p.packed_size + p.copy_size)
    cdef Py_ssize_t* row_offset = <Py_ssize_t*> (
        <char*> edge + aligned(TILE_ROWS * p.panel * sizeof(real))
    )
    cdef const real* a = <const real*> p.a
    cdef Py_ssize_t block = job % p.blocks, share = job // p.blocks
    cdef Py_ssize_t m0 = part_start(block, p.blocks, p.M)
    cdef Py_ssize_t rows = part_start(block + 1, p.blocks, p.M) - m0
    cdef Py_ssize_t panel = p.panel
    cdef Py_ssize_t begin = part_start(share, p.shares, p.panels)
    cdef Py_ssize_t end = part_start(share + 1, p.shares, p.panels)
    cdef Py_ssize_t tiles = ceil_div(rows, TILE_ROWS)
    cdef Py_ssize_t chunk, k, depth, i, t, m, n0, cols, group, first
    for t in range(tiles):
        m = part_start(t, tiles, rows)
        for i in range(m, part_start(t + 1, tiles, rows)):
            row_offset[i] = i * p.a_row
            if p.copy_a:
                row_offset[i] = (
                    i * (p.chunk + SLACK) if p.a_k == 1 else t * p.chunk * TILE_ROWS + i - m
                )
    for chunk in range(p.chunks):
        k = part_start(chunk, p.chunks, p.K)
        depth = part_start(chunk + 1, p.chunks, p.K) - k
        a = <const real*> p.a + m0 * p.a_row + k * p.a_k
        if p.copy_a:
            copy_rows(p, copy, a, rows, depth)
            a = copy
        for group in range(ceil_div(end - begin, p.group)):
            first = begin + group * p.group
            n0 = first * panel
            cols = min(min(p.group, end - first) * panel, p.N - n0)
            pack(p, packed, n0, cols, k, depth)
            multiply_group(p, a, copy, row_offset, packed, edge, chunk == 0, depth, rows, cols,
                           <real*> p.start + n0, c + m0 * p.N + n0)


cdef void copy_rows(
    const Product* p, real* copy, const real* a, Py_ssize_t rows, Py_ssize_t depth
) noexcept nogil:
    """A chunk of rows: not a power of two apart, or as the tile reads them, [tile][k][r]."""
    cdef Py_ssize_t tiles = ceil_div(rows, TILE_ROWS), step, i, j, k, t, m, r
    cdef real* target
    if p.a_k == 1:
        for i in range(rows):
            memcpy(copy + i * (p.chunk + SLACK), a + i * p.a_row, depth * sizeof(real))
        return
    for step in range(ceil_div(depth, STEPS_PER_COPY)):
        k = step * STEPS_PER_COPY
        for t in range(tiles):
            m = part_start(t, tiles, rows)
            r = part_start(t + 1, tiles, rows) - m
            target = copy + t * p.chunk * TILE_ROWS
            for i in range(k, min(k + STEPS_PER_COPY, depth)):
                if r == TILE_ROWS:  # of a known size: two moves instead of a loop
                    memcpy(target + i * TILE_ROWS, a + i * p.a_k + m, TILE_ROWS * sizeof(real))
                    continue
                for j in range(r):
                    target[i * TILE_ROWS + j] = a[i * p.a_k + m + j]


cdef void multiply_group(
    const Product* p, const real* a, const real* copy, const Py_ssize_t* row_offset,
    const real* packed, real* edge, bint is_first, Py_ssize_t depth, Py_ssize_t rows,
    Py_ssize_t cols, const real* start, real* c,
) noexcept nogil:
    """Add one chunk of the sum to a block of C, tile by tile; the first begins at ``start``."""
    cdef Py_ssize_t panel = p.panel, tiles = ceil_div(rows, TILE_ROWS)
    cdef Py_ssize_t q, t, m, r, i, j, first, width, init_step
    cdef const real* init
    cdef real* out
    for q in range(ceil_div(cols, panel)):
        first = q * panel
        width = min(panel, cols - first)
        for t in range(tiles):
            m = part_start(t, tiles, rows)
            r = part_start(t + 1, tiles, rows) - m
            check_reads(p, a, copy, row_offset + m, r, depth)
            out = c + m * p.N + first
            init, init_step = out, p.N
            if is_first:
                init, init_step = start + first, 0
            if width == panel:
                tile(r, 2, a, row_offset + m, p.k_offset, depth, packed + first * depth, panel,
                     init, init_step, out, p.N)
                continue
            # The last columns, through a tile of memory that is wide enough.
            if not is_first:
                init, init_step = edge, panel
                for i in range(r):
                    for j in range(width):
                        edge[i * panel + j] = out[i * p.N + j]
            tile(r, 1 if 2 * width <= panel else 2, a, row_offset + m, p.k_offset, depth,
                 packed + first * depth, panel, init, init_step, edge, panel)
            for i in range(r):
                for j in range(width):
                    out[i * p.N + j] = edge[i * panel + j]


cdef inline void check_reads(
    const Product* p, const real* a, const real* copy, const Py_ssize_t* row_offset,
    Py_ssize_t rows, Py_ssize_t depth,
) noexcept nogil:
    """In a build with checks: that every read of a tile is inside A or its copy."""
    cdef const real* start = copy if p.copy_a else <const real*> p.a
    cdef Py_ssize_t size = p.copy_size // sizeof(real) if p.copy_a else p.M * p.K, i, k, at
    if not CHECKED:
        return
    for i in range(rows):
        for k in range(depth):
            at = (a - start) + row_offset[i] + p.k_offset[k]
            CHECK(0 <= at and at < size)


cdef void run(Product* p, const real* bias, real* c, int num_threads):
    """C = bias + A @ B."""
    cdef Py_ssize_t worker_bytes = plan(p, sizeof(real), num_threads)
    cdef Py_ssize_t start_bytes = aligned(p.panels * p.panel * sizeof(real))
    cdef Py_ssize_t table_bytes = aligned(p.chunk * sizeof(Py_ssize_t))
    cdef Py_ssize_t jobs = p.blocks * p.shares, i, step
    cdef int workers = <int> max(1, min(num_threads, jobs))
    cdef int job
    memory = Scratch(start_bytes + table_bytes + workers * worker_bytes)
    p.start = <void*> <uintptr_t> memory.address
    p.k_offset = <Py_ssize_t*> (<char*> p.start + start_bytes)
    p.workspace = <char*> p.start + start_bytes + table_bytes
    with nogil:
        memset(p.start, 0, start_bytes)
        if bias != NULL:
            memcpy(p.start, bias, p.N * sizeof(real))
        step = TILE_ROWS if p.copy_a and p.a_k != 1 else p.a_k
        for i in range(p.chunk):
            p.k_offset[i] = i * step
        if workers == 1:
            for job in range(jobs):
                multiply(p, job, 0, c)
        else:
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                multiply(p, job, threadid(), c)


cdef void forward(
    const real* x, const real* weight, const real* bias, real* y,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Product p
    p.M, p.N, p.K = M, N, K
    p.a, p.a_row, p.a_k = x, K, 1
    p.b, p.b_transposed = weight, False
    if M <= FEW_ROWS:
        with nogil:
            few_rows_forward(x, weight, bias, y, M, N, K)
    else:
        run(&p, bias, y, num_threads)


cdef void few_rows_forward(
    const real* x, const real* weight, const real* bias, real* y,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
) noexcept nogil:
    """y = x @ weight + bias with the weights streamed once: packing them would cost more."""
    cdef Py_ssize_t m, k, n
    cdef const real* row
    cdef real x0, x1, x2, x3
    for m in range(M):
        memcpy(y + m * N, bias, N * sizeof(real))
        for k in range(0, K - 3, 4):
            row = weight + k * N
            x0, x1, x2, x3 = x[m * K + k], x[m * K + k + 1], x[m * K + k + 2], x[m * K + k + 3]
            for n in range(N):
                y[m * N + n] += (
                    (x0 * row[n] + x1 * row[N + n]) + (x2 * row[2 * N + n] + x3 * row[3 * N + n])
                )
        for k in range(K // 4 * 4, K):
            for n in range(N):
                y[m * N + n] += x[m * K + k] * weight[k * N + n]


cdef void backward_input(
    const real* dout, const real* weight, real* dx,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Product p
    cdef Py_ssize_t m, n
    p.M, p.N, p.K = M, N, K
    p.a, p.a_row, p.a_k = dout, K, 1
    p.b, p.b_transposed = weight, True
    if M <= FEW_ROWS:
        with nogil:
            for m in range(M):
                for n in range(N):
                    dx[m * N + n] = dot(dout + m * K, weight + n * K, K)
    else:
        run(&p, <const real*> NULL, dx, num_threads)


cdef void backward_weight(
    const real* dout, const real* x, real* dw, real* db,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Product p
    cdef Py_ssize_t k, m, n
    p.M, p.N, p.K = M, N, K
    p.a, p.a_row, p.a_k = x, 1, M
    p.b, p.b_transposed = dout, False
    with nogil:
        memset(db, 0, N * sizeof(real))
        for k in range(K):
            for n in range(N):
                db[n] += dout[k * N + n]
    if K <= FEW_ROWS:
        with nogil:
            memset(dw, 0, M * N * sizeof(real))
            for k in range(K):
                for m in range(M):
                    for n in range(N):
                        dw[m * N + n] += x[k * M + m] * dout[k * N + n]
    else:
        run(&p, <const real*> NULL, dw, num_threads)


def dense_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y, int num_threads
):
    """y = x @ weight + bias."""
    cdef Py_ssize_t M = x.shape[0], N = weight.shape[1], K = x.shape[1]
    if x.descr.type_num == cnp.NPY_FLOAT32:
        forward(
            <float*> x.data, <float*> weight.data, <float*> bias.data, <float*> y.data,
            M, N, K, num_threads,
        )
    else:
        forward(
            <double*> x.data, <double*> weight.data, <double*> bias.data, <double*> y.data,
            M, N, K, num_threads,
        )


def dense_backward_input(cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx, int num_threads):
    """dx = dout @ weight.T."""
    cdef Py_ssize_t M = dout.shape[0], N = weight.shape[0], K = dout.shape[1]
    if dout.descr.type_num == cnp.NPY_FLOAT32:
        backward_input(
            <float*> dout.data, <float*> weight.data, <float*> dx.data,
            M, N, K, num_threads,
        )
    else:
        backward_input(
            <double*> dout.data, <double*> weight.data, <double*> dx.data,
            M, N, K, num_threads,
        )


def dense_backward_weight(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db, int num_threads
):
    """dw = x.T @ dout and db = the sum of dout over the batch."""
    cdef Py_ssize_t M = x.shape[1], N = dout.shape[1], K = x.shape[0]
    if dout.descr.type_num == cnp.NPY_FLOAT32:
        backward_weight(
            <float*> dout.data, <float*> x.data, <float*> dw.data, <float*> db.data,
            M, N, K, num_threads,
        )
    else:
        backward_weight(
            <double*> dout.data, <double*> x.data, <double*> dw.data, <double*> db.data,
            M, N, K, num_threads,
        )
