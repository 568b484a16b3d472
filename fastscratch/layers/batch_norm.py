"""Batch normalisation, for rows of features and for images."""

from collections.abc import Callable

import numpy as np

from fastscratch import ops
from fastscratch.arguments import as_number
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Buffer, Parameter
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.types import Array


@register_layer
class BatchNorm(Layer):
    """``y = gamma*(x - mean)/sqrt(var + eps) + beta``, feature by feature or channel by channel.

    In training, mean and variance (divided by the number of elements) are those of the batch: over
    N for features (N, F), over N, H and W for images (N, C, H, W). Running means of both are kept,
    and used where ``training`` is False.

    Source: Ioffe and Szegedy, "Batch normalization", 2015, algorithms 1 and 2.

    Parameters
    ----------
    momentum : float
        The share of the old running value that is kept at each step (the share of the *new* one
        in PyTorch).
    eps : float
        Added to the variance.
    backend : str, optional
        Which implementation to prefer.

    Attributes
    ----------
    gamma, beta : Parameter, shape (F,) or (C,)
        Scale, 1 at first, and shift, 0 at first; weight decay leaves them alone.
    running_mean, running_var : Buffer, shape (F,) or (C,)

    Examples
    --------
    >>> import numpy as np
    >>> norm = BatchNorm()
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> np.round(norm.forward(x, training=True), 3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> norm.running_mean.value
    array([0.2, 2. ])
    """

    gamma: Parameter
    beta: Parameter
    running_mean: Buffer
    running_var: Buffer

    def __init__(
        self, *, momentum: float = 0.9, eps: float = 1e-5, backend: str | None = None
    ) -> None:
        super().__init__(backend=backend)
        as_number(momentum, "BatchNorm: momentum")
        if not 0 <= momentum <= 1 or not as_number(eps, "BatchNorm: eps") > 0:
            raise ArgumentError(
                "BatchNorm: momentum must be in [0, 1] and eps above 0, got "
                f"momentum={momentum!r}, eps={eps!r}"
            )
        self.momentum = momentum
        self.eps = eps

    def _build(self, input_shape: Shape) -> Shape:
        if len(input_shape) not in (1, 3):
            raise ShapeError(
                f"takes (N, F) or images (N, C, H, W), got (N, {', '.join(map(str, input_shape))})"
            )
        features = (input_shape[0],)
        self.gamma = self.add_parameter("gamma", features, {"name": "constant"}, decay=False)
        self.beta = self.add_parameter("beta", features, "zeros", decay=False)
        self.running_mean = self.add_buffer("running_mean", np.zeros(features, self.dtype))
        self.running_var = self.add_buffer("running_var", np.ones(features, self.dtype))
        return input_shape

    def _forward(self, x: Array, training: bool) -> Array:
        gamma, beta = self.gamma.value, self.beta.value
        if not training:
            mean, var = self.running_mean.value, self.running_var.value
            return ops.batch_norm_inference(x, gamma, beta, mean, var, eps=self.eps)
        return self._train(ops.batch_norm_forward, x)

    def _train(self, normalise: Callable[..., tuple[Array, Array, Array]], x: Array) -> Array:
        if not x.shape[0]:
            raise ShapeError("an empty batch has no mean to train with")
        y, mean, var = normalise(x, self.gamma.value, self.beta.value, eps=self.eps)
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running.value = self.momentum * running.value + (1 - self.momentum) * new
        self._saved = (x, mean, var)
        return y

    def _backward(self, dout: Array) -> Array:
        return self._differentiate(ops.batch_norm_backward, dout)

    def _differentiate(
        self, gradients: Callable[..., tuple[Array, Array, Array]], *batches: Array
    ) -> Array:
        x, mean, var = self._saved
        return gradients(
            *batches, x, self.gamma.value, mean, var, eps=self.eps,
            gamma_out=self.gamma.grad, beta_out=self.beta.grad,
        )[0]  # fmt: skip
