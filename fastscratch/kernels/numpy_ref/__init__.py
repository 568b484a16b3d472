"""The definition of every operation, in NumPy that is written to be read.

Python loops run over kernel positions and groups only; everything else is an array operation.
The compiled twins in ``numba_jit`` and ``cython_ext`` are judged by these functions.
"""
