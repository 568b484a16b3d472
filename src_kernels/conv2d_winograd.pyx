"""Convolution with fewer multiplications: Winograd's F(m x m, taps x taps).

A tile of m x m outputs is part of a product of polynomials, in two dimensions. It is known from the
product's values at as many points on either axis as a tile sees pixels, m + taps - 1, one of them
infinity; and the values of a product are products of values. For each point that is one matrix
product over the channels.

    forward          y  = A^T [ sum over c of (G w G^T) * (B^T x B) ] A
    backward input   the same, of dout with the flipped weights
    backward weight  dw = G^T [ sum over tiles of (A dout A^T) * (B^T x B) ] G

A dilated window sees every second or every n-th row and column: its tiles are those of as many
images on either axis, whose pixels lie between each other.

Strided windows and large ones are cut into pieces of two to four taps on either axis: every n-th
tap, as each phase of an image meets them, or some that are side by side. Each piece is a window at
stride 1 of an image of its own, and the sums of all are added up. A missing last tap is zero, and
so is its value at infinity: those products are left out.

                     taps of pieces    products for each output, and of the plain sum
    3x3, stride 2    2, 1               5.4    9    winograd2, F(3x3, 2x2)
    4x4, stride 2    2, 2               7.1   16    the same
    5x5, stride 2    3, 2              12.3   25    winograd2, F(2x2, 3x3)
    5x5              3, 2               9.8   25    gauss, F(4x4, 3x3)
    7x7, stride 2    4, 3              17.4   49    gauss, F(3x3, 4x4)
    7x7              4, 3              17.4   49    the same
    9x9              3, 3, 3           25.9   81    gauss, F(4x4, 3x3)

Windows of a single row or column have lines for tiles, of one axis: F(4, 3) takes 7 multiplications
for 4 outputs in place of 12. They are cut into pieces likewise:

    1x2              2                  1.3    2    winograd2, F(3, 2)
    1x3              3                  1.75   3    gauss, F(4, 3)
    1x5              3, 2               3.25   5    the same
    1x7              4, 3               4.3    7    gauss, F(3, 4)
    1x9              3, 3, 3            5.25   9    gauss, F(4, 3)

Forward and for the weights such images are further channels of one sum, and so they are for the
gradient of the input at stride 1. With strides that is made of a phase from each piece, all from
the same tiles of dout.

Three algorithms differ in their tiles and points:

    winograd2  F(2x2, 3x3): 16 multiplications, 4 for each output where the plain sum has 9;
               F(3x3, 2x2), 1.8 where it has 4; 4 for lines
    gauss      46 multiplications, two of the points are i and -i: F(4x4, 3x3), 2.9 for each output;
               F(3x3, 4x4), 5.1 where the plain sum has 16; 7 for lines
    winograd4  F(4x4, 3x3): 36, 2.25 for each output, of which digits are lost; 3x3 at stride 1 only

Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015); Meng and Brothers,
"Efficient Winograd convolution via integer arithmetic" (2019). The transforms of a tile are in
winograd.h, tiles and what moves them in winograd.pxd, the correlation of the first two in
winograd_correlation.pxd and the third in winograd_gradient.pxd. Vectors run over channels.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.string cimport memset

from geometry cimport ceil_div
from tile cimport real
from winograd cimport F2, F4, GAUSS, count_tiles
from winograd_correlation cimport (
    Correlation, correlate, fill_tables, kernel_jobs, plan_correlation, transform_kernels,
)
from winograd_gradient cimport Gradient, accumulate, fill_gradient_tables, finish, plan_gradient

from fastscratch.kernels.cython_ext.scratch import Scratch

cnp.import_array()


cdef int threads_of_groups(Py_ssize_t groups, int num_threads) noexcept nogil:
    """How many groups are computed at a time: one by all threads, or one by each of them.

    The latter waits for nobody between groups (32 of 16 channels: 1.2 to 1.5 times as fast).
    """
    return num_threads if groups % num_threads == 0 or groups >= 4 * num_threads else 1


cdef void run_correlation(Correlation* p, real* out, int num_threads):
    """Group by group; each has the same plan."""
    cdef int at_once = threads_of_groups(p.G, num_threads)
    plan_correlation(p, sizeof(real), num_threads // at_once)
    cdef Py_ssize_t jobs = p.tiles.row_blocks * p.tiles.col_blocks * p.shares, g
    cdef int workers = <int> max(1, min(num_threads // at_once, max(jobs, p.round_panels)))
    cdef Py_ssize_t size = p.kernels_size + 2 * p.bias_size + 2 * p.table_size
    size += workers * p.workspace_size
    memory = Scratch(at_once * size)
    cdef char* data = <char*> <uintptr_t> memory.address
    with nogil:
        if at_once == 1:
            for g in range(p.G):
                correlate_group(p, g, jobs, data, workers, out)
        else:
            for g in prange(p.G, schedule="dynamic", num_threads=at_once):
                correlate_group(p, g, jobs, data + threadid() * size, workers, out)


cdef void correlate_group(
    const Correlation* every, Py_ssize_t g, Py_ssize_t jobs, char* memory, int workers, real* out
) noexcept nogil:
    """Round by round, transform the weights, then do the jobs."""
    cdef Correlation p = every[0]
    cdef Py_ssize_t turn, first, panels, job
    p.source.data = <const real*> p.source.data + g * p.C * p.source.H * p.source.W
    p.weight = <const real*> p.weight + g * p.OC * p.C * p.tiles.window
    if p.bias != NULL:
        p.bias = <const real*> p.bias + g * p.OC
    out += g * p.OC * p.H * p.W
    p.kernels = memory
    p.padded_bias = memory + p.kernels_size
    p.zeros = <char*> p.padded_bias + p.bias_size
    p.tile_offset = <Py_ssize_t*> (<char*> p.zeros + p.bias_size)
    p.channel_offset = <Py_ssize_t*> (<char*> p.tile_offset + p.table_size)
    p.workspace = <char*> p.channel_offset + p.table_size
    fill_tables(&p, out)
    for turn in range(p.rounds):
        first = turn * p.round_panels
        panels = min(p.round_panels, p.panels - first)
        if workers == 1:
            for job in range(kernel_jobs(&p, panels)):
                transform_kernels(&p, first, panels, job, 0, out)
            for job in range(jobs):
                correlate(&p, first, job, 0, out)
        else:
            for job in prange(kernel_jobs(&p, panels), schedule="static", num_threads=workers):
                transform_kernels(&p, first, panels, job, threadid(), out)
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                correlate(&p, first, job, threadid(), out)
    memset(p.tile_offset, 0, 2 * p.table_size)


cdef void correlation(
    int points, cnp.ndarray x, cnp.ndarray weight, const real* bias, cnp.ndarray y, tuple stride,
    tuple padding, tuple dilation, int groups, bint flipped, int num_threads,
):
    cdef Correlation p
    if y.size == 0:
        return
    cdef Py_ssize_t dilation_h = dilation[0], dilation_w = dilation[1], step = stride[0]
    cdef Py_ssize_t top, left, rows = y.shape[2], cols = y.shape[3]
    top, _, left, _ = padding
    p.G, p.C, p.OC = groups, x.shape[1] // groups, y.shape[1] // groups
    p.H, p.W, p.top, p.left, p.stride = rows, cols, 0, 0, 1
    if flipped:  # the phases of the output, from the first one that is not all padding
        p.stride, p.top, p.left = step, top % step, left % step
        rows, cols = ceil_div(p.top + rows, step), ceil_div(p.left + cols, step)
    count_tiles(&p.tiles, points, weight.shape[2], weight.shape[3], step, x.shape[0], rows, cols,
                dilation_h, dilation_w)
    p.weight, p.bias, p.flipped = weight.data, bias, flipped
    p.source.data, p.source.C = x.data, x.shape[1]
    p.source.H, p.source.W = x.shape[2], x.shape[3]
    p.source.gradients, p.source.stride, p.source.pieces = False, step, p.tiles.pieces
    p.source.top, p.source.left = top, left
    if flipped and step > 1:
        p.source.stride = p.source.pieces = 1
        p.source.top = p.tiles.h.taps - 1 - top // step
        p.source.left = p.tiles.w.taps - 1 - left // step
    elif flipped:
        p.source.top = (p.tiles.h.window - 1) * dilation_h - top
        p.source.left = (p.tiles.w.window - 1) * dilation_w - left
    run_correlation(&p, <real*> y.data, num_threads)


cdef void gradient(
    int points, Py_ssize_t window_h, Py_ssize_t window_w, cnp.ndarray dout, cnp.ndarray x,
    real* dw, real* db, tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    cdef Gradient p
    p.G, p.C, p.OC = groups, x.shape[1] // groups, dout.shape[1] // groups
    if x.shape[0] == 0:
        memset(dw, 0, p.G * p.OC * p.C * window_h * window_w * sizeof(real))
        memset(db, 0, p.G * p.OC * sizeof(real))
        return
    count_tiles(&p.tiles, points, window_h, window_w, stride[0], x.shape[0], dout.shape[2],
                dout.shape[3], dilation[0], dilation[1])
    p.x.data, p.x.C, p.x.H, p.x.W = x.data, x.shape[1], x.shape[2], x.shape[3]
    p.x.top, _, p.x.left, _ = padding
    p.dout.data, p.dout.C = dout.data, dout.shape[1]
    p.dout.H, p.dout.W = p.tiles.OH, p.tiles.OW
    p.dout.top = p.dout.left = 0
    p.x.stride, p.x.pieces = p.tiles.stride, p.tiles.pieces
    p.dout.stride = p.dout.pieces = 1
    plan_gradient(&p, sizeof(real))
    cdef int at_once = threads_of_groups(p.G, num_threads)
    cdef Py_ssize_t jobs = p.channel_blocks * p.groups * p.parts, g
    cdef int workers = <int> max(1, min(num_threads // at_once, jobs))
    cdef Py_ssize_t size = (jobs if p.parts > 1 else workers) * p.sums_size
    size += p.zeros_size + 2 * p.table_size + workers * p.workspace_size
    memory = Scratch(at_once * size)
    cdef char* data = <char*> <uintptr_t> memory.address
    with nogil:
        if at_once == 1:
            for g in range(p.G):
                gradient_of_group(&p, g, jobs, data, workers, dw, db)
        else:
            for g in prange(p.G, schedule="dynamic", num_threads=at_once):
                gradient_of_group(&p, g, jobs, data + threadid() * size, workers, dw, db)


cdef void gradient_of_group(
    const Gradient* every, Py_ssize_t g, Py_ssize_t jobs, char* memory, int workers, real* dw,
    real* db,
) noexcept nogil:
    """Sum up the parts, then add them up."""
    cdef Gradient p = every[0]
    cdef Py_ssize_t ends = jobs // p.parts * p.group if p.parts > 1 else 0, job
    p.x.data = <const real*> p.x.data + g * p.C * p.x.H * p.x.W
    p.dout.data = <const real*> p.dout.data + g * p.OC * p.dout.H * p.dout.W
    dw += g * p.OC * p.C * p.tiles.window
    db += g * p.OC
    p.sums = memory
    p.zeros = memory + (jobs if p.parts > 1 else workers) * p.sums_size
    p.channel_offset = <Py_ssize_t*> (<char*> p.zeros + p.zeros_size)
    p.tile_offset = <Py_ssize_t*> (<char*> p.channel_offset + p.table_size)
    p.workspace = <char*> p.tile_offset + p.table_size
    fill_gradient_tables(&p)
    if workers == 1:
        for job in range(jobs):
            accumulate(&p, job, 0, dw, db)
        for job in range(ends):
            finish(&p, job // p.group * p.parts, job % p.group, 0, dw, db)
    else:
        for job in prange(jobs, schedule="dynamic", num_threads=workers):
            accumulate(&p, job, threadid(), dw, db)
        for job in prange(ends, schedule="static", num_threads=workers):
            finish(&p, job // p.group * p.parts, job % p.group, threadid(), dw, db)
    memset(p.channel_offset, 0, 2 * p.table_size)


cdef void forward(
    int points, cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y, tuple stride,
    tuple padding, tuple dilation, int groups, int num_threads,
):
    if x.descr.type_num == cnp.NPY_FLOAT32:
        correlation(points, x, weight, <const float*> bias.data, y, stride, padding,
                    dilation, groups, False, num_threads)
    else:
        correlation(points, x, weight, <const double*> bias.data, y, stride, padding,
                    dilation, groups, False, num_threads)


cdef void backward_input(
    int points, cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx, tuple stride,
    tuple padding, tuple dilation, int groups, int num_threads,
):
    if dx.descr.type_num == cnp.NPY_FLOAT32:
        correlation(points, dout, weight, <const float*> NULL, dx, stride, padding, dilation,
                    groups, True, num_threads)
    else:
        correlation(points, dout, weight, <const double*> NULL, dx, stride, padding, dilation,
                    groups, True, num_threads)


cdef void backward_weight(
    int points, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db, tuple stride,
    tuple padding, tuple dilation, int groups, int num_threads,
):
    if x.descr.type_num == cnp.NPY_FLOAT32:
        gradient(points, dw.shape[2], dw.shape[3], dout, x, <float*> dw.data, <float*> db.data,
                 stride, padding, dilation, groups, num_threads)
    else:
        gradient(points, dw.shape[2], dw.shape[3], dout, x, <double*> dw.data, <double*> db.data,
                 stride, padding, dilation, groups, num_threads)


def winograd2_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """y = bias + A^T [sum over c of (G weight G^T) * (B^T x B)] A, for each 2x2 tile of y."""
    forward(F2, x, weight, bias, y, stride, padding, dilation, groups, num_threads)


def winograd2_backward_input(
    cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dx = A^T [sum over oc of (G flipped weight G^T) * (B^T dout B)] A, for each 2x2 tile."""
    backward_input(F2, dout, weight, dx, stride, padding, dilation, groups, num_threads)


def winograd2_backward_weight(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dw = G^T [sum over 2x2 tiles of dout of (A dout A^T) * (B^T x B)] G; db too."""
    backward_weight(F2, dout, x, dw, db, stride, padding, dilation, groups, num_threads)


def winograd4_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """y = bias + A^T [sum over c of (G weight G^T) * (B^T x B)] A, for each 4x4 tile of y."""
    forward(F4, x, weight, bias, y, stride, padding, dilation, groups, num_threads)


def winograd4_backward_input(
    cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dx = A^T [sum over oc of (G flipped weight G^T) * (B^T dout B)] A, for each 4x4 tile."""
    backward_input(F4, dout, weight, dx, stride, padding, dilation, groups, num_threads)


def winograd4_backward_weight(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dw = G^T [sum over 4x4 tiles of dout of (A dout A^T) * (B^T x B)] G; db too."""
    backward_weight(F4, dout, x, dw, db, stride, padding, dilation, groups, num_threads)


def gauss_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """y = bias + A^T [sum over c of (G weight G^T) * (B^T x B)] A, for each tile of y."""
    forward(GAUSS, x, weight, bias, y, stride, padding, dilation, groups, num_threads)


def gauss_backward_input(
    cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dx = A^T [sum over oc of (G flipped weight G^T) * (B^T dout B)] A, for each tile."""
    backward_input(GAUSS, dout, weight, dx, stride, padding, dilation, groups, num_threads)


def gauss_backward_weight(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dw = G^T [sum over tiles of dout of (A dout A^T) * (B^T x B)] G; db too."""
    backward_weight(GAUSS, dout, x, dw, db, stride, padding, dilation, groups, num_threads)
