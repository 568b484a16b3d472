"""Convolution: forward, backward to the input and backward to the weights.

Forward is one correlation. Backward to the input is one too, of dout with the flipped weights, or,
with a stride, one for each phase of the input's positions. Both are in correlate.pxd; an input of
few channels has its own way, in input_gradient.pxd. Where those would multiply many zeros, or in
small pieces, columns are made and added up, in input_columns.pxd. The weights' gradient is in
weight_gradient.pxd. Filters for single channels have a way of their own in all three directions, in
depthwise.pxd. The number of threads decides nothing but who does which job.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.string cimport memset

from correlate cimport correlate
from correlation_plan cimport (
    Correlation, clear_tables, fill_tables, pack_panels, packing_jobs, plan_correlation,
)
from depthwise cimport (
    NARROW_PLANES, Planes, correlate_narrow, correlate_plane, correlate_planes_weight,
    fill_planes_tables, is_depthwise, is_narrow, plan_planes, plan_planes_gradient,
)
from geometry cimport aligned, ceil_div, part_start
from input_gradient cimport (
    InputGradient, few_channels, fill_input_tables, pack_rows_of_taps, plan_input_gradient,
    shift_and_add,
)
from input_columns cimport (
    LARGEST_COLUMNS, MOST_PARTS, InputColumns, Meetings, columns_pay, meetings_of, parts_of,
    scatter_columns,
)
from phases cimport Phase, phase_of, reaches_all
from few_filters cimport (
    FewFilters, fill_few_filters, finish_few_filters, plan_few_filters, sum_few_filters,
)
from planes_abreast cimport Abreast, correlate_abreast, plan_abreast
from tile cimport real
from weight_gradient cimport (
    WeightGradient, accumulate, clear_gradient_tables, finish_panel, fill_gradient_tables,
    plan_gradient,
)

from fastscratch.kernels.cython_ext.scratch import Scratch

cnp.import_array()


cdef enum:
    MOST_CORRELATIONS = 16  # that take turns: all phases of a stride of 4


cdef struct Problem:
    Py_ssize_t N, G, C, H, W, OC, OH, OW, KH, KW  # C and OC of one group
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left


cdef Problem problem_of(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, tuple stride, tuple padding, tuple dilation,
    int groups,
):
    cdef Problem problem
    problem.N, problem.H, problem.W = x.shape[0], x.shape[2], x.shape[3]
    problem.G, problem.C, problem.OC = groups, weight.shape[1], weight.shape[0] // groups
    problem.KH, problem.KW = weight.shape[2], weight.shape[3]
    problem.OH, problem.OW = y.shape[2], y.shape[3]
    problem.stride_h, problem.stride_w = stride
    problem.top, _, problem.left, _ = padding
    problem.dilation_h, problem.dilation_w = dilation
    return problem


cdef bint planes_of(const Problem* w, Planes* p, bint backward, Py_ssize_t itemsize) noexcept:
    """Whether it is a depthwise convolution with strips of a usable size; their plan."""
    if not is_depthwise(w.G, w.C, w.OC, w.stride_h, w.stride_w):
        return False
    if w.N * w.H * w.W * w.OC * w.OH * w.OW == 0:
        return False
    p.N, p.G, p.filters, p.H, p.W = w.N, w.G, w.OC, w.H, w.W
    p.OH, p.OW, p.KH, p.KW = w.OH, w.OW, w.KH, w.KW
    p.stride_h, p.stride_w = w.stride_h, w.stride_w
    p.dilation_h, p.dilation_w = w.dilation_h, w.dilation_w
    p.top, p.left = w.top, w.left
    return plan_planes(p, backward, itemsize)


cdef void run_abreast(
    Abreast* p, const real* source, const real* bias, real* out, int num_threads
):
    """Forward or backward to the input. A job is a block of channels of some images."""
    cdef Py_ssize_t jobs = p.blocks * p.parts, job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    memory = Scratch(workers * p.workspace_size)
    p.workspace = <char*> <uintptr_t> memory.address
    with nogil:
        if workers == 1:
            for job in range(jobs):
                correlate_abreast(p, job, 0, source, bias, out)
        else:
            for job in prange(jobs, schedule="static", num_threads=workers):
                correlate_abreast(p, job, threadid(), source, bias, out)


cdef void run_planes(
    Planes* p, bint backward, const real* source, const real* weight, const real* bias, real* out,
    int num_threads,
):
    """Forward or backward to the input. A job is a plane, or some narrow ones."""
    cdef Abreast abreast
    if plan_abreast(&abreast, p, backward, weight):
        run_abreast(&abreast, source, bias, out, num_threads)
        return
    cdef Py_ssize_t jobs = p.N * p.G, job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    cdef bint narrow
    memory = Scratch(p.packed_size + p.table_size + workers * p.workspace_size)
    p.packed = <void*> <uintptr_t> memory.address
    p.offset = <Py_ssize_t*> (<char*> p.packed + p.packed_size)
    p.workspace = <char*> p.packed + p.packed_size + p.table_size
    with nogil:
        fill_planes_tables(p, backward, weight, <real*> p.packed, workers)
        narrow = is_narrow(p, source, out)
        if narrow:
            p.channels = max(1, min(NARROW_PLANES, jobs // (4 * workers)))
            jobs = p.N * ceil_div(p.G, p.channels)
        if narrow and workers == 1:
            for job in range(jobs):
                correlate_narrow(p, job, source, bias, out)
        elif narrow:
            for job in prange(jobs, schedule="static", num_threads=workers):
                correlate_narrow(p, job, source, bias, out)
        elif workers == 1:
            for job in range(jobs):
                correlate_plane(p, job, 0, source, bias, out)
        else:
            for job in prange(jobs, schedule="static", num_threads=workers):
                correlate_plane(p, job, threadid(), source, bias, out)
        memset(p.offset, 0, p.table_size)


cdef void run_planes_gradient(
    Planes* p, const real* dout, const real* x, real* dw, real* db, int num_threads
):
    """Backward to the weights. A job is some channels."""
    plan_planes_gradient(p, sizeof(real))
    cdef Py_ssize_t jobs = ceil_div(p.G, p.channels), job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    memory = Scratch(p.packed_size + p.table_size + workers * p.workspace_size)
    p.packed = <void*> <uintptr_t> memory.address
    p.offset = <Py_ssize_t*> (<char*> p.packed + p.packed_size)
    p.workspace = <char*> p.packed + p.packed_size + p.table_size
    with nogil:
        # Only the offsets of the taps are of use here.
        fill_planes_tables(p, False, dw, <real*> p.packed, workers)
        if workers == 1:
            for job in range(jobs):
                correlate_planes_weight(p, job, 0, dout, x, dw, db)
        else:
            for job in prange(jobs, schedule="static", num_threads=workers):
                correlate_planes_weight(p, job, threadid(), dout, x, dw, db)
        memset(p.offset, 0, p.table_size)


cdef Py_ssize_t shared_size(const Correlation* p, Py_ssize_t count) noexcept:
    """Bytes of what workers share."""
    cdef Py_ssize_t i, size = 0
    for i in range(count):
        size += p[i].packed_size + p[i].bias_size + p[i].table_size
    return size


cdef void share_memory(
    Correlation* p, Py_ssize_t count, char* data, Py_ssize_t workspace, real* tag
) noexcept:
    """Their parts of the memory; each worker has `workspace` bytes of its own. Fill the tables."""
    cdef Py_ssize_t i
    for i in range(count):
        p[i].packed = data
        p[i].padded_bias = data + p[i].packed_size
        p[i].k_offset = <Py_ssize_t*> (data + p[i].packed_size + p[i].bias_size)
        data += p[i].packed_size + p[i].bias_size + p[i].table_size
    for i in range(count):
        p[i].workspace, p[i].workspace_size = data, workspace
        fill_tables(p + i, tag)


cdef void run_correlations(Correlation* p, Py_ssize_t count, real* tag, int num_threads):
    """Pack the weights of all, then do their jobs, taking turns.

    Those of a strided pass backward write between each other's columns: one after the other, each
    would fetch the whole output again.
    """
    cdef Py_ssize_t packings = 0, jobs = 0, workspace = 0, i, job
    for i in range(count):
        p[i].together = count
        plan_correlation(p + i, sizeof(real), num_threads)
        packings = max(packings, packing_jobs(p + i))
        jobs = max(jobs, p[i].jobs)
        workspace = max(workspace, p[i].workspace_size)
    cdef int workers = <int> max(1, min(num_threads, jobs * count))
    memory = Scratch(shared_size(p, count) + workers * workspace)
    share_memory(p, count, <char*> <uintptr_t> memory.address, workspace, tag)
    with nogil:
        if workers == 1:
            for job in range(packings * count):
                pack_panels(p + job % count, job // count, tag)
            for job in range(jobs * count):
                correlate(p + job % count, job // count, 0, tag)
        else:
            for job in prange(packings * count, schedule="static", num_threads=workers):
                pack_panels(p + job % count, job // count, tag)
            for job in prange(jobs * count, schedule="dynamic", num_threads=workers):
                correlate(p + job % count, job // count, threadid(), tag)
        for i in range(count):
            clear_tables(p + i, workers)


cdef void forward(
    const Problem* w, const real* x, const real* weight, const real* bias, real* y, int num_threads
):
    cdef Correlation p
    cdef Planes planes
    if planes_of(w, &planes, False, sizeof(real)):
        run_planes(&planes, False, x, weight, bias, y, num_threads)
        return
    p.N, p.G, p.C, p.H, p.W = w.N, w.G, w.C, w.H, w.W
    p.OC, p.OH, p.OW, p.KH, p.KW = w.OC, w.OH, w.OW, w.KH, w.KW
    p.stride_h, p.stride_w = w.stride_h, w.stride_w
    p.dilation_h, p.dilation_w = w.dilation_h, w.dilation_w
    p.top, p.left = w.top, w.left
    p.x, p.bias, p.out = x, bias, y
    p.weight.data = weight
    p.weight.col = 1
    p.weight.row = w.KW
    p.weight.channel = w.KH * w.KW
    p.weight.out = w.C * w.KH * w.KW
    p.weight.group = w.OC * w.C * w.KH * w.KW
    p.out_col, p.out_row, p.out_plane = 1, w.OW, w.OH * w.OW
    p.out_image = w.G * w.OC * w.OH * w.OW
    p.most_images, p.most_groups = w.N, w.G
    if w.N * w.OC * w.OH * w.OW:
        run_correlations(&p, 1, y, num_threads)


cdef void backward_input(
    const Problem* w, const real* dout, const real* weight, real* dx, int num_threads
):
    cdef Correlation[MOST_CORRELATIONS] correlations
    cdef Correlation* p
    cdef Phase rows, cols
    cdef Planes planes
    cdef Py_ssize_t taps = w.KH * w.KW, ph, pw, count = 0
    cdef bint few
    if w.N * w.C * w.H * w.W == 0:
        return
    if planes_of(w, &planes, True, sizeof(real)):
        run_planes(&planes, True, dout, weight, <const real*> NULL, dx, num_threads)
        return
    few = few_channels(w.C, w.OC, w.KH, w.KW, w.stride_h)
    if backward_input_by_columns(w, few, dout, weight, dx, num_threads):
        return
    if few:
        backward_input_of_few(w, dout, weight, dx, num_threads)
        return
    if not (
        reaches_all(w.H, w.KH, w.stride_h, w.dilation_h, w.top)
        and reaches_all(w.W, w.KW, w.stride_w, w.dilation_w, w.left)
    ):
        memset(dx, 0, w.N * w.G * w.C * w.H * w.W * sizeof(real))
    for ph in range(w.stride_h):
        rows = phase_of(ph, w.H, w.KH, w.stride_h, w.dilation_h, w.top)
        for pw in range(w.stride_w):
            cols = phase_of(pw, w.W, w.KW, w.stride_w, w.dilation_w, w.left)
            if rows.taps * cols.taps * rows.positions * cols.positions == 0:
                continue
            p = &correlations[count]
            count += 1
            p.N, p.G, p.C, p.H, p.W = w.N, w.G, w.OC, w.OH, w.OW
            p.OC, p.OH, p.OW, p.KH, p.KW = w.C, rows.positions, cols.positions, rows.taps, cols.taps
            p.stride_h = p.stride_w = 1
            p.dilation_h, p.dilation_w = rows.dilation, cols.dilation
            p.top, p.left = rows.before, cols.before
            p.x, p.bias = dout, NULL
            p.weight.data = weight + rows.first_tap * w.KW + cols.first_tap
            p.weight.col = -cols.tap_step
            p.weight.row = -rows.tap_step * w.KW
            p.weight.channel = w.C * taps
            p.weight.out = taps
            p.weight.group = w.OC * w.C * taps
            p.out_col, p.out_row, p.out_plane = w.stride_w, w.stride_h * w.W, w.H * w.W
            p.out_image = w.G * w.C * w.H * w.W
            p.out = dx + ph * w.W + pw
            p.most_images, p.most_groups = w.N, w.G
            if count == MOST_CORRELATIONS:
                run_correlations(correlations, count, dx, num_threads)
                count = 0
    if count:
        run_correlations(correlations, count, dx, num_threads)


cdef bint backward_input_by_columns(
    const Problem* w, bint few, const real* dout, const real* weight, real* dx, int num_threads
):
    """False where it is not the way. A job is some channels of a group of an image, or of some."""
    cdef InputColumns columns
    cdef Correlation[MOST_PARTS] product
    cdef Correlation* p
    cdef Py_ssize_t taps = w.KH * w.KW, windows = w.OH * w.OW, parts, i, first, job, jobs = 0
    cdef Py_ssize_t packings = 0, workspace = 0, buffer = 0, image_size
    columns.C, columns.H, columns.W, columns.OH, columns.OW = w.C, w.H, w.W, w.OH, w.OW
    columns.KH, columns.KW = w.KH, w.KW
    columns.stride_h, columns.stride_w = w.stride_h, w.stride_w
    columns.dilation_h, columns.dilation_w = w.dilation_h, w.dilation_w
    columns.top, columns.left = w.top, w.left
    if taps * windows == 0:
        return False
    parts = parts_of(&columns, w.N * w.G, sizeof(real))
    if not columns_pay(&columns, w.OC, parts, sizeof(real), few):
        return False
    for i in range(parts):
        first = part_start(i, parts, w.C)
        p = product + i
        p.N, p.G, p.C, p.H, p.W = w.N, w.G, w.OC, w.OH, w.OW
        p.OC, p.OH, p.OW = (part_start(i + 1, parts, w.C) - first) * taps, w.OH, w.OW
        p.KH = p.KW = p.stride_h = p.stride_w = p.dilation_h = p.dilation_w = 1
        p.top = p.left = 0
        p.x, p.bias, p.out = dout, NULL, NULL
        p.weight.data = weight + first * taps
        p.weight.out, p.weight.channel, p.weight.row, p.weight.col = 1, w.C * taps, 0, 0
        p.weight.group = w.OC * w.C * taps
        p.out_col, p.out_row, p.out_plane, p.out_image = 1, w.OW, windows, p.OC * windows
        image_size = p.out_image * sizeof(real)
        p.together, p.most_groups = parts, 1
        p.most_images = max(1, LARGEST_COLUMNS // image_size)
        plan_correlation(p, sizeof(real), 1)
        jobs = max(jobs, p.G * p.image_blocks)
        packings = max(packings, packing_jobs(p))
        workspace = max(workspace, p.workspace_size)
        buffer = max(buffer, aligned(p.images * image_size))
    cdef int workers = <int> max(1, min(num_threads, jobs * parts))
    memory = Scratch(shared_size(product, parts) + workers * (workspace + buffer))
    share_memory(product, parts, <char*> <uintptr_t> memory.address, workspace + buffer, dx)
    with nogil:
        if workers == 1:
            for job in range(packings * parts):
                pack_panels(product + job % parts, job // parts, dx)
            for job in range(jobs * parts):
                add_columns(&columns, product, parts, job, 0, workspace, dx)
        else:
            for job in prange(packings * parts, schedule="static", num_threads=workers):
                pack_panels(product + job % parts, job // parts, dx)
            for job in prange(jobs * parts, schedule="dynamic", num_threads=workers):
                add_columns(&columns, product, parts, job, threadid(), workspace, dx)
        for i in range(parts):
            clear_tables(product + i, workers)
    return True


cdef void add_columns(
    const InputColumns* columns, const Correlation* products, Py_ssize_t parts, Py_ssize_t job,
    Py_ssize_t worker, Py_ssize_t buffer, real* dx,
) noexcept nogil:
    """One job: its columns to `buffer` bytes from the worker's memory on, and from there to dx."""
    cdef Correlation p = products[job % parts]
    cdef Py_ssize_t first = part_start(job % parts, parts, columns.C)
    cdef Py_ssize_t channels = part_start(job % parts + 1, parts, columns.C) - first
    cdef Py_ssize_t pieces = p.row_blocks * p.col_blocks * p.panel_groups, unit = job // parts
    cdef Py_ssize_t g = unit // p.image_blocks, n = unit % p.image_blocks * p.images, i, c
    cdef real* made = <real*> (p.workspace + worker * p.workspace_size + buffer)
    cdef Meetings meetings
    if unit >= p.G * p.image_blocks:
        return
    meetings = meetings_of(columns, sizeof(real))
    p.out = made - n * p.out_image - g * p.OC * p.out_plane
    for i in range(pieces):
        correlate(&p, unit * pieces + i, worker, dx)
    for i in range(min(p.images, p.N - n)):
        for c in range(channels):
            scatter_columns(
                columns, &meetings,
                made + i * p.out_image + c * columns.KH * columns.KW * p.out_plane,
                dx + (((n + i) * p.G + g) * columns.C + first + c) * columns.H * columns.W,
            )


cdef void backward_input_of_few(
    const Problem* w, const real* dout, const real* weight, real* dx, int num_threads
):
    cdef InputGradient p
    p.N, p.G, p.C, p.H, p.W = w.N, w.G, w.C, w.H, w.W
    p.OC, p.OH, p.OW, p.KH, p.KW = w.OC, w.OH, w.OW, w.KH, w.KW
    p.stride_h, p.stride_w = w.stride_h, w.stride_w
    p.dilation_h, p.dilation_w = w.dilation_h, w.dilation_w
    p.top, p.left = w.top, w.left
    p.dout, p.weight = dout, weight
    plan_input_gradient(&p, sizeof(real))
    cdef Py_ssize_t jobs = p.G * p.N * p.phases * p.row_blocks, job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    memory = Scratch(p.packed_size + p.table_size + workers * p.workspace_size)
    p.packed = <void*> <uintptr_t> memory.address
    p.k_offset = <Py_ssize_t*> (<char*> p.packed + p.packed_size)
    p.workspace = <char*> p.packed + p.packed_size + p.table_size
    with nogil:
        fill_input_tables(&p)
        pack_rows_of_taps(&p, <real*> p.packed)
        if workers == 1:
            for job in range(jobs):
                shift_and_add(&p, job, 0, dx)
        else:
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                shift_and_add(&p, job, threadid(), dx)
        memset(p.k_offset, 0, p.table_size)


cdef bint few_filters(
    const Problem* w, const real* dout, const real* x, real* dw, real* db, int num_threads,
):
    """The gradient of the weights of few filters, if it goes this way."""
    cdef FewFilters p
    p.N, p.G, p.C, p.H, p.W = w.N, w.G, w.C, w.H, w.W
    p.OC, p.OH, p.OW, p.KH, p.KW = w.OC, w.OH, w.OW, w.KH, w.KW
    p.stride_h, p.stride_w, p.dilation_h = w.stride_h, w.stride_w, w.dilation_h
    p.top, p.left, p.x, p.dout = w.top, w.left, x, dout
    if not plan_few_filters(&p, w.dilation_w, sizeof(real)):
        return False
    cdef Py_ssize_t jobs = p.parts * p.G * p.channel_blocks, job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    memory = Scratch(p.sums_size + p.table_size + workers * p.workspace_size)
    p.sums = <void*> <uintptr_t> memory.address
    p.offset = <Py_ssize_t*> (<char*> p.sums + p.sums_size)
    p.workspace = <char*> p.sums + p.sums_size + p.table_size
    with nogil:
        memset(p.sums, 0, p.sums_size)
        fill_few_filters(&p)
        if workers == 1:
            for job in range(jobs):
                sum_few_filters(&p, job, 0, dw)
            for job in range(p.G):
                finish_few_filters(&p, job, dw, db)
        else:
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                sum_few_filters(&p, job, threadid(), dw)
            for job in prange(p.G, schedule="static", num_threads=workers):
                finish_few_filters(&p, job, dw, db)
        memset(p.offset, 0, p.table_size)
    return True


cdef void backward_weight(
    const Problem* w, const real* dout, const real* x, real* dw, real* db, int num_threads,
):
    cdef WeightGradient p
    cdef Planes planes
    if planes_of(w, &planes, False, sizeof(real)):
        run_planes_gradient(&planes, dout, x, dw, db, num_threads)
        return
    p.N, p.G, p.C, p.H, p.W = w.N, w.G, w.C, w.H, w.W
    p.OC, p.OH, p.OW, p.KH, p.KW = w.OC, w.OH, w.OW, w.KH, w.KW
    p.stride_h, p.stride_w = w.stride_h, w.stride_w
    p.dilation_h, p.dilation_w = w.dilation_h, w.dilation_w
    p.top, p.left = w.top, w.left
    p.x, p.dout = x, dout
    if few_filters(w, dout, x, dw, db, num_threads):
        return
    plan_gradient(&p, sizeof(real))
    cdef Py_ssize_t panels = p.G * p.panels
    cdef Py_ssize_t jobs = p.parts * p.G * p.groups * p.channel_blocks, job
    cdef int workers = <int> max(1, min(num_threads, jobs))
    memory = Scratch(p.sums_size + p.table_size + workers * p.workspace_size)
    p.sums = <void*> <uintptr_t> memory.address
    p.tap_offset = <Py_ssize_t*> (<char*> p.sums + p.sums_size)
    p.workspace = <char*> p.sums + p.sums_size + p.table_size
    with nogil:
        memset(p.sums, 0, p.sums_size)
        fill_gradient_tables(&p)
        if workers == 1:
            for job in range(jobs):
                accumulate(&p, job, 0, dw)
            for job in range(panels):
                finish_panel(&p, job, dw, db)
        else:
            for job in prange(jobs, schedule="dynamic", num_threads=workers):
                accumulate(&p, job, threadid(), dw)
            for job in prange(panels, schedule="static", num_threads=workers):
                finish_panel(&p, job, dw, db)
        clear_gradient_tables(&p, workers)


def conv2d_forward(
    cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray y,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of x[n, c, ih, iw]*weight[oc, c, kh, kw]."""
    cdef Problem w = problem_of(x, weight, y, stride, padding, dilation, groups)
    if x.descr.type_num == cnp.NPY_FLOAT32:
        forward(
            &w, <float*> x.data, <float*> weight.data, <float*> bias.data, <float*> y.data,
            num_threads,
        )
    else:
        forward(
            &w, <double*> x.data, <double*> weight.data, <double*> bias.data, <double*> y.data,
            num_threads,
        )


def conv2d_backward_input(
    cnp.ndarray dout, cnp.ndarray weight, cnp.ndarray dx,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dx[n, c, ih, iw] = sum of dout[n, oc, oh, ow]*weight[oc, c, kh, kw] over its windows."""
    cdef Problem w = problem_of(dx, weight, dout, stride, padding, dilation, groups)
    if dx.descr.type_num == cnp.NPY_FLOAT32:
        backward_input(&w, <float*> dout.data, <float*> weight.data, <float*> dx.data, num_threads)
    else:
        backward_input(
            &w, <double*> dout.data, <double*> weight.data, <double*> dx.data,
            num_threads,
        )


def conv2d_backward_weight(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db,
    tuple stride, tuple padding, tuple dilation, int groups, int num_threads,
):
    """dw[oc, c, kh, kw] = sum over n, oh, ow of dout[n, oc, oh, ow]*x[n, c, ih, iw]; db too."""
    cdef Problem w = problem_of(x, dw, dout, stride, padding, dilation, groups)
    if x.descr.type_num == cnp.NPY_FLOAT32:
        backward_weight(
            &w, <float*> dout.data, <float*> x.data, <float*> dw.data, <float*> db.data,
            num_threads,
        )
    else:
        backward_weight(
            &w, <double*> dout.data, <double*> x.data, <double*> dw.data, <double*> db.data,
            num_threads,
        )
