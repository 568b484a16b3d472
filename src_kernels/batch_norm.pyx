"""Batch normalisation of channels (N, C, S). A job is one channel, or a group of features.

A job's channels stay in the cache from one pass over them to the next. Images go along the pixels
of a plane; features (S = 1) lie side by side, and go along the row. Either way sums are in float64
and threads change no bit.

With ReLU behind it, results are rectified while they are in a register, and so are gradients: `y`
is NULL where there is no ReLU, and says else which elements passed it.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.string cimport memset

from channel_sums cimport Rows, Sums, sum_elements, sum_slopes, sum_squares
from geometry cimport ceil_div
from tile cimport real

cnp.import_array()

cdef enum:
    GROUP = 128  # features of a job: of 64, most of the time went into beginning rows
    FEW_FEATURES = 64


cdef struct Extents:
    Py_ssize_t N, C, S
    Py_ssize_t jobs, width  # features of a job, where S = 1
    double eps


cdef inline real passed(real dout, const real* y, Py_ssize_t i) noexcept nogil:
    """What of a gradient comes through the ReLU."""
    return dout if y == NULL or y[i] > 0 else 0


cdef inline Rows rows_of(const Extents* e) noexcept nogil:
    """The planes of a channel."""
    cdef Rows r
    r.rows, r.step, r.count = e.N, e.C * e.S, e.S
    return r


cdef inline real rectified(real value, bint relu) noexcept nogil:
    return 0 if relu and value <= 0 else value


cdef inline void normalise_channel(
    const Extents* e, Py_ssize_t c, bint relu, const real* x, const real* gamma, const real* beta,
    const real* mean, const real* var, real* y,
) noexcept nogil:
    cdef Py_ssize_t _n, i
    cdef real middle = mean[c], shift = beta[c]
    cdef real scale = <real> (gamma[c] / sqrt(var[c] + e.eps))
    x += c * e.S
    y += c * e.S
    for _n in range(e.N):
        for i in range(e.S):
            y[i] = rectified(<real> ((x[i] - middle) * scale + shift), relu)
        x += e.C * e.S
        y += e.C * e.S


cdef inline void measure_channel(
    const Extents* e, Py_ssize_t c, const real* x, real* mean, real* var
) noexcept nogil:
    cdef double count = max(e.N * e.S, 1)
    cdef Rows rows = rows_of(e)
    mean[c] = <real> (sum_elements(&rows, x + c * e.S) / count)
    var[c] = <real> (sum_squares(&rows, x + c * e.S, mean[c]) / count)


cdef inline void differentiate_channel(
    const Extents* e, Py_ssize_t c, const real* dout, const real* y, const real* x,
    const real* gamma, const real* mean, const real* var, real* dx, real* dgamma, real* dbeta,
) noexcept nogil:
    cdef Py_ssize_t n, i, at
    cdef double count = max(e.N * e.S, 1)
    cdef double inverse_std = 1 / sqrt(var[c] + e.eps)
    cdef real middle = mean[c], scale = <real> (gamma[c] * inverse_std), spread, shift
    cdef Rows rows = rows_of(e)
    at = c * e.S
    cdef Sums sums = sum_slopes(&rows, dout + at, y + at if y != NULL else y, x + at, middle)
    dbeta[c] = <real> sums.slopes
    dgamma[c] = <real> (sums.products * inverse_std)
    shift = <real> (dbeta[c] / count)
    spread = <real> (inverse_std * dgamma[c] / count)
    for n in range(e.N):
        at = (n * e.C + c) * e.S
        for i in range(at, at + e.S):
            dx[i] = (passed(dout[i], y, i) - shift - (x[i] - middle) * spread) * scale


cdef inline void normalise_group(
    const Extents* e, Py_ssize_t first, bint relu, const real* x, const real* gamma,
    const real* beta, const real* mean, const real* var, real* y,
) noexcept nogil:
    cdef Py_ssize_t _n, c, width = min(e.width, e.C - first)
    cdef real[GROUP] middle, scale, shift
    for c in range(width):
        middle[c], shift[c] = mean[first + c], beta[first + c]
        scale[c] = <real> (gamma[first + c] / sqrt(var[first + c] + e.eps))
    x += first
    y += first
    for _n in range(e.N):
        for c in range(width):
            y[c] = rectified(<real> ((x[c] - middle[c]) * scale[c] + shift[c]), relu)
        x += e.C
        y += e.C


cdef inline void measure_group(
    const Extents* e, Py_ssize_t first, const real* x, real* mean, real* var
) noexcept nogil:
    cdef Py_ssize_t _n, c, width = min(e.width, e.C - first)
    cdef double count = max(e.N, 1)
    cdef double[GROUP] sums
    cdef real[GROUP] middle
    cdef real difference
    cdef const real* row = x + first
    memset(sums, 0, sizeof(sums))
    for _n in range(e.N):
        for c in range(width):
            sums[c] += row[c]
        row += e.C
    for c in range(width):
        middle[c] = <real> (sums[c] / count)
        mean[first + c] = middle[c]
    memset(sums, 0, sizeof(sums))
    row = x + first
    for _n in range(e.N):
        for c in range(width):
            difference = row[c] - middle[c]
            sums[c] += difference * difference
        row += e.C
    for c in range(width):
        var[first + c] = <real> (sums[c] / count)


cdef inline void differentiate_group(
    const Extents* e, Py_ssize_t first, const real* dout, const real* y, const real* x,
    const real* gamma, const real* mean, const real* var, real* dx, real* dgamma, real* dbeta,
) noexcept nogil:
    cdef Py_ssize_t n, c, at, width = min(e.width, e.C - first)
    cdef double inverse_std, count = max(e.N, 1)
    cdef double[GROUP] sums, products
    cdef real[GROUP] middle, scale, shift, spread
    cdef real slope
    for c in range(width):
        middle[c] = mean[first + c]
    memset(sums, 0, sizeof(sums))
    memset(products, 0, sizeof(products))
    for n in range(e.N):
        at = n * e.C + first
        for c in range(width):
            slope = passed(dout[at + c], y, at + c)
            sums[c] += slope
            products[c] += slope * (x[at + c] - middle[c])
    for c in range(width):
        inverse_std = 1 / sqrt(var[first + c] + e.eps)
        dbeta[first + c] = <real> sums[c]
        dgamma[first + c] = <real> (products[c] * inverse_std)
        scale[c] = <real> (gamma[first + c] * inverse_std)
        shift[c] = <real> (dbeta[first + c] / count)
        spread[c] = <real> (inverse_std * dgamma[first + c] / count)
    for n in range(e.N):
        at = n * e.C + first
        for c in range(width):
            slope = passed(dout[at + c], y, at + c)
            dx[at + c] = (slope - shift[c] - (x[at + c] - middle[c]) * spread[c]) * scale[c]


cdef inline void forward_job(
    const Extents* e, Py_ssize_t job, bint training, bint relu, const real* x, const real* gamma,
    const real* beta, real* mean, real* var, real* y,
) noexcept nogil:
    if e.S == 1:
        if training:
            measure_group(e, job * e.width, x, mean, var)
        normalise_group(e, job * e.width, relu, x, gamma, beta, mean, var, y)
    else:
        if training:
            measure_channel(e, job, x, mean, var)
        normalise_channel(e, job, relu, x, gamma, beta, mean, var, y)


cdef void forward(
    const Extents* e, bint training, bint relu, const real* x, const real* gamma,
    const real* beta, real* mean, real* var, real* y, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t job
    # One loop for any number of threads: a copy for one thread was compiled to other bits.
    for job in prange(e.jobs, schedule="static", num_threads=num_threads):
        forward_job(e, job, training, relu, x, gamma, beta, mean, var, y)


cdef inline void backward_job(
    const Extents* e, Py_ssize_t job, const real* dout, const real* y, const real* x,
    const real* gamma, const real* mean, const real* var, real* dx, real* dgamma, real* dbeta,
) noexcept nogil:
    if e.S == 1:
        differentiate_group(e, job * e.width, dout, y, x, gamma, mean, var, dx, dgamma, dbeta)
    else:
        differentiate_channel(e, job, dout, y, x, gamma, mean, var, dx, dgamma, dbeta)


cdef void backward(
    const Extents* e, const real* dout, const real* y, const real* x, const real* gamma,
    const real* mean, const real* var, real* dx, real* dgamma, real* dbeta, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t job
    for job in prange(e.jobs, schedule="static", num_threads=num_threads):
        backward_job(e, job, dout, y, x, gamma, mean, var, dx, dgamma, dbeta)


cdef Extents extents_of(cnp.ndarray x, cnp.ndarray eps):
    cdef Extents e
    e.N, e.C, e.S = x.shape[0], x.shape[1], x.shape[2]
    e.eps = (<double*> eps.data)[0]
    e.jobs, e.width = e.C, 1
    if e.S == 1:
        # Evenly many jobs are shared evenly.
        e.jobs = 1 if e.C <= FEW_FEATURES else 2 * ceil_div(e.C, 2 * GROUP)
        e.width = ceil_div(ceil_div(e.C, e.jobs), 16) * 16
        e.jobs = ceil_div(e.C, e.width)
    return e


cdef void run_forward(
    bint training, bint relu, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray eps,
    cnp.ndarray mean, cnp.ndarray var, cnp.ndarray y, int num_threads,
):
    cdef Extents e = extents_of(x, eps)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            forward(
                &e, training, relu, <float*> x.data, <float*> gamma.data, <float*> beta.data,
                <float*> mean.data, <float*> var.data, <float*> y.data, num_threads,
            )
        else:
            forward(
                &e, training, relu, <double*> x.data, <double*> gamma.data, <double*> beta.data,
                <double*> mean.data, <double*> var.data, <double*> y.data, num_threads,
            )


cdef void run_backward(
    cnp.ndarray dout, const void* y, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray mean,
    cnp.ndarray var, cnp.ndarray eps, cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta,
    int num_threads,
):
    cdef Extents e = extents_of(x, eps)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            backward(
                &e, <float*> dout.data, <const float*> y, <float*> x.data, <float*> gamma.data,
                <float*> mean.data, <float*> var.data, <float*> dx.data, <float*> dgamma.data,
                <float*> dbeta.data, num_threads,
            )
        else:
            backward(
                &e, <double*> dout.data, <const double*> y, <double*> x.data,
                <double*> gamma.data, <double*> mean.data, <double*> var.data, <double*> dx.data,
                <double*> dgamma.data, <double*> dbeta.data, num_threads,
            )


def batch_norm_forward(
    cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray eps, cnp.ndarray y,
    cnp.ndarray mean, cnp.ndarray var, int num_threads,
):
    """y = gamma*(x - mean)/sqrt(var + eps) + beta, mean and var being those of x over N and S."""
    run_forward(True, False, x, gamma, beta, eps, mean, var, y, num_threads)


def batch_norm_inference(
    cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray mean, cnp.ndarray var,
    cnp.ndarray eps, cnp.ndarray y, int num_threads,
):
    """y = gamma*(x - mean)/sqrt(var + eps) + beta."""
    run_forward(False, False, x, gamma, beta, eps, mean, var, y, num_threads)


def batch_norm_backward(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray mean, cnp.ndarray var,
    cnp.ndarray eps, cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, int num_threads,
):
    """dx = gamma/sqrt(var + eps) * (dout - dbeta/count - n*dgamma/count); dgamma; dbeta."""
    run_backward(dout, NULL, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads)


def batch_norm_relu_forward(
    cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray eps, cnp.ndarray y,
    cnp.ndarray mean, cnp.ndarray var, int num_threads,
):
    """y = relu(batch_norm(x)), mean and var being those of x over N and S."""
    run_forward(True, True, x, gamma, beta, eps, mean, var, y, num_threads)


def batch_norm_relu_backward(
    cnp.ndarray dout, cnp.ndarray y, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray mean,
    cnp.ndarray var, cnp.ndarray eps, cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta,
    int num_threads,
):
    """The gradients of batch_norm at x, of dout where y > 0, else 0."""
    run_backward(dout, y.data, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads)
