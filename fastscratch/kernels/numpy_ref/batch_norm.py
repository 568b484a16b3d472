"""Batch normalisation of channels (N, C, S), a row of features being C channels of one pixel."""

import numpy as np

from fastscratch.kernels.numpy_ref.activations import relu_backward, relu_forward
from fastscratch.types import Array


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: Array, y: Array, mean: Array, var: Array,
    num_threads: int,
) -> None:  # fmt: skip
    """y = gamma*(x - mean)/sqrt(var + eps) + beta, mean and var being those of x over N and S."""
    count = max(x.shape[0] * x.shape[2], 1)
    mean[...] = x.sum(axis=(0, 2)) / count
    var[...] = np.square(x - mean[:, None]).sum(axis=(0, 2)) / count
    batch_norm_inference(x, gamma, beta, mean, var, eps, y, num_threads)


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: Array, y: Array,
    num_threads: int,
) -> None:  # fmt: skip
    """y = gamma*(x - mean)/sqrt(var + eps) + beta."""
    scale = gamma / np.sqrt(var + eps.item())
    np.multiply(x - mean[:, None], scale[:, None], out=y)
    y += beta[:, None]


def batch_norm_backward(
    dout: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: Array,
    dx: Array, dgamma: Array, dbeta: Array, num_threads: int,
) -> None:  # fmt: skip
    """With n = (x - mean)/sqrt(var + eps): dgamma = sum(dout*n), dbeta = sum(dout), and

    dx = gamma/sqrt(var + eps) * (dout - dbeta/count - n*dgamma/count): the last two terms are what
    moves through the batch's mean and variance.
    """
    count = max(x.shape[0] * x.shape[2], 1)
    inverse_std = 1 / np.sqrt(var + eps.item())
    normalised = (x - mean[:, None]) * inverse_std[:, None]
    np.sum(dout * normalised, axis=(0, 2), out=dgamma)
    np.sum(dout, axis=(0, 2), out=dbeta)
    dx[...] = dout - (dbeta / count)[:, None] - normalised * (dgamma / count)[:, None]
    dx *= (gamma * inverse_std)[:, None]


def batch_norm_relu_forward(
    x: Array, gamma: Array, beta: Array, eps: Array, y: Array, mean: Array, var: Array,
    num_threads: int,
) -> None:  # fmt: skip
    """y = relu(batch_norm(x)), mean and var being those of x over N and S."""
    normalised = np.empty_like(y)
    batch_norm_forward(x, gamma, beta, eps, normalised, mean, var, num_threads)
    relu_forward(normalised, y, num_threads)


def batch_norm_relu_backward(
    dout: Array, y: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: Array,
    dx: Array, dgamma: Array, dbeta: Array, num_threads: int,
) -> None:  # fmt: skip
    """The gradients of batch_norm at x, of dout where y > 0, else 0."""
    inner = np.empty_like(dout)
    relu_backward(dout, y, inner, num_threads)
    batch_norm_backward(inner, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads)
