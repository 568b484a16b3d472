"""The operations: checked, dispatched, and the same whichever implementation runs.

Every function takes its arrays first and everything else by keyword, accepts any layout and
read-only arrays, writes to none of them, and returns fresh arrays unless ``out`` is given::

    call -> check, normalise -> plan (dispatch chooses the kernel, once) -> allocate -> kernel
"""

from fastscratch.ops.activations import (
    add_forward,
    add_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from fastscratch.ops.batch_norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    batch_norm_relu_backward,
    batch_norm_relu_forward,
)
from fastscratch.ops.conv2d import (
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from fastscratch.ops.conv2d_pool import (
    conv2d_relu_max_pool2d_backward_weight,
    conv2d_relu_max_pool2d_forward,
)
from fastscratch.ops.dense import (
    dense_backward_bias,
    dense_backward_input,
    dense_backward_weight,
    dense_forward,
)
from fastscratch.ops.dropout import dropout_backward, dropout_forward
from fastscratch.ops.explain import explain, problem_of
from fastscratch.ops.fractional_pool2d import (
    fractional_max_pool2d_backward,
    fractional_max_pool2d_forward,
)
from fastscratch.ops.im2col import col2im, im2col
from fastscratch.ops.losses import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from fastscratch.ops.optimizers import (
    adagrad_update,
    adam_update,
    momentum_update,
    nesterov_update,
    rmsprop_update,
    sgd_update,
    squared_norm,
)
from fastscratch.ops.pool2d import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from fastscratch.ops.rectifiers import (
    elu_backward,
    elu_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    prelu_backward,
    prelu_forward,
)

__all__ = [
    "adagrad_update",
    "adam_update",
    "add_forward",
    "add_relu_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "batch_norm_relu_backward",
    "batch_norm_relu_forward",
    "col2im",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv2d_relu_max_pool2d_backward_weight",
    "conv2d_relu_max_pool2d_forward",
    "dense_backward_bias",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_forward",
    "dropout_backward",
    "dropout_forward",
    "elu_backward",
    "elu_forward",
    "explain",
    "fractional_max_pool2d_backward",
    "fractional_max_pool2d_forward",
    "im2col",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "momentum_update",
    "nesterov_update",
    "prelu_backward",
    "prelu_forward",
    "problem_of",
    "relu_backward",
    "relu_forward",
    "rmsprop_update",
    "sgd_update",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "squared_norm",
    "tanh_backward",
    "tanh_forward",
]
