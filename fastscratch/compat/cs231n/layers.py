"""The layers that need no windows: affine, ReLU, batch normalisation, dropout; and the losses."""

from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.cs231n.options import Options, read_options
from fastscratch.compat.promotion import demote, promote
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.losses import check_labels, check_range
from fastscratch.types import Array

Cache = tuple[Any, ...]
"""What a forward function hands to its backward function."""


def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """``out = x.reshape(N, D) @ w + b``.

    Parameters
    ----------
    x : ndarray, shape (N, d1, ..., dk)
        Samples of any shape, of D elements each.
    w, b : ndarray, shapes (D, M) and (M,)
        Weights and biases.

    Returns
    -------
    out : ndarray, shape (N, M)
    cache : tuple
        ``(x, w, b)``.

    Examples
    --------
    >>> out, cache = affine_forward(np.ones((2, 1, 2, 2)), np.ones((4, 3)), np.zeros(3))
    >>> out[0]
    array([4., 4., 4.])
    """
    x = np.asarray(x)
    dtype, (rows, weight, bias) = promote(x.reshape(x.shape[0], -1), w, b)
    return demote(ops.dense_forward(rows, weight, bias), dtype), (x, w, b)


def affine_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """``(dx, dw, db)`` of `affine_forward`; dx has the shape of x.

    Examples
    --------
    >>> out, cache = affine_forward(np.ones((2, 4)), np.ones((4, 3)), np.zeros(3))
    >>> [gradient.shape for gradient in affine_backward(out, cache)]
    [(2, 4), (4, 3), (3,)]
    """
    x, w, _ = cache
    dtype, (dout, rows, weight) = promote(dout, x.reshape(x.shape[0], -1), w)
    db = np.empty(weight.shape[1], weight.dtype)
    dw = ops.dense_backward_weight(dout, rows, bias_out=db)
    dx = ops.dense_backward_input(dout, weight).reshape(x.shape)
    return demote(dx, dtype), demote(dw, dtype), demote(db, dtype)


def relu_forward(x: Array) -> tuple[Array, Array]:
    """``out = max(x, 0)``; the cache is x.

    Examples
    --------
    >>> relu_forward(np.array([[-1.0, 2.0]]))[0]
    array([[0., 2.]])
    """
    dtype, (values,) = promote(x)
    return demote(ops.relu_forward(values), dtype), x


def relu_backward(dout: Array, cache: Array) -> Array:
    """``dx`` of `relu_forward`: dout where x was above 0.

    Examples
    --------
    >>> relu_backward(np.array([[5.0, 6.0]]), np.array([[-1.0, 2.0]]))
    array([[0., 6.]])
    """
    dtype, (dout, x) = promote(dout, cache)
    return demote(ops.relu_backward(dout, x), dtype)


def batchnorm_forward(
    x: Array, gamma: Array, beta: Array, bn_param: Options
) -> tuple[Array, Cache | None]:
    """Normalise features by the batch ("train") or by running statistics ("test").

    Parameters
    ----------
    x : ndarray, shape (N, D)
        Samples.
    gamma, beta : ndarray, shape (D,)
        Scale and shift.
    bn_param : dict
        ``mode`` ("train" or "test") must be there; ``eps`` (1e-5) and ``momentum`` (0.9, the share
        of the running statistics that is kept) may be; ``running_mean`` and ``running_var`` start
        from 0, and are put there.

    Returns
    -------
    out : ndarray, shape (N, D)
    cache : tuple, or None in mode "test"

    Examples
    --------
    >>> bn_param = {"mode": "train"}
    >>> out, cache = batchnorm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), bn_param)
    >>> out.round(3), bn_param["running_mean"]
    (array([[-1.],
           [ 1.]]), array([0.2]))
    """
    [mode] = read_options("bn_param", bn_param, "mode")
    if mode not in ("train", "test"):
        raise ArgumentError(f'bn_param["mode"] must be "train" or "test", got {mode!r}')
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    dtype, (values, scale, shift) = promote(x, gamma, beta, floating=True)
    D = values.shape[1]
    running_mean = bn_param.get("running_mean", np.zeros(D, values.dtype))
    running_var = bn_param.get("running_var", np.zeros(D, values.dtype))
    cache: Cache | None = None
    if mode == "train":
        out, mean, var = ops.batch_norm_forward(values, scale, shift, eps=eps)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
        cache = values, scale, mean, var, eps
    else:
        mean, var = (np.asarray(s).astype(values.dtype) for s in (running_mean, running_var))
        out = ops.batch_norm_inference(values, scale, shift, mean, var, eps=eps)
    bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
    return demote(out, dtype), cache


def batchnorm_backward(dout: Array, cache: Cache | None) -> tuple[Array, Array, Array]:
    """``(dx, dgamma, dbeta)`` of `batchnorm_forward`, whose mode was "train".

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> _, cache = batchnorm_forward(x, np.ones(1), np.zeros(1), {"mode": "train"})
    >>> batchnorm_backward(np.array([[1.0], [2.0]]), cache)[2]
    array([3.])
    """
    if cache is None:
        raise ArgumentError('batchnorm_backward: the forward pass must have had the mode "train"')
    x, gamma, mean, var, eps = cache
    dtype, (dout, x, gamma, mean, var) = promote(dout, x, gamma, mean, var)
    dx, dgamma, dbeta = ops.batch_norm_backward(dout, x, gamma, mean, var, eps=eps)
    return demote(dx, dtype), demote(dgamma, dtype), demote(dbeta, dtype)


def spatial_batchnorm_forward(
    x: Array, gamma: Array, beta: Array, bn_param: Options
) -> tuple[Array, Cache | None]:
    """`batchnorm_forward` of images (N, C, H, W), channel by channel.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    >>> out, _ = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
    >>> bool(np.allclose(out.mean(axis=(0, 2, 3)), 0))
    True
    """
    if np.ndim(x) != 4:
        raise ShapeError(f"spatial_batchnorm_forward: x must have axes (N, C, H, W), got shape "
                         f"{np.shape(x)}")  # fmt: skip
    return batchnorm_forward(x, gamma, beta, bn_param)


def spatial_batchnorm_backward(dout: Array, cache: Cache | None) -> tuple[Array, Array, Array]:
    """``(dx, dgamma, dbeta)`` of `spatial_batchnorm_forward`.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    >>> _, cache = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
    >>> spatial_batchnorm_backward(np.ones_like(x), cache)[2]
    array([32., 32., 32.])
    """
    return batchnorm_backward(dout, cache)


def dropout_forward(x: Array, dropout_param: Options) -> tuple[Array, Cache]:
    """Inverted dropout: zeroes elements and scales the rest in mode "train", nothing in "test".

    Parameters
    ----------
    x : ndarray
        Of any shape.
    dropout_param : dict
        ``mode``, ``"train"`` or ``"test"``; ``p``, the share that is *kept*, in (0, 1], as in the
        course since 2018 (before, it was the share that is dropped: pass ``1 - p``); ``seed``,
        optional, which makes the mask repeatable.

    Returns
    -------
    out : ndarray, of x's shape
    cache : tuple
        ``(dropout_param, key)``: the key draws the same mask again, and is None in mode "test".

    Examples
    --------
    >>> dropout_forward(np.ones(6), {"mode": "train", "p": 0.5, "seed": 1})[0]
    array([0., 2., 0., 2., 2., 0.])
    """
    mode, p = read_options("dropout_param", dropout_param, "mode", "p")
    if mode not in ("train", "test"):
        raise ArgumentError(f'dropout_param["mode"] must be "train" or "test", got {mode!r}')
    if not 0 < p <= 1:
        raise ArgumentError(f'dropout_param["p"], the share kept, must be in (0, 1], got {p!r}')
    if mode == "test":
        return x, (dropout_param, None)
    dtype, (values,) = promote(x)
    seed = dropout_param.get("seed")
    source = np.random if seed is None else np.random.RandomState(seed)
    key = source.randint(2**32, size=2, dtype=np.int64)
    out = ops.dropout_forward(values, key, ratio=1 - p)
    return demote(out, dtype), (dropout_param, key)


def dropout_backward(dout: Array, cache: Cache) -> Array:
    """``dx`` of `dropout_forward`.

    Examples
    --------
    >>> _, cache = dropout_forward(np.ones(6), {"mode": "train", "p": 0.5, "seed": 1})
    >>> dropout_backward(np.ones(6), cache)
    array([0., 2., 0., 2., 2., 0.])
    """
    dropout_param, key = cache
    if key is None:
        return dout
    dtype, (dout,) = promote(dout)
    return demote(ops.dropout_backward(dout, key, ratio=1 - dropout_param["p"]), dtype)


def svm_loss(x: Array, y: Array) -> tuple[float, Array]:
    """The multi-class hinge loss with margin 1, averaged over the batch, and its gradient.

    Parameters
    ----------
    x : ndarray, shape (N, C)
        Scores.
    y : ndarray of int, shape (N,)
        Class numbers.

    Returns
    -------
    loss : float
    dx : ndarray, shape (N, C)

    Examples
    --------
    >>> svm_loss(np.array([[3.0, 2.5, -1.0]]), np.array([0]))
    (0.5, array([[-1.,  1.,  0.]]))
    """
    dtype, scores, labels = _scores_and_labels("svm_loss", x, y)
    rows = np.arange(len(scores))
    margins = np.maximum(scores - scores[rows, labels][:, None] + 1, 0)
    margins[rows, labels] = 0
    dx = (margins > 0).astype(scores.dtype)
    dx[rows, labels] -= dx.sum(axis=1)
    return float(margins.sum()) / len(scores), demote(dx / len(scores), dtype)


def softmax_loss(x: Array, y: Array) -> tuple[float, Array]:
    """The cross-entropy of softmax, averaged over the batch, and its gradient.

    Parameters and results are those of `svm_loss`.

    Examples
    --------
    >>> loss, dx = softmax_loss(np.array([[0.0, np.log(3.0)]]), np.array([1]))
    >>> round(loss, 6), dx
    (0.287682, array([[ 0.25, -0.25]]))
    """
    dtype, scores, labels = _scores_and_labels("softmax_loss", x, y)
    probabilities, losses = ops.softmax_cross_entropy_forward(scores, labels)
    dx = ops.softmax_cross_entropy_backward(probabilities, labels)
    return float(losses.mean(dtype=np.float64)), demote(dx, dtype)


def _scores_and_labels(name: str, x: Array, y: Array) -> tuple[np.dtype[Any], Array, Array]:
    dtype, (scores,) = promote(x, floating=True)
    labels = np.asarray(y)
    check_labels(name, scores, labels)
    check_range(name, labels, scores.shape[1])
    return dtype, scores, labels
