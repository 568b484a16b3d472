"""C = start + A @ B, in blocks that fit the caches, on the product tile. All inline: no module.

    C[m, n] = start[n] + sum_k A[m, k] * B[k, n]

A job is a block of rows of C and a share of its panels, a panel being the columns of one tile. Its
loops, from the outermost:

    for each chunk of k               as much as is added up without losing digits
        copy the rows of A            as the tile reads them, where that pays
        for each group of panels      packed together, so that the tile reads B in one stream
            for each tile of rows         whose part of A stays in L1
                for each panel            which comes from L2, while rows of C are written in runs
        the few last columns          if they fill little of a vector, and A has rows side by side

Nothing is shared between jobs. How many there are depends on the number of threads; the order of
the sum over k, and so every bit of the result, on the shape alone.
"""

from libc.string cimport memcpy, memset

from geometry cimport aligned, ceil_div, part_start
from tile cimport (
    CHECK, CHECKED, FASTSCRATCH_VECTOR_BYTES, FEW_COLUMNS, TILE_ROWS, few_columns, lanes_of,
    pack_part, pack_rows, pack_tile, product_tile, real, transpose,
)

cdef enum:
    CHUNK = 256  # of k, or twice that with vectors of 64 bytes, and a group of twice the size:
    BYTES_OF_B = 64 << 10  # 1.03 times as fast; groups of half of L2 lose 0.95 in wide matrices
    ROWS_PER_JOB = 1024  # for as many, B is packed once
    JOBS_PER_THREAD = 2  # to share out; each copies and packs anew, which 3 do not repay
    VECTORS_PER_COPY = 24  # of B, that make a copy of A worth its while: 1.07 times the speed then
    VECTORS_BESIDE_FEW = 12  # with more, what is left over is little
    STEPS_PER_COPY = 8  # of k: what is read stays in few pages, what is written in few lines


cdef struct Product:
    Py_ssize_t M, N, K
    const void* a
    Py_ssize_t a_step  # A[m, k] is a[m*a_step + k], or a[k*a_step + m]
    bint side_by_side  # the latter
    const void* b
    bint b_transposed  # B[k, n] is b[n*K + k] instead of b[k*N + n]
    Py_ssize_t panel, panels, blocks, shares, group, chunks, chunk
    Py_ssize_t few  # last columns, whose vectors lie along the rows: 1.1 times as fast with N = 100
    bint copy_a
    void* start  # bias, padded to whole vectors with zeros
    char* workspace
    Py_ssize_t start_size, workspace_size, packed_size, copy_size


cdef inline void plan(Product* p, Py_ssize_t itemsize, int num_threads) noexcept nogil:
    """Choose the blocks."""
    cdef Py_ssize_t lanes = lanes_of(itemsize), few = 0
    cdef Py_ssize_t chunk = CHUNK, group = BYTES_OF_B, rows
    if FASTSCRATCH_VECTOR_BYTES == 64:
        chunk, group = 2 * CHUNK, 2 * BYTES_OF_B
    p.panel = 2 * lanes
    p.chunks = max(1, ceil_div(p.K, chunk))
    p.chunk = max(1, ceil_div(p.K, p.chunks))
    if p.side_by_side and lanes <= p.N <= VECTORS_BESIDE_FEW * lanes:
        few = p.N % lanes
    if few > min(FEW_COLUMNS, lanes // 2):
        few = 0
    share_out(p, itemsize, few, num_threads)
    if few and p.M // p.blocks < 3 * lanes:
        share_out(p, itemsize, 0, num_threads)
    p.group = max(1, group // (p.chunk * p.panel * itemsize))
    p.group = min(ceil_div(p.panels, p.shares), p.group)
    p.start_size = aligned((p.panels + 1) * p.panel * itemsize)  # and an odd vector, a few columns
    p.packed_size = aligned(p.chunk * (p.group + 1) * p.panel * itemsize)
    p.copy_size = 0
    if p.copy_a:
        rows = ceil_div(ceil_div(p.M, p.blocks), TILE_ROWS) * TILE_ROWS
        p.copy_size = aligned((p.chunk * rows + lanes) * itemsize)
    p.workspace_size = p.packed_size + p.copy_size


cdef inline void share_out(
    Product* p, Py_ssize_t itemsize, Py_ssize_t few, int num_threads
) noexcept nogil:
    """Cut the columns into panels and a few last ones, and these and the rows into jobs."""
    cdef Py_ssize_t vectors = ceil_div(p.N, lanes_of(itemsize))
    # Half as many where rows lie side by side, for each step of k is a page of its own; and fewer
    # where steps of a power of two fall into one set of the cache (0.88 of the speed uncopied).
    p.copy_a = vectors >= (VECTORS_PER_COPY // 2 if p.side_by_side else VECTORS_PER_COPY)
    p.copy_a = p.copy_a or (vectors > 2 and p.a_step * itemsize % 512 == 0)
    p.few = few
    vectors = ceil_div(p.N - few, lanes_of(itemsize))
    p.panels = max(1, vectors // 2)  # an odd vector makes the last one wider
    choose_jobs(p, num_threads)


cdef inline void choose_jobs(Product* p, int num_threads) noexcept nogil:
    """Enough for the threads, with the least to pack: B for each block, A for each share."""
    cdef Py_ssize_t wanted = JOBS_PER_THREAD * num_threads if num_threads > 1 else 1
    cdef Py_ssize_t least = max(1, ceil_div(p.M, ROWS_PER_JOB))
    if least > 1:  # as many for each thread
        least = ceil_div(least, num_threads) * num_threads
    cdef Py_ssize_t most = max(least, min(wanted, ceil_div(p.M, TILE_ROWS)))
    cdef Py_ssize_t blocks, shares, cost, best = -1
    for blocks in range(least, most + 1):
        shares = min(p.panels, ceil_div(wanted, blocks))
        cost = blocks * p.N + (shares * p.M if p.copy_a else 0)
        if blocks * shares >= wanted and (best < 0 or cost < best) or blocks == most and best < 0:
            best = cost
            p.blocks, p.shares = blocks, shares


cdef inline Py_ssize_t columns_before(const Product* p, Py_ssize_t panel) noexcept nogil:
    return p.N - p.few if panel == p.panels else panel * p.panel


cdef inline void pack(
    const Product* p, real* packed, Py_ssize_t first, Py_ssize_t end, Py_ssize_t k, Py_ssize_t depth
) noexcept nogil:
    """packed[panel][k][j] = B[k, column of panel + j], zero beyond the last column."""
    cdef const real* b = <const real*> p.b + (0 if p.b_transposed else k * p.N)
    cdef Py_ssize_t panel = p.panel, n = first * panel, rest, whole, step, q
    # The last panel may be wider, or end within a vector.
    whole = end - first if columns_before(p, end) == end * panel else end - first - 1
    rest = columns_before(p, end) - n - whole * panel
    step = ceil_div(2 * rest, panel) * panel // 2
    cdef real* target = packed + whole * panel * depth
    if p.b_transposed:
        for q in range(whole):
            transpose(packed + q * panel * depth, panel, b + (n + q * panel) * p.K + k, p.K,
                      panel, depth)
        if rest < step:
            memset(target, 0, depth * step * sizeof(real))
        transpose(target, step, b + (n + whole * panel) * p.K + k, p.K, rest, depth)
    else:
        pack_rows(packed, panel * depth, b + n, p.N, depth, whole)
        if rest:
            pack_part(target, step, b + n + whole * panel, p.N, depth, rest)


cdef inline void copy_rows(
    const Product* p, real* copy, const real* a, Py_ssize_t rows, Py_ssize_t depth
) noexcept nogil:
    """copy[tile][k][r] = A[row of tile + r, k], as the tile reads it."""
    cdef Py_ssize_t tiles = ceil_div(rows, TILE_ROWS), steps = ceil_div(depth, STEPS_PER_COPY)
    cdef Py_ssize_t step, k, t, m
    if p.side_by_side:
        for step in range(steps):
            k = step * STEPS_PER_COPY
            copy_steps(p, copy + k * TILE_ROWS, a + k * p.a_step, rows,
                       min(STEPS_PER_COPY, depth - k))
        return
    for t in range(tiles):
        m = part_start(t, tiles, rows)
        pack_tile(copy + t * p.chunk * TILE_ROWS, a + m * p.a_step, p.a_step,
                  part_start(t + 1, tiles, rows) - m, depth)


cdef inline void copy_steps(
    const Product* p, real* copy, const real* a, Py_ssize_t rows, Py_ssize_t depth
) noexcept nogil:
    """A few steps of k of all tiles, of rows side by side."""
    cdef Py_ssize_t tiles = ceil_div(rows, TILE_ROWS), shorter = rows // tiles, t, r, i, k
    for t in range(tiles):
        r = shorter + 1 if t < rows % tiles else shorter
        for k in range(depth):
            if r == TILE_ROWS:  # of a known size: two moves instead of a loop
                memcpy(copy + k * TILE_ROWS, a + k * p.a_step, TILE_ROWS * sizeof(real))
                continue
            for i in range(r):
                copy[k * TILE_ROWS + i] = a[k * p.a_step + i]
        copy += p.chunk * TILE_ROWS
        a += r


cdef inline void multiply(
    const Product* p, Py_ssize_t job, Py_ssize_t worker, real* c
) noexcept nogil:
    """One block of rows times one share of the panels."""
    cdef real* packed = <real*> (p.workspace + worker * p.workspace_size)
    cdef real* copy = <real*> (p.workspace + worker * p.workspace_size + p.packed_size)
    cdef const real* a
    cdef Py_ssize_t block = job % p.blocks, share = job // p.blocks
    cdef Py_ssize_t m0 = part_start(block, p.blocks, p.M)
    cdef Py_ssize_t rows = part_start(block + 1, p.blocks, p.M) - m0
    cdef Py_ssize_t begin = part_start(share, p.shares, p.panels)
    cdef Py_ssize_t end = part_start(share + 1, p.shares, p.panels)
    cdef Py_ssize_t groups = ceil_div(end - begin, p.group)
    cdef Py_ssize_t chunk, k, depth, group, first, last
    for chunk in range(p.chunks):
        k = part_start(chunk, p.chunks, p.K)
        depth = part_start(chunk + 1, p.chunks, p.K) - k
        a = <const real*> p.a + (k * p.a_step + m0 if p.side_by_side else m0 * p.a_step + k)
        if p.copy_a:
            copy_rows(p, copy, a, rows, depth)
            a = copy
        for group in range(groups):
            first = begin + part_start(group, groups, end - begin)
            last = begin + part_start(group + 1, groups, end - begin)
            pack(p, packed, first, last, k, depth)
            multiply_group(p, a, packed, first, last, rows, depth, chunk == 0, c + m0 * p.N)
        if p.few and share == p.shares - 1:
            multiply_few(p, m0, rows, k, depth, chunk == 0, c)


cdef inline void multiply_few(
    const Product* p, Py_ssize_t m, Py_ssize_t rows, Py_ssize_t k, Py_ssize_t depth,
    bint is_first, real* c,
) noexcept nogil:
    """Add one chunk of the sum to the few last columns of a block; neither A nor B is copied."""
    cdef Py_ssize_t n = p.N - p.few
    cdef const real* a = <const real*> p.a + k * p.a_step + m
    cdef const real* b = <const real*> p.b + k * p.N + n
    cdef real* out = c + m * p.N + n
    if CHECKED:
        CHECK(rows >= 3 * lanes_of(sizeof(real)) and p.side_by_side and not p.b_transposed)
        CHECK(m + rows <= p.M and k + depth <= p.K)
    few_columns(
        p.few, rows, a, p.a_step, depth, b, p.N,
        <const real*> p.start + n if is_first else out, 0 if is_first else p.N, out, p.N,
    )


cdef inline void multiply_group(
    const Product* p, const real* a, const real* packed, Py_ssize_t begin, Py_ssize_t end,
    Py_ssize_t rows, Py_ssize_t depth, bint is_first, real* c,
) noexcept nogil:
    """Add one chunk of the sum to a block of C, tile by tile; the first begins at p.start."""
    cdef Py_ssize_t tiles = ceil_div(rows, TILE_ROWS), q, t, m = 0, r, n, width
    cdef Py_ssize_t shorter = rows // tiles, longer = rows % tiles
    cdef const real* tile_of_a
    cdef real* out
    for t in range(tiles):
        r = shorter + 1 if t < longer else shorter
        if p.copy_a:
            tile_of_a = a + t * p.chunk * TILE_ROWS
        else:
            tile_of_a = a + (m if p.side_by_side else m * p.a_step)
        for q in range(begin, end):
            n = q * p.panel
            width = columns_before(p, q + 1) - n
            out = c + m * p.N + n
            if CHECKED:
                check_reads(p, tile_of_a, r, depth, q - begin, ceil_div(2 * width, p.panel))
            product_tile(
                r, ceil_div(2 * width, p.panel), p.copy_a or p.side_by_side, tile_of_a,
                TILE_ROWS if p.copy_a else p.a_step, depth,
                packed + (q - begin) * p.panel * depth,
                <const real*> p.start + n if is_first else out, 0 if is_first else p.N,
                out, p.N, width,
            )
        m += r


cdef inline void check_reads(
    const Product* p, const real* a, Py_ssize_t rows, Py_ssize_t depth, Py_ssize_t panel,
    Py_ssize_t vectors,
) noexcept nogil:
    """In a build with checks: that the last reads of a tile are inside A and the packed panels."""
    cdef Py_ssize_t last = (depth - 1) * p.a_step + rows if p.side_by_side else (
        (rows - 1) * p.a_step + depth
    )
    cdef Py_ssize_t size_of_packed = p.packed_size // <Py_ssize_t> sizeof(real)
    if not p.copy_a and depth > 0:
        CHECK(0 <= a - <const real*> p.a and a - <const real*> p.a + last <= p.M * p.K)
    CHECK(panel * p.panel * depth + depth * vectors * p.panel // 2 <= size_of_packed)
