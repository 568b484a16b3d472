"""Calls that were made before, made again: the way from a public function to its kernel, in C.

The twin of `fastscratch.ops.plan.first_call`, to which it leaves all but the ordinary: a call whose
plan is not made yet, an array that must be copied or refused. In Python the rest takes longer than
the kernel of a small problem.
"""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.contextvars cimport PyContextVar_Get
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uintptr_t

cnp.import_array()

cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject**, size_t, PyObject*)
    void* Py_TYPE(PyObject*)
    PyObject* PyDict_GetItemWithError(object, object) except? NULL

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        void*, PyObject*, int, cnp.npy_intp*, cnp.npy_intp*, void*, int, PyObject*
    )
    void* ndarray_type "&PyArray_Type"

    ctypedef struct PyArray_Dims:
        cnp.npy_intp* ptr
        int len

    object PyArray_Newshape(cnp.ndarray, PyArray_Dims*, cnp.NPY_ORDER)

cdef enum:
    MOST_WORDS = 96  # of a key: extents of all arrays, types of all options
    MOST_ARGUMENTS = 32  # of a kernel
    MOST_AXES = 32

# Where a plan holds what: it is a tuple, whose fields cost nothing to reach.
cdef enum:
    KERNEL = 0
    ARGUMENTS = 1
    OUTPUTS = 2
    SHAPES = 3
    CHANGED = 4
    ZEROS = 5
    BUFFERS = 6

PLAN_FIELDS = ("kernel", "arguments", "outputs", "shapes", "changed", "zeros", "buffers")

cdef object first_call, context, process_settings, large_array
cdef Py_ssize_t large


def bind(first, variable, settings, allocate, nbytes):
    """Say who makes the calls, and the arrays of so many bytes, that are not made here; where the
    settings are.
    """
    global first_call, context, process_settings, large_array, large
    first_call, context, process_settings = first, variable, settings
    large_array, large = allocate, nbytes


def call(
    str op, make_problem, tuple arrays, tuple options=(), backend=None, tuple outs=(),
    tuple numbers=(),
):
    """The outputs of an operation; see `fastscratch.ops.plan.first_call`."""
    made = call_again(op, arrays, options, backend, outs, numbers)
    if made is None:
        made = first_call(op, make_problem, arrays, options, backend, outs, numbers)
    return made


cdef object call_again(str op, tuple arrays, tuple options, backend, tuple outs, tuple numbers):
    """The outputs, or None if the call is not an ordinary one."""
    cdef PyObject* arguments[MOST_ARGUMENTS]
    cdef PyObject* item
    cdef tuple plan, results
    cdef Py_ssize_t i, j, changed, used = 0
    cdef Py_ssize_t given = PyTuple_GET_SIZE(arrays), made, more
    cdef object key = quick_key(op, arrays, options, backend), array, held
    if key is None:
        return None
    try:
        item = PyDict_GetItemWithError(current_settings().plans, key)
    except TypeError:  # an option is a list
        return None
    if item == NULL:
        return None
    plan = <tuple> item
    made = PyTuple_GET_SIZE(<tuple> PyTuple_GET_ITEM(plan, OUTPUTS))
    more = PyTuple_GET_SIZE(<tuple> PyTuple_GET_ITEM(plan, ARGUMENTS))
    if given + 1 + made + more > MOST_ARGUMENTS:
        return None
    changed = <object> PyTuple_GET_ITEM(plan, CHANGED)
    for i in range(given):
        item = PyTuple_GET_ITEM(arrays, i)
        if i < changed:
            if not cnp.PyArray_ISCARRAY(<cnp.ndarray> item):
                return None
            for j in range(i + 1, given):
                if overlap(item, PyTuple_GET_ITEM(arrays, j)):
                    return None
        arguments[used] = PyTuple_GET_ITEM(plan, ZEROS) if item == <PyObject*> None else item
        used += 1
    if PyTuple_GET_SIZE(numbers):
        held = as_array(numbers)
        arguments[used] = <PyObject*> held
        used += 1
    results = PyTuple_New(made)
    for i in range(made):
        array = output(plan, i, outs)
        if array is None:
            return None
        Py_INCREF(array)
        PyTuple_SET_ITEM(results, i, array)
        item = <PyObject*> array
        if PyTuple_GET_SIZE(outs):
            for j in range(given):
                if overlap(item, PyTuple_GET_ITEM(arrays, j)):
                    return None
            for j in range(i):
                if overlap(item, PyTuple_GET_ITEM(results, j)):
                    return None
        arguments[used] = item
        used += 1
    shapes = <object> PyTuple_GET_ITEM(plan, SHAPES)
    if shapes is not None:
        _views = reshape(arguments, used, shapes)  # held until the kernel has run
    for i in range(more):
        arguments[used] = PyTuple_GET_ITEM(<tuple> PyTuple_GET_ITEM(plan, ARGUMENTS), i)
        used += 1
    PyObject_Vectorcall(<object> PyTuple_GET_ITEM(plan, KERNEL), arguments, used, NULL)
    return results


cdef object current_settings():
    cdef PyObject* held = NULL
    PyContextVar_Get(context, NULL, &held)
    if held == NULL or held == <PyObject*> None:
        settings = process_settings()
    else:
        settings = <object> held
    if held != NULL:
        Py_DECREF(<object> held)
    return settings


def key_of(str op, tuple arrays, tuple options, backend):
    """What tells a call from others: shapes and dtypes, options and their types."""
    return quick_key(op, arrays, options, backend)


cdef object quick_key(str op, tuple arrays, tuple options, backend):
    """The key of a call whose arrays kernels can take as they are, else None."""
    cdef int64_t words[MOST_WORDS]
    cdef Py_ssize_t i, axis, axes, used = 0
    cdef PyObject* item
    for i in range(PyTuple_GET_SIZE(arrays)):
        item = PyTuple_GET_ITEM(arrays, i)
        if item == <PyObject*> None:
            axes = 0
            words[used] = -1
        elif cnp.PyArray_CheckExact(<object> item) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> item):
            axes = cnp.PyArray_NDIM(<cnp.ndarray> item)
            words[used] = axes + (<int64_t> cnp.PyArray_TYPE(<cnp.ndarray> item) << 32)
        else:
            return None
        used += 1
        if used + axes + 1 > MOST_WORDS:
            return None
        for axis in range(axes):
            words[used + axis] = cnp.PyArray_DIM(<cnp.ndarray> item, axis)
        used += axes
    if used + PyTuple_GET_SIZE(options) > MOST_WORDS:
        return None
    for i in range(PyTuple_GET_SIZE(options)):
        # True equals 1, and is refused where 1 is not.
        words[used] = <int64_t> <uintptr_t> Py_TYPE(PyTuple_GET_ITEM(options, i))
        used += 1
    return op, PyBytes_FromStringAndSize(<char*> words, used * sizeof(int64_t)), options, backend


cdef object as_array(tuple numbers):
    cdef cnp.npy_intp count = PyTuple_GET_SIZE(numbers)
    array = cnp.PyArray_EMPTY(1, &count, cnp.NPY_FLOAT64, 0)
    cdef double* values = <double*> cnp.PyArray_DATA(array)
    cdef Py_ssize_t i
    for i in range(count):
        values[i] = <object> PyTuple_GET_ITEM(numbers, i)
    return array


cdef object output(tuple plan, Py_ssize_t i, tuple outs):
    """A fresh output, or the caller's own if it fits, else None."""
    cdef cnp.npy_intp extents[MOST_AXES]
    cdef tuple wanted = <tuple> PyTuple_GET_ITEM(<tuple> PyTuple_GET_ITEM(plan, OUTPUTS), i)
    cdef tuple shape = <tuple> PyTuple_GET_ITEM(wanted, 0)
    cdef object out = None
    cdef PyObject* dtype = PyTuple_GET_ITEM(wanted, 1)
    cdef Py_ssize_t axis, axes = PyTuple_GET_SIZE(shape), nbytes
    if axes > MOST_AXES:
        return None
    if i < PyTuple_GET_SIZE(outs):
        out = <object> PyTuple_GET_ITEM(outs, i)
    if out is None:
        buffers = <object> PyTuple_GET_ITEM(plan, BUFFERS)
        if buffers is not None:
            return buffers.take(shape, <object> dtype)
        nbytes = (<cnp.dtype> dtype).itemsize
        for axis in range(axes):
            extents[axis] = <object> PyTuple_GET_ITEM(shape, axis)
            nbytes *= extents[axis]
        if nbytes >= large:
            return large_array(shape, <object> dtype)
        Py_INCREF(<object> dtype)  # which the call takes over
        return PyArray_NewFromDescr(ndarray_type, dtype, <int> axes, extents, NULL, NULL, 0, NULL)
    if (
        not cnp.PyArray_CheckExact(out)
        or not cnp.PyArray_ISCARRAY(out)
        or cnp.PyArray_NDIM(out) != axes
        or <PyObject*> cnp.PyArray_DESCR(out) != dtype
    ):
        return None
    for axis in range(axes):
        if cnp.PyArray_DIM(out, axis) != <cnp.npy_intp> <object> PyTuple_GET_ITEM(shape, axis):
            return None
    return out


cdef bint overlap(PyObject* one, PyObject* other) noexcept:
    """Whether two arrays without gaps may share bytes; None shares nothing."""
    if one == <PyObject*> None or other == <PyObject*> None:
        return False
    cdef char* a = cnp.PyArray_BYTES(<cnp.ndarray> one)
    cdef char* b = cnp.PyArray_BYTES(<cnp.ndarray> other)
    return (
        a < b + cnp.PyArray_NBYTES(<cnp.ndarray> other)
        and b < a + cnp.PyArray_NBYTES(<cnp.ndarray> one)
    )


cdef list reshape(PyObject** arguments, Py_ssize_t count, tuple shapes):
    """Put views into the place of arrays whose shape the kernel has otherwise."""
    cdef cnp.npy_intp extents[MOST_AXES]
    cdef PyArray_Dims dims
    cdef list views = []
    cdef Py_ssize_t i, axis
    for i in range(count):
        shape = <object> PyTuple_GET_ITEM(shapes, i)
        if shape is None:
            continue
        dims.ptr, dims.len = extents, <int> PyTuple_GET_SIZE(<tuple> shape)
        for axis in range(dims.len):
            extents[axis] = <object> PyTuple_GET_ITEM(<tuple> shape, axis)
        view = PyArray_Newshape(<cnp.ndarray> arguments[i], &dims, cnp.NPY_CORDER)
        arguments[i] = <PyObject*> view
        views.append(view)
    return views
