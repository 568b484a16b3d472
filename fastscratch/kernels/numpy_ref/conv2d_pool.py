"""Convolution, ReLU and max pooling one after the other, and back: compositions of their parts."""

import numpy as np

from fastscratch.kernels.numpy_ref.activations import relu_backward, relu_forward
from fastscratch.kernels.numpy_ref.conv2d import conv2d_backward_weight, conv2d_forward
from fastscratch.kernels.numpy_ref.pool2d import max_pool2d_backward, max_pool2d_forward
from fastscratch.types import Array, Padding, Pair


def conv2d_relu_max_pool2d_forward(
    x: Array, weight: Array, bias: Array, y: Array, argmax: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, num_threads: int,
) -> None:  # fmt: skip
    """y = max(0, the maximum of each window of conv2d(x)), argmax = which element it was."""
    map_ = np.empty(_map_shape(y, pool), y.dtype)
    conv2d_forward(x, weight, bias, map_, stride, padding, dilation, groups, num_threads)
    largest = np.empty_like(y)
    max_pool2d_forward(map_, largest, argmax, pool, pool, (0, 0, 0, 0), (1, 1), num_threads)
    relu_forward(largest, y, num_threads)


def conv2d_relu_max_pool2d_backward_weight(
    dout: Array, y: Array, argmax: Array, x: Array, dw: Array, db: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, num_threads: int,
) -> None:  # fmt: skip
    """dw = the sum over windows where y > 0 of dout * (the part of x that its maximum saw); db."""
    rectified = np.empty_like(dout)
    relu_backward(dout, y, rectified, num_threads)
    dmap = np.empty(_map_shape(dout, pool), dout.dtype)
    max_pool2d_backward(rectified, argmax, dmap, pool, pool, (0, 0, 0, 0), (1, 1), num_threads)
    conv2d_backward_weight(dmap, x, dw, db, stride, padding, dilation, groups, num_threads)


def _map_shape(y: Array, pool: Pair) -> tuple[int, int, int, int]:
    """The part of the convolution's output that the pooling looks at."""
    N, OC, PH, PW = y.shape
    return N, OC, PH * pool[0], PW * pool[1]
