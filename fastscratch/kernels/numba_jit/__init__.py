"""Every operation as a kernel that Numba compiles at its first call.

The modules are those of ``numpy_ref`` and ``cython_ext``; what stands under them::

    conv2d                       pool2d        dense      im2col       the kernels, plain Python
    correlate  correlate_weight  pool2d_max    matmul                  drivers: one worker's share
    planes     depthwise         pool2d_avg                            of the tasks of a problem
    columns    pointwise_weight
    phases   window   tile       pool_forward  lines                   what drivers are made of
             depthwise_tile      pool_collect
             narrow_tile         pool_tile
    scratch  compile  machine                                          memory, compiler, processor

A kernel looks up (or makes) the plan of its problem, checks out scratch memory and runs its
drivers. This file imports nothing, so that looking at the package does not import Numba.
"""
