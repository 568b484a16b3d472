"""Sums of squares in C, called through cffi."""

import numpy as np
from _norm_with_c import ffi, lib

import fastscratch
from fastscratch.kernels.arrays import SUMMED

_FUNCTIONS = {"float32": (lib.sums_f32, "float *"), "float64": (lib.sums_f64, "double *")}


def squared_norm(x: np.ndarray, sums: np.ndarray, num_threads: int) -> None:
    """Fill sums with the sum of squares of each run of elements."""
    function, pointer = _FUNCTIONS[x.dtype.name]
    function(
        ffi.cast(pointer, x.ctypes.data), x.size, SUMMED, ffi.cast("double *", sums.ctypes.data)
    )


def register() -> None:
    """Called by fastscratch when it first needs a kernel."""
    fastscratch.register_kernel("squared_norm", squared_norm, name="norm-with-c")
