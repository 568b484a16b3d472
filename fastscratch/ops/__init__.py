"""The operations: checked, dispatched, and the same whichever implementation runs.

Every function takes its arrays first and everything else by keyword, accepts any layout and
read-only arrays, writes to none of them, and returns fresh arrays unless ``out`` is given::

    call -> check, normalise -> plan (dispatch chooses the kernel, once) -> allocate -> kernel
"""

from fastscratch.ops.conv2d import (
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from fastscratch.ops.dense import (
    dense_backward_bias,
    dense_backward_input,
    dense_backward_weight,
    dense_forward,
)
from fastscratch.ops.explain import explain, problem_of
from fastscratch.ops.im2col import col2im, im2col
from fastscratch.ops.pool2d import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)

__all__ = [
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "col2im",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "dense_backward_bias",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_forward",
    "explain",
    "im2col",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "problem_of",
]
