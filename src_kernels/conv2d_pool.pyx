"""Convolution, ReLU and max pooling as one: the map between them is never stored as a whole.

Forward, a job is one image and one panel of output channels. Their part of the map fits the caches;
it is pooled there, and rectified after that, which gives the same (conv2d_forward:
correlate.pxd; max_pool2d_forward: max_pool.pxd).

Backward, at most one element of a pooling window has a gradient, and none where the maximum was
rectified. So dw is a sum over these elements of windows of x, a few vectors each: a quarter of the
multiply-adds for pooling by 2x2, and no gradient of the map to write and read.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.stdint cimport uint8_t, uintptr_t
from libc.string cimport memset

from correlate cimport correlate
from correlation_plan cimport (
    TILE, Correlation, clear_tables, fill_tables, pack_panel, plan_correlation,
)
from geometry cimport Windows, aligned, ceil_div, copy_window, make_windows, part_start
from max_pool cimport index, largest_of_part
from tile cimport lanes_of, real, sum_rows

from fastscratch.kernels.cython_ext.scratch import Scratch

cnp.import_array()

cdef extern from "scattered.h" nogil:
    Py_ssize_t list_gradients_f32(
        Py_ssize_t, const float*, const float*, const void*, bint, const int*, unsigned int, int,
        int, int*, float*)
    Py_ssize_t list_gradients_f64(
        Py_ssize_t, const double*, const double*, const void*, bint, const int*, unsigned int, int,
        int, int*, double*)
    void scattered_sums_f32(Py_ssize_t, const float*, const Py_ssize_t*, const int*, const float*,
                            Py_ssize_t, float*)
    void scattered_sums_f64(Py_ssize_t, const double*, const Py_ssize_t*, const int*,
                            const double*, Py_ssize_t, double*)

cdef enum:
    PARTS = 16  # of the images, each with sums of its own: to share them out among threads
    COPY = 1 << 20  # bytes of a padded copy of some channels of an image


cdef struct Problem:
    Py_ssize_t N, G, C, H, W, OC, PH, PW, KH, KW  # C and OC of one group; PH, PW of the pooled map
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left, pool_h, pool_w


cdef Problem problem_of(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, tuple stride, tuple padding, tuple dilation,
    int groups, tuple pool,
):
    cdef Problem w
    w.N, w.H, w.W = x.shape[0], x.shape[2], x.shape[3]
    w.G, w.C, w.OC = groups, weight.shape[1], weight.shape[0] // groups
    w.KH, w.KW = weight.shape[2], weight.shape[3]
    w.PH, w.PW = y.shape[2], y.shape[3]
    w.stride_h, w.stride_w = stride
    w.top, _, w.left, _ = padding
    w.dilation_h, w.dilation_w = dilation
    w.pool_h, w.pool_w = pool
    return w


# Forward.


cdef void forward(
    const Problem* w, const real* x, const real* weight, const real* bias, real* y, index* argmax,
    int num_threads,
):
    cdef Correlation p
    cdef Windows windows
    if w.N * w.OC * w.PH * w.PW == 0:
        return
    p.N, p.G, p.C, p.H, p.W = 1, w.G, w.C, w.H, w.W
    p.OC, p.OH, p.OW, p.KH, p.KW = w.OC, w.PH * w.pool_h, w.PW * w.pool_w, w.KH, w.KW
    p.stride_h, p.stride_w = w.stride_h, w.stride_w
    p.dilation_h, p.dilation_w = w.dilation_h, w.dilation_w
    p.top, p.left = w.top, w.left
    p.x, p.bias = x, bias
    p.weight.data = weight
    p.weight.col = 1
    p.weight.row = w.KW
    p.weight.channel = w.KH * w.KW
    p.weight.out = w.C * w.KH * w.KW
    p.weight.group = w.OC * w.C * w.KH * w.KW
    p.out_col, p.out_row, p.out_plane = 1, p.OW, p.OH * p.OW
    p.out_image = 0
    windows = make_windows(
        1, 1, p.OH, p.OW, w.PH, w.PW, (w.pool_h, w.pool_w), (w.pool_h, w.pool_w), (0, 0, 0, 0),
        (1, 1),
    )
    p.together = p.most_images = p.most_groups = 1
    plan_correlation(&p, sizeof(real), num_threads)
    # A job has one panel of one group.
    p.panel_groups = p.panels
    p.jobs = p.G * p.row_blocks * p.col_blocks * p.panels
    windows.C = p.panel
    cdef Py_ssize_t panels = p.G * p.panels, jobs = w.N * panels, job, worker_size
    cdef Py_ssize_t image = w.G * w.C * w.H * w.W
    cdef int workers = <int> max(1, min(num_threads, jobs))
    worker_size = p.workspace_size + aligned(p.panel * p.out_plane * sizeof(real))
    memory = Scratch(p.packed_size + p.bias_size + p.table_size + workers * worker_size)
    cdef char* data = <char*> <uintptr_t> memory.address
    p.packed = data
    p.padded_bias = data + p.packed_size
    p.k_offset = <Py_ssize_t*> (data + p.packed_size + p.bias_size)
    p.workspace = data + p.packed_size + p.bias_size + p.table_size
    with nogil:
        fill_tables(&p, y)
        for job in range(panels):
            pack_panel(&p, job, y)
        if workers == 1:
            for job in range(jobs):
                map_and_pool(&p, &windows, job, image, p.workspace, x, y, argmax)
        else:
            for job in prange(jobs, schedule="static", num_threads=workers):
                map_and_pool(&p, &windows, job, image, p.workspace + threadid() * worker_size,
                             x, y, argmax)
        p.workspace_size = worker_size
        clear_tables(&p, workers)


cdef inline void map_and_pool(
    const Correlation* plan, const Windows* w, Py_ssize_t job, Py_ssize_t image, char* workspace,
    const real* x, real* y, index* argmax,
) noexcept nogil:
    """One panel of output channels of one image: its map, in scratch memory, and that pooled."""
    cdef Correlation p = plan[0]
    cdef Py_ssize_t q = job % p.panels, g = job // p.panels % p.G, n = job // p.panels // p.G
    cdef Py_ssize_t blocks = p.row_blocks * p.col_blocks, first, width, i
    cdef Py_ssize_t pixels = w.OH * w.OW
    cdef real* map = <real*> (workspace + p.workspace_size)
    if p.way == TILE:
        first = q * p.panel
        width = min(p.panel, p.OC - first)
    else:
        first = part_start(q, p.panels, p.OC)
        width = part_start(q + 1, p.panels, p.OC) - first
    p.x = x + n * image
    p.out = map - (g * p.OC + first) * p.out_plane
    p.workspace = workspace
    for i in range(blocks):
        correlate(&p, (g * blocks + i) * p.panels + q, 0, map)
    y += ((n * p.G + g) * p.OC + first) * pixels
    argmax += ((n * p.G + g) * p.OC + first) * pixels
    for i in range(width):
        largest_of_part(w, i, map, y, argmax)
    for i in range(width * pixels):
        y[i] = 0 if y[i] <= 0 else y[i]


# Backward.


cdef struct Gradient:
    Problem problem
    Py_ssize_t copy_row, copy_plane, OH, OW, vectors, rows  # vectors and rows of one channel
    Py_ssize_t channels, channel_blocks, parts
    Py_ssize_t sums_size, copy_size, list_size, starts_size, table_size, workspace_size
    Py_ssize_t* row_offset
    int* place  # of each element of a pooling window
    char* sums
    char* workspace


cdef void plan_gradient(Gradient* p, Py_ssize_t itemsize) noexcept nogil:
    """The blocks and the memory: a pure function of the problem."""
    cdef Problem* w = &p.problem
    cdef Py_ssize_t lanes = lanes_of(itemsize)
    p.OH, p.OW = w.PH * w.pool_h, w.PW * w.pool_w
    p.copy_row = (p.OW - 1) * w.stride_w + (w.KW - 1) * w.dilation_w + 1
    p.copy_plane = ((p.OH - 1) * w.stride_h + (w.KH - 1) * w.dilation_h + 1) * p.copy_row
    # The elements of a row of a window are neighbours, or else each stands for itself.
    p.vectors = ceil_div(w.KW, lanes) if w.dilation_w == 1 else w.KW
    p.rows = w.KH * p.vectors
    p.channels = max(1, min(w.C, COPY // (p.copy_plane * itemsize)))
    p.channel_blocks = ceil_div(w.C, p.channels)
    p.parts = max(1, min(w.N, PARTS))
    p.sums_size = aligned(w.G * w.OC * (w.C * p.rows * lanes + 1) * itemsize)
    p.table_size = aligned(p.channels * p.rows * sizeof(Py_ssize_t))
    p.table_size += aligned(w.pool_h * w.pool_w * sizeof(int))
    p.copy_size = aligned((p.channels * p.copy_plane + lanes) * itemsize)
    # Lists are written on up to a vector beyond their end.
    p.list_size = aligned((w.PH * w.PW + lanes) * itemsize)
    p.starts_size = aligned((w.PH * w.PW + lanes) * sizeof(int))
    p.workspace_size = p.copy_size + p.list_size + p.starts_size


cdef void fill_gradient_tables(Gradient* p, real* tag) noexcept nogil:
    """Where the rows of a window lie in the copy, and the elements of a pooling window."""
    cdef Problem* w = &p.problem
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), c, kh, v, i = 0
    cdef Py_ssize_t step = lanes if w.dilation_w == 1 else w.dilation_w
    for c in range(p.channels):
        for kh in range(w.KH):
            for v in range(p.vectors):
                p.row_offset[i] = c * p.copy_plane + kh * w.dilation_h * p.copy_row + v * step
                i += 1
    for i in range(w.pool_h * w.pool_w):
        p.place[i] = <int> (
            i // w.pool_w * w.stride_h * p.copy_row + i % w.pool_w * w.stride_w
        )


cdef void backward_weight(
    Gradient* p, const real* dout, const real* y, const index* argmax, const real* x,
    real* dw, real* db, int num_threads,
):
    cdef Problem* w = &p.problem
    plan_gradient(p, sizeof(real))
    cdef Py_ssize_t jobs = p.parts, job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    memory = Scratch(p.table_size + jobs * p.sums_size + workers * p.workspace_size)
    cdef char* data = <char*> <uintptr_t> memory.address
    p.row_offset = <Py_ssize_t*> data
    p.place = <int*> (data + aligned(p.channels * p.rows * sizeof(Py_ssize_t)))
    p.sums = data + p.table_size
    p.workspace = p.sums + jobs * p.sums_size
    with nogil:
        fill_gradient_tables(p, dw)
        memset(p.sums, 0, jobs * p.sums_size)
        if workers == 1:
            for job in range(jobs):
                add_part(p, job, 0, dout, y, argmax, x)
        else:
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                add_part(p, job, threadid(), dout, y, argmax, x)
        for job in range(w.G * w.OC):
            finish_channel(p, job, dw, db)
        memset(data, 0, p.table_size)
        for job in range(workers):
            memset(starts_of(p, job), 0, p.starts_size)


cdef inline int* starts_of(const Gradient* p, Py_ssize_t worker) noexcept nogil:
    """Where a worker lists the windows that have a gradient."""
    return <int*> (p.workspace + worker * p.workspace_size + p.copy_size + p.list_size)


cdef inline void add_part(
    const Gradient* p, Py_ssize_t part, Py_ssize_t worker,
    const real* dout, const real* y, const index* argmax, const real* x,
) noexcept nogil:
    """The sums of some images."""
    cdef const Problem* w = &p.problem
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef real* copy = <real*> workspace
    cdef real* value = <real*> (workspace + p.copy_size)
    cdef int* start = starts_of(p, worker)
    cdef real* sums = <real*> (p.sums + part * p.sums_size)
    cdef real* own
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), pixels = w.PH * w.PW
    cdef Py_ssize_t size = w.C * p.rows * lanes + 1, n, g, oc, c, first, channels, block, count, at
    for n in range(part_start(part, p.parts, w.N), part_start(part + 1, p.parts, w.N)):
        for g in range(w.G):
            for block in range(p.channel_blocks):
                first = part_start(block, p.channel_blocks, w.C)
                channels = part_start(block + 1, p.channel_blocks, w.C) - first
                for c in range(channels):
                    copy_window(
                        copy + c * p.copy_plane, p.copy_row,
                        x + ((n * w.G + g) * w.C + first + c) * w.H * w.W, w.H, w.W,
                        -w.top, 1, p.copy_plane // p.copy_row, -w.left, 1, p.copy_row,
                    )
                # Vectors read on behind the last row.
                memset(copy + channels * p.copy_plane, 0, lanes * sizeof(real))
                for oc in range(w.OC):
                    at = ((n * w.G + g) * w.OC + oc) * pixels
                    own = sums + (g * w.OC + oc) * size
                    count = list_gradients(p, dout + at, y + at, argmax + at, start, value)
                    if real is float:
                        scattered_sums_f32(channels * p.rows, copy, p.row_offset, start, value,
                                           count, own + first * p.rows * lanes)
                    else:
                        scattered_sums_f64(channels * p.rows, copy, p.row_offset, start, value,
                                           count, own + first * p.rows * lanes)
                    if block == 0:
                        own[size - 1] += sum_rows(value, count, 1, count)


cdef inline Py_ssize_t list_gradients(
    const Gradient* p, const real* dout, const real* y, const index* argmax, int* start,
    real* value,
) noexcept nogil:
    """Where the elements of a map with a gradient have their windows in the copy; how many."""
    cdef const Problem* w = &p.problem
    cdef Py_ssize_t ph, count = 0
    cdef int row_step = <int> (w.pool_h * w.stride_h * p.copy_row)
    cdef int col_step = <int> (w.pool_w * w.stride_w)
    cdef unsigned int elements = <unsigned int> (w.pool_h * w.pool_w)
    for ph in range(w.PH):
        if real is float:
            count += list_gradients_f32(
                w.PW, dout, y, argmax, sizeof(index) == 1, p.place, elements,
                <int> ph * row_step, col_step, start + count, value + count,
            )
        else:
            count += list_gradients_f64(
                w.PW, dout, y, argmax, sizeof(index) == 1, p.place, elements,
                <int> ph * row_step, col_step, start + count, value + count,
            )
        dout += w.PW
        y += w.PW
        argmax += w.PW
    return count


cdef inline void finish_channel(
    const Gradient* p, Py_ssize_t oc, real* dw, real* db
) noexcept nogil:
    """Add the parts up, in order, and take the elements of windows from their vectors."""
    cdef const Problem* w = &p.problem
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), part, i, row, kw, at
    cdef Py_ssize_t size = w.C * p.rows * lanes + 1
    cdef real* sums = <real*> p.sums + oc * size
    cdef const real* other
    for part in range(1, p.parts):
        other = <real*> (p.sums + part * p.sums_size) + oc * size
        for i in range(size):
            sums[i] += other[i]
    dw += oc * w.C * w.KH * w.KW
    for row in range(w.C * w.KH):
        for kw in range(w.KW):
            at = kw * lanes if w.dilation_w > 1 else kw
            dw[row * w.KW + kw] = sums[row * p.vectors * lanes + at]
    db[oc] = sums[size - 1]


def conv2d_relu_max_pool2d_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y, cnp.ndarray argmax,
    tuple stride, tuple padding, tuple dilation, int groups, tuple pool, int num_threads,
):
    """y = max(0, the maximum of each window of conv2d(x)), argmax = which element it was."""
    cdef Problem w = problem_of(x, weight, y, stride, padding, dilation, groups, pool)
    cdef bint is_small = argmax.descr.type_num == cnp.NPY_UINT8
    if x.descr.type_num == cnp.NPY_FLOAT32:
        if is_small:
            forward(&w, <float*> x.data, <float*> weight.data, <float*> bias.data,
                    <float*> y.data, <uint8_t*> argmax.data, num_threads)
        else:
            forward(&w, <float*> x.data, <float*> weight.data, <float*> bias.data,
                    <float*> y.data, <int*> argmax.data, num_threads)
    elif is_small:
        forward(&w, <double*> x.data, <double*> weight.data, <double*> bias.data,
                <double*> y.data, <uint8_t*> argmax.data, num_threads)
    else:
        forward(&w, <double*> x.data, <double*> weight.data, <double*> bias.data,
                <double*> y.data, <int*> argmax.data, num_threads)


def conv2d_relu_max_pool2d_backward_weight(
    cnp.ndarray dout, cnp.ndarray y, cnp.ndarray argmax, cnp.ndarray x, cnp.ndarray dw,
    cnp.ndarray db, tuple stride, tuple padding, tuple dilation, int groups, tuple pool,
    int num_threads,
):
    """dw = the sum over windows where y > 0 of dout * (the part of x that its maximum saw); db."""
    cdef Gradient p
    p.problem = problem_of(x, dw, dout, stride, padding, dilation, groups, pool)
    cdef bint is_small = argmax.descr.type_num == cnp.NPY_UINT8
    if x.descr.type_num == cnp.NPY_FLOAT32:
        if is_small:
            backward_weight(&p, <float*> dout.data, <float*> y.data, <uint8_t*> argmax.data,
                            <float*> x.data, <float*> dw.data, <float*> db.data, num_threads)
        else:
            backward_weight(&p, <float*> dout.data, <float*> y.data, <int*> argmax.data,
                            <float*> x.data, <float*> dw.data, <float*> db.data, num_threads)
    elif is_small:
        backward_weight(&p, <double*> dout.data, <double*> y.data, <uint8_t*> argmax.data,
                        <double*> x.data, <double*> dw.data, <double*> db.data, num_threads)
    else:
        backward_weight(&p, <double*> dout.data, <double*> y.data, <int*> argmax.data,
                        <double*> x.data, <double*> dw.data, <double*> db.data, num_threads)
