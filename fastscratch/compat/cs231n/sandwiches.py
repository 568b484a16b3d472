"""Layers that stand behind each other often enough to have a name together."""

from fastscratch.compat.cs231n.fast_layers import (
    conv_backward_fast,
    conv_forward_fast,
    max_pool_backward_fast,
    max_pool_forward_fast,
)
from fastscratch.compat.cs231n.layers import (
    Cache,
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_forward,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)
from fastscratch.compat.cs231n.options import Options
from fastscratch.types import Array

Three = tuple[Array, Array, Array]
Five = tuple[Array, Array, Array, Array, Array]


def affine_relu_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """`affine_forward`, then ReLU."""
    a, fc_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout: Array, cache: Cache) -> Three:
    """``(dx, dw, db)`` of `affine_relu_forward`."""
    fc_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), fc_cache)


def affine_bn_relu_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, bn_param: Options
) -> tuple[Array, Cache]:
    """`affine_forward`, batch normalisation, then ReLU."""
    a, fc_cache = affine_forward(x, w, b)
    an, bn_cache = batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(an)
    return out, (fc_cache, bn_cache, relu_cache)


def affine_bn_relu_backward(dout: Array, cache: Cache) -> Five:
    """``(dx, dw, db, dgamma, dbeta)`` of `affine_bn_relu_forward`."""
    fc_cache, bn_cache, relu_cache = cache
    da, dgamma, dbeta = batchnorm_backward(relu_backward(dout, relu_cache), bn_cache)
    return (*affine_backward(da, fc_cache), dgamma, dbeta)


def conv_relu_forward(x: Array, w: Array, b: Array, conv_param: Options) -> tuple[Array, Cache]:
    """`conv_forward_fast`, then ReLU."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout: Array, cache: Cache) -> Three:
    """``(dx, dw, db)`` of `conv_relu_forward`."""
    conv_cache, relu_cache = cache
    return conv_backward_fast(relu_backward(dout, relu_cache), conv_cache)


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, conv_param: Options, pool_param: Options
) -> tuple[Array, Cache]:
    """`conv_forward_fast`, ReLU, then `max_pool_forward_fast`."""
    s, cache = conv_relu_forward(x, w, b, conv_param)
    out, pool_cache = max_pool_forward_fast(s, pool_param)
    return out, (*cache, pool_cache)


def conv_relu_pool_backward(dout: Array, cache: Cache) -> Three:
    """``(dx, dw, db)`` of `conv_relu_pool_forward`."""
    *conv_relu_cache, pool_cache = cache
    return conv_relu_backward(max_pool_backward_fast(dout, pool_cache), tuple(conv_relu_cache))


def conv_bn_relu_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, conv_param: Options,
    bn_param: Options,
) -> tuple[Array, Cache]:  # fmt: skip
    """`conv_forward_fast`, spatial batch normalisation, then ReLU."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    an, bn_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(an)
    return out, (conv_cache, bn_cache, relu_cache)


def conv_bn_relu_backward(dout: Array, cache: Cache) -> Five:
    """``(dx, dw, db, dgamma, dbeta)`` of `conv_bn_relu_forward`."""
    conv_cache, bn_cache, relu_cache = cache
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu_cache), bn_cache)
    return (*conv_backward_fast(da, conv_cache), dgamma, dbeta)


def conv_bn_relu_pool_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, conv_param: Options,
    bn_param: Options, pool_param: Options,
) -> tuple[Array, Cache]:  # fmt: skip
    """`conv_bn_relu_forward`, then `max_pool_forward_fast`."""
    s, cache = conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)
    out, pool_cache = max_pool_forward_fast(s, pool_param)
    return out, (*cache, pool_cache)


def conv_bn_relu_pool_backward(dout: Array, cache: Cache) -> Five:
    """``(dx, dw, db, dgamma, dbeta)`` of `conv_bn_relu_pool_forward`."""
    *conv_cache, pool_cache = cache
    return conv_bn_relu_backward(max_pool_backward_fast(dout, pool_cache), tuple(conv_cache))
