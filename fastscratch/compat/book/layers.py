"""Stands in for ``common.layers``: layers that hold the very arrays they are given.

A parameter that is changed in place (``params["W1"] -= ...``) is the layer's own, and one that is
put in its place (``layer.W = ...``) is used from then on. What only some scripts look at, such as
masks and columns, is made when it is asked for.
"""

from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.book.arrays import col2im, im2col
from fastscratch.compat.book.convolution import Convolution, Pooling
from fastscratch.compat.book.functions import (
    cross_entropy_error,
    identity_function,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_and_loss,
    softmax_loss,
    step_function,
    sum_squared_error,
    targets_of,
)
from fastscratch.compat.promotion import demote, promote
from fastscratch.errors import ShapeError
from fastscratch.types import Array

__all__ = [
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "col2im",
    "cross_entropy_error",
    "identity_function",
    "im2col",
    "np",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
]


class Relu:
    """``max(x, 0)``.

    Attributes
    ----------
    mask : ndarray of bool, or None before the forward pass
        Where the input was 0 or below, and no gradient comes through.

    Examples
    --------
    >>> layer = Relu()
    >>> layer.forward(np.array([[1.0, -0.5], [-2.0, 3.0]]))
    array([[1., 0.],
           [0., 3.]])
    >>> layer.mask
    array([[False,  True],
           [ True, False]])
    >>> layer.backward(np.ones((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self) -> None:
        self._out: Any = None

    @property
    def mask(self) -> Any:
        return None if self._out is None else self._out <= 0

    def forward(self, x: Array) -> Any:
        self._out = relu(x)
        return self._out

    def backward(self, dout: Array) -> Array:
        dtype, (dout, out) = promote(dout, self._out)
        return demote(ops.relu_backward(dout, out), dtype)


class Sigmoid:
    """``1/(1 + exp(-x))``.

    Attributes
    ----------
    out : ndarray, or None before the forward pass
        The output, from which the gradient is found.
    """

    def __init__(self) -> None:
        self.out: Any = None

    def forward(self, x: Array) -> Any:
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        dtype, (dout, out) = promote(dout, self.out)
        return demote(ops.sigmoid_backward(dout, out), dtype)


class Affine:
    """``x @ W + b``; images are flattened, and their gradient gets their shape back.

    Attributes
    ----------
    W, b : ndarray, shapes (in, out) and (out,)
        As they were given.
    x : ndarray, shape (N, in)
        The input, flattened.
    original_x_shape : tuple of int
        Its shape before.
    dW, db : ndarray
        Gradients of the last backward pass.

    Examples
    --------
    >>> layer = Affine(np.ones((4, 2)), np.zeros(2))
    >>> layer.forward(np.ones((3, 1, 2, 2))).shape
    (3, 2)
    >>> layer.backward(np.ones((3, 2))).shape, layer.dW.shape, layer.db
    ((3, 1, 2, 2), (4, 2), array([3., 3.]))
    """

    def __init__(self, W: Array, b: Array) -> None:
        self.W = W
        self.b = b
        self.x: Any = None
        self.original_x_shape: tuple[int, ...] | None = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        x = np.asarray(x)
        self.original_x_shape = x.shape
        self.x = x.reshape(x.shape[0], -1)
        dtype, (x, W, b) = promote(self.x, self.W, self.b)
        return demote(ops.dense_forward(x, W, np.broadcast_to(b, W.shape[1:])), dtype)

    def backward(self, dout: Array) -> Array:
        dtype, (dout, x, W) = promote(dout, self.x, self.W)
        db = np.empty(dout.shape[1:], dout.dtype)
        self.dW = demote(ops.dense_backward_weight(dout, x, bias_out=db), dtype)
        self.db = demote(db, dtype)
        dx = ops.dense_backward_input(dout, W)
        return demote(dx.reshape(self.original_x_shape), dtype)


class SoftmaxWithLoss:
    """Softmax and cross-entropy, averaged over the batch.

    The loss comes from log-softmax: it has no 1e-7 within its logarithm, which is all that it
    differs by from ``cross_entropy_error(softmax(x), t)``.

    Attributes
    ----------
    loss : float
    y : ndarray, shape (N, C)
        Probabilities.
    t : ndarray
        Targets as they were given: class numbers, one-hot rows or other distributions.

    Examples
    --------
    >>> layer = SoftmaxWithLoss()
    >>> round(float(layer.forward(np.array([[0.0, np.log(3.0)]]), np.array([1]))), 6)
    0.287682
    >>> layer.backward()
    array([[ 0.25, -0.25]])
    """

    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Array, t: Any) -> Any:
        self.t = t
        self.y, self.loss = softmax_and_loss(x, t)
        return self.loss

    def backward(self, dout: Any = 1) -> Array:
        dtype, (y,) = promote(self.y)
        shape = y.shape
        y = np.atleast_2d(y)
        labels, rows = targets_of(self.t, y.shape)
        if labels is not None:
            dx = ops.softmax_cross_entropy_backward(y, labels)
        else:
            dx = ((y - rows) / len(y)).astype(y.dtype, copy=False)
        if not (np.ndim(dout) == 0 and dout == 1):
            dx = dx * dout
            dtype = np.result_type(dtype, dout)
        return demote(dx.reshape(shape), dtype)


class Dropout:
    """Zeroes a share of the elements while training, and scales by the share kept afterwards.

    The mask is drawn from ``np.random``, so that a script that seeds it sees the mask that it
    always saw.

    Attributes
    ----------
    dropout_ratio : float
        The share that is zeroed.
    mask : ndarray of bool, or None before a forward pass that trains
        What is kept.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Any:
        if train_flg:
            self.mask = np.random.rand(*x.shape) > self.dropout_ratio
            return x * self.mask
        return x * (1.0 - self.dropout_ratio)

    def backward(self, dout: Array) -> Any:
        return dout * self.mask


class BatchNormalization:
    """Normalises by the batch while training, and by running statistics afterwards.

    Images (N, C, H, W) are normalised channel by channel where gamma has C elements. Where it has
    C*H*W, as in scripts that flatten, every pixel is a feature of its own.

    Attributes
    ----------
    gamma, beta : ndarray
        Scale and shift, as they were given.
    momentum : float
        The share of the running statistics that is kept at each step.
    running_mean, running_var : ndarray, or None before the first forward pass
        They start from 0.
    dgamma, dbeta : ndarray
        Gradients of the last backward pass.
    input_shape : tuple of int
    batch_size : int
    xc, xn, std : ndarray
        The last batch less its mean, over its deviation, and that deviation.

    Examples
    --------
    >>> layer = BatchNormalization(np.ones(1), np.zeros(1))
    >>> layer.forward(np.array([[1.0], [3.0]])).round(3)
    array([[-1.],
           [ 1.]])
    >>> layer.running_mean
    array([0.2])
    """

    EPS = 10e-7

    def __init__(
        self, gamma: Any, beta: Any, momentum: float = 0.9, running_mean: Any = None,
        running_var: Any = None,
    ) -> None:  # fmt: skip
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.running_mean = running_mean
        self.running_var = running_var
        self.input_shape: tuple[int, ...] | None = None
        self.batch_size: int | None = None
        self.dgamma: Any = None
        self.dbeta: Any = None
        self._x: Any = None
        self._mean: Any = None
        self._var: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        x = np.asarray(x)
        self.input_shape = x.shape
        x = self._as_features(x)
        C = x.shape[1]
        if self.running_mean is None or self.running_var is None:
            self.running_mean = np.zeros(C)
            self.running_var = np.zeros(C)
        dtype, (x, gamma, beta) = promote(x, self.gamma, self.beta, floating=True)
        gamma, beta = np.broadcast_to(gamma, C), np.broadcast_to(beta, C)
        if train_flg:
            y, mean, var = ops.batch_norm_forward(x, gamma, beta, eps=self.EPS)
            self.batch_size = len(x)
            self._x, self._mean, self._var = x, mean, var
            keep, take = self.momentum, 1 - self.momentum
            self.running_mean = keep * self.running_mean + take * mean
            self.running_var = keep * self.running_var + take * var
        else:
            mean = self.running_mean.astype(x.dtype, copy=False)
            var = self.running_var.astype(x.dtype, copy=False)
            y = ops.batch_norm_inference(x, gamma, beta, mean, var, eps=self.EPS)
        return demote(y.reshape(self.input_shape), dtype)

    def backward(self, dout: Array) -> Array:
        shape = dout.shape
        dtype, (dout, x, gamma, mean, var) = promote(
            self._as_features(dout), self._x, self.gamma, self._mean, self._var
        )
        gamma = np.broadcast_to(gamma, x.shape[1])
        dx, dgamma, dbeta = ops.batch_norm_backward(dout, x, gamma, mean, var, eps=self.EPS)
        self.dgamma, self.dbeta = demote(dgamma, dtype), demote(dbeta, dtype)
        return demote(dx.reshape(shape), dtype)

    @property
    def std(self) -> Any:
        return None if self._var is None else np.sqrt(self._var + self.EPS)

    @property
    def xc(self) -> Any:
        if self._x is None or self._mean is None:
            return None
        return self._x - self._mean.reshape(-1, *(1,) * (self._x.ndim - 2))

    @property
    def xn(self) -> Any:
        if self._x is None or self.std is None:
            return None
        return self.xc / self.std.reshape(-1, *(1,) * (self._x.ndim - 2))

    def _as_features(self, x: Array) -> Array:
        size = np.size(self.gamma)
        if size in (1, x.shape[1]):
            return x
        if size != x[0].size:
            raise ShapeError(
                f"BatchNormalization: gamma must have {x.shape[1]} elements, one a channel, or "
                f"{x[0].size}, one a feature, for an input of shape {x.shape}, got {size}"
            )
        return x.reshape(len(x), -1)
