"""elementary.h for Cython: each C function under one name for both dtypes."""

from tile cimport real

cdef extern from "elementary.h" nogil:
    float falling_exp_f32(float)
    double falling_exp_f64(double)
    float tanh_f32(float)
    double tanh_f64(double)


cdef inline real falling_exp(real x) noexcept nogil:
    """exp(x) for x <= 0."""
    if real is float:
        return falling_exp_f32(x)
    else:
        return falling_exp_f64(x)


cdef inline real hyperbolic_tangent(real x) noexcept nogil:
    """tanh(x)."""
    if real is float:
        return tanh_f32(x)
    else:
        return tanh_f64(x)
