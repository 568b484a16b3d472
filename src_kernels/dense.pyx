"""Dense layer: its three matrix products, on one blocked product or, for few rows, as they lie.

A convolution whose windows are as large as the images is one, too, with the weights of an output in
a row: forward there is backward input here, and the other way round.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset

from geometry cimport part_start
from product cimport Product, multiply, plan
from tile cimport dot, four_dots, real

from fastscratch.kernels.cython_ext.scratch import Scratch

cnp.import_array()

cdef enum:
    FEW_ROWS = 3  # of x or dout: up to here the weights are read once, unpacked
    LEAST_DOT = 12  # terms of a sum along a row of the weights, per example: finishing takes long
    LEAST_SUMS = 32  # of a row of y, added up as they lie; with 14, 0.4 of the speed
    LEAST_PRODUCTS = 32  # of a row of dw, per example: in shorter ones the product is as fast
    BYTES_PER_PART = 256 << 10  # of weights, that take longer to read than a thread to wake


cdef void run(Product* p, const real* bias, real* c, int num_threads):
    """C = bias + A @ B."""
    if p.M == 0:
        return
    plan(p, sizeof(real), num_threads)
    cdef Py_ssize_t jobs = p.blocks * p.shares
    cdef int workers = <int> max(1, min(num_threads, jobs))
    cdef int job
    memory = Scratch(p.start_size + workers * p.workspace_size)
    p.start = <void*> <uintptr_t> memory.address
    p.workspace = <char*> p.start + p.start_size
    with nogil:
        memset(p.start, 0, p.start_size)
        if bias != NULL:
            memcpy(p.start, bias, p.N * sizeof(real))
        if workers == 1:
            for job in range(jobs):
                multiply(p, job, 0, c)
        else:
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                multiply(p, job, threadid(), c)


cdef int parts_of(Py_ssize_t extent, Py_ssize_t nbytes, int num_threads):
    """How many parts the weights are cut into where there is little to compute with each."""
    return <int> max(1, min(num_threads, min(extent, nbytes // BYTES_PER_PART)))


cdef void forward(
    const real* x, const real* weight, const real* bias, real* y,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Product p
    p.M, p.N, p.K = M, N, K
    p.a, p.a_step, p.side_by_side = x, K, False
    p.b, p.b_transposed = weight, False
    if M == 1 or M <= FEW_ROWS and N >= LEAST_SUMS:
        with nogil:
            few_rows_forward(x, weight, bias, y, M, N, K)
    else:
        run(&p, bias, y, num_threads)


cdef void few_rows_forward(
    const real* x, const real* weight, const real* bias, real* y,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
) noexcept nogil:
    """y = x @ weight + bias with the weights as they lie: packing them would cost more.

    On one thread: columns shared out are read in pieces, which takes 1.5 times as long.
    """
    cdef Py_ssize_t m, k, n
    cdef const real* row
    cdef const real* terms
    cdef real x0, x1, x2, x3
    cdef real* sums
    for m in range(M):
        if bias == NULL:
            memset(y + m * N, 0, N * sizeof(real))
        else:
            memcpy(y + m * N, bias, N * sizeof(real))
    # Of the weights, each row is read once for all examples.
    for k in range(0, K - 3, 4):
        row = weight + k * N
        for m in range(M):
            terms, sums = x + m * K + k, y + m * N
            x0, x1, x2, x3 = terms[0], terms[1], terms[2], terms[3]
            for n in range(N):
                sums[n] += (
                    (x0 * row[n] + x1 * row[N + n]) + (x2 * row[2 * N + n] + x3 * row[3 * N + n])
                )
    for k in range(K // 4 * 4, K):
        for m in range(M):
            for n in range(N):
                y[m * N + n] += x[m * K + k] * weight[k * N + n]


cdef void backward_input(
    const real* dout, const real* weight, real* dx,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Product p
    cdef int part, parts = parts_of(N, N * K * sizeof(real), num_threads)
    p.M, p.N, p.K = M, N, K
    p.a, p.a_step, p.side_by_side = dout, K, False
    p.b, p.b_transposed = weight, True
    if M <= FEW_ROWS and K >= M * LEAST_DOT:
        if parts == 1:  # a region of one thread takes a microsecond all the same
            few_rows_backward_input(dout, weight, dx, M, N, K, 0, 1)
            return
        for part in prange(parts, nogil=True, schedule="static", num_threads=parts):
            few_rows_backward_input(dout, weight, dx, M, N, K, part, parts)
    else:
        run(&p, <const real*> NULL, dx, num_threads)


cdef void few_rows_backward_input(
    const real* dout, const real* weight, real* dx,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int part, int parts,
) noexcept nogil:
    """One part of the columns of dx = dout @ weight.T, from four rows of the weights at a time."""
    cdef Py_ssize_t m, n, four
    for four in range(part_start(part, parts, N // 4), part_start(part + 1, parts, N // 4)):
        for m in range(M):
            four_dots(dout + m * K, weight + 4 * four * K, K, K, dx + m * N + 4 * four)
    if part + 1 < parts:
        return
    for n in range(N // 4 * 4, N):
        for m in range(M):
            dx[m * N + n] = dot(dout + m * K, weight + n * K, K)


cdef void add_rows(const real* a, real* sums, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """The sum of K rows."""
    cdef Py_ssize_t k, n
    memset(sums, 0, N * sizeof(real))
    for k in range(K):
        for n in range(N):
            sums[n] += a[k * N + n]


cdef void backward_weight(
    const real* dout, const real* x, real* dw, real* db,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Product p
    cdef int part, parts = parts_of(M, M * N * sizeof(real), num_threads)
    p.M, p.N, p.K = M, N, K
    p.a, p.a_step, p.side_by_side = x, M, True
    p.b, p.b_transposed = dout, False
    if db != NULL:
        with nogil:
            add_rows(dout, db, N, K)
    if K <= 1 or K <= 4 and N >= K * LEAST_PRODUCTS:
        if parts == 1:
            few_rows_backward_weight(dout, x, dw, M, N, K, 0, M)
            return
        for part in prange(parts, nogil=True, schedule="static", num_threads=parts):
            few_rows_backward_weight(
                dout, x, dw, M, N, K, part_start(part, parts, M), part_start(part + 1, parts, M)
            )
    else:
        run(&p, <const real*> NULL, dw, num_threads)


cdef void few_rows_backward_weight(
    const real* dout, const real* x, real* dw,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, Py_ssize_t begin, Py_ssize_t end,
) noexcept nogil:
    """Some rows of dw = x.T @ dout, of up to four examples, each in one pass.

    1.5 to 2 times as fast as adding one example after the other to a row.
    """
    cdef Py_ssize_t m, n
    cdef const real* d = dout
    cdef real x0, x1, x2, x3
    cdef real* row
    for m in range(begin, end):
        row = dw + m * N
        if K == 0:
            memset(row, 0, N * sizeof(real))
        elif K == 1:
            x0 = x[m]
            for n in range(N):
                row[n] = x0 * d[n]
        elif K == 2:
            x0, x1 = x[m], x[M + m]
            for n in range(N):
                row[n] = x0 * d[n] + x1 * d[N + n]
        elif K == 3:
            x0, x1, x2 = x[m], x[M + m], x[2 * M + m]
            for n in range(N):
                row[n] = x0 * d[n] + x1 * d[N + n] + x2 * d[2 * N + n]
        else:
            x0, x1, x2, x3 = x[m], x[M + m], x[2 * M + m], x[3 * M + m]
            for n in range(N):
                row[n] = (x0 * d[n] + x1 * d[N + n]) + (x2 * d[2 * N + n] + x3 * d[3 * N + n])


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


cdef void convolve(
    const real* x, const real* weight, const real* bias, real* y,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, int num_threads,
):
    cdef Py_ssize_t m, n
    backward_input(x, weight, y, M, N, K, num_threads)
    for m in range(M):
        for n in range(N):
            y[m * N + n] += bias[n]


def whole_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y, tuple stride,
    tuple padding, tuple dilation, int groups, int num_threads,
):
    """y[n, oc] = bias[oc] + sum of x[n]*weight[oc]: each window is an image."""
    cdef Py_ssize_t M = x.shape[0], N = weight.shape[0]
    cdef Py_ssize_t K = x.shape[1] * x.shape[2] * x.shape[3]
    if x.descr.type_num == cnp.NPY_FLOAT32:
        convolve(
            <float*> x.data, <float*> weight.data, <float*> bias.data, <float*> y.data,
            M, N, K, num_threads,
        )
    else:
        convolve(
            <double*> x.data, <double*> weight.data, <double*> bias.data, <double*> y.data,
            M, N, K, num_threads,
        )


def whole_backward_input(
    cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx, tuple stride, tuple padding,
    tuple dilation, int groups, int num_threads,
):
    """dx[n] = sum over oc of dout[n, oc]*weight[oc]."""
    cdef Py_ssize_t M = dx.shape[0], N = dx.shape[1] * dx.shape[2] * dx.shape[3]
    cdef Py_ssize_t K = dout.shape[1]
    if dout.descr.type_num == cnp.NPY_FLOAT32:
        forward(
            <float*> dout.data, <float*> weight.data, <const float*> NULL, <float*> dx.data,
            M, N, K, num_threads,
        )
    else:
        forward(
            <double*> dout.data, <double*> weight.data, <const double*> NULL, <double*> dx.data,
            M, N, K, num_threads,
        )


def whole_backward_weight(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db, tuple stride, tuple padding,
    tuple dilation, int groups, int num_threads,
):
    """dw[oc] = sum over n of dout[n, oc]*x[n], and db = the sum of dout over the batch."""
    cdef Py_ssize_t M = dout.shape[1], N = x.shape[1] * x.shape[2] * x.shape[3]
    cdef Py_ssize_t K = x.shape[0]
    if x.descr.type_num == cnp.NPY_FLOAT32:
        add_rows(<float*> dout.data, <float*> db.data, M, K)
        backward_weight(
            <float*> x.data, <float*> dout.data, <float*> dw.data, <float*> NULL,
            M, N, K, num_threads,
        )
    else:
        add_rows(<double*> dout.data, <double*> db.data, M, K)
        backward_weight(
            <double*> x.data, <double*> dout.data, <double*> dw.data, <double*> NULL,
            M, N, K, num_threads,
        )
