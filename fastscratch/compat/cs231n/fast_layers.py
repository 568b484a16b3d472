"""Convolution and max pooling under the names of the course's fast layers."""

from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.cs231n.layers import Cache
from fastscratch.compat.cs231n.options import Options, read_options
from fastscratch.compat.promotion import demote, promote
from fastscratch.types import Array


def conv_forward_fast(x: Array, w: Array, b: Array, conv_param: Options) -> tuple[Array, Cache]:
    """Convolve images with filters.

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)
        Images.
    w, b : ndarray, shapes (F, C, HH, WW) and (F,)
        Filters and biases.
    conv_param : dict
        ``stride``, the distance of windows, and ``pad``, the zeros around the image. Windows must
        leave no remainder.

    Returns
    -------
    out : ndarray, shape (N, F, H', W')
        ``H' = 1 + (H + 2*pad - HH)/stride``.
    cache : tuple
        ``(x, w, b, conv_param)``.

    Raises
    ------
    ArgumentError
        If something is missing in `conv_param`.
    ShapeError
        If windows leave a remainder, or shapes do not fit.

    Examples
    --------
    >>> x, w, b = np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)), np.zeros(2)
    >>> out, cache = conv_forward_fast(x, w, b, {"stride": 1, "pad": 1})
    >>> out[0, 0, 0]
    array([4., 6., 6., 4.])
    """
    stride, pad = read_options("conv_param", conv_param, "stride", "pad")
    dtype, (images, weight, bias) = promote(x, w, b)
    out = ops.conv2d_forward(images, weight, bias, stride=stride, padding=pad)
    return demote(out, dtype), (x, w, b, conv_param)


def conv_backward_fast(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """``(dx, dw, db)`` of `conv_forward_fast`.

    Examples
    --------
    >>> x, w, b = np.ones((1, 1, 4, 4)), np.ones((2, 1, 3, 3)), np.zeros(2)
    >>> out, cache = conv_forward_fast(x, w, b, {"stride": 1, "pad": 1})
    >>> [gradient.shape for gradient in conv_backward_fast(out, cache)]
    [(1, 1, 4, 4), (2, 1, 3, 3), (2,)]
    """
    x, w, _, conv_param = cache
    stride, pad = read_options("conv_param", conv_param, "stride", "pad")
    dtype, (dout, images, weight) = promote(dout, x, w)
    db = np.empty(len(weight), weight.dtype)
    dw = ops.conv2d_backward_weight(
        dout, images, weight.shape[2:], stride=stride, padding=pad, bias_out=db
    )
    dx = ops.conv2d_backward_input(dout, weight, images.shape, stride=stride, padding=pad)
    return demote(dx, dtype), demote(dw, dtype), demote(db, dtype)


def max_pool_forward_fast(x: Array, pool_param: Options) -> tuple[Array, Cache]:
    """The maximum of each window; of equal ones, the first gets the gradient.

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)
        Images.
    pool_param : dict
        ``pool_height``, ``pool_width`` and ``stride``; ``pad``, optional, is a margin of minus
        infinity. Windows must leave no remainder.

    Returns
    -------
    out : ndarray, shape (N, C, H', W')
        ``H' = 1 + (H - pool_height)/stride``.
    cache : tuple
        ``(x, argmax, pool_param)``.

    Raises
    ------
    ArgumentError
        If something is missing in `pool_param`.
    ShapeError
        If windows leave a remainder, or shapes do not fit.

    Examples
    --------
    >>> pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    >>> max_pool_forward_fast(np.arange(16.0).reshape(1, 1, 4, 4), pool_param)[0][0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    dtype, (images,) = promote(x)
    out, argmax = ops.max_pool2d_forward(images, **_window(pool_param))
    return demote(out, dtype), (x, argmax, pool_param)


def max_pool_backward_fast(dout: Array, cache: Cache) -> Array:
    """``dx`` of `max_pool_forward_fast`.

    Examples
    --------
    >>> pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    >>> out, cache = max_pool_forward_fast(np.ones((1, 1, 2, 2)), pool_param)
    >>> max_pool_backward_fast(out, cache)[0, 0]
    array([[1., 0.],
           [0., 0.]])
    """
    x, argmax, pool_param = cache
    dtype, (dout,) = promote(dout)
    dx = ops.max_pool2d_backward(dout, argmax, x.shape, **_window(pool_param))
    return demote(dx, dtype)


def _window(pool_param: Options) -> dict[str, Any]:
    """The operations' names for what is in ``pool_param``."""
    height, width, stride = read_options(
        "pool_param", pool_param, "pool_height", "pool_width", "stride"
    )
    return {"kernel_size": (height, width), "stride": stride, "padding": pool_param.get("pad", 0)}
