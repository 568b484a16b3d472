"""Rectifiers that are not flat below zero: LeakyReLU, ELU, and PReLU, whose slope is learned."""

import math

from fastscratch import ops
from fastscratch.arguments import as_number
from fastscratch.errors import ArgumentError
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.types import Array


@register_layer
class LeakyReLU(Layer):
    """``y = x`` where ``x > 0``, else ``alpha*x``; at 0 the slope is alpha.

    Source: Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013.

    Parameters
    ----------
    alpha : float
        The slope below zero, whatever its size: ``max(alpha*x, x)`` would be wrong above 1.
    backend : str, optional
        Which implementation to prefer.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.1).forward(np.array([[2.0, -2.0]]))
    array([[ 2. , -0.2]])
    """

    def __init__(self, alpha: float = 0.01, *, backend: str | None = None) -> None:
        super().__init__(backend=backend)
        self.alpha = _finite("LeakyReLU", alpha)

    def _build(self, input_shape: Shape) -> Shape:
        return input_shape

    def _forward(self, x: Array, training: bool) -> Array:
        if training:
            self._saved = x
        return ops.leaky_relu_forward(x, alpha=self.alpha)

    def _backward(self, dout: Array) -> Array:
        return ops.leaky_relu_backward(dout, self._saved, alpha=self.alpha)


@register_layer
class ELU(Layer):
    """``y = x`` where ``x > 0``, else ``alpha*(exp(x) - 1)``, which overflows for no ``x``.

    Source: Clevert et al., "Fast and accurate deep network learning by exponential linear units",
    2016.

    Parameters
    ----------
    alpha : float
        0 or more: what ``-y`` approaches far below zero.
    backend : str, optional
        Which implementation to prefer.

    Examples
    --------
    >>> import numpy as np
    >>> ELU().forward(np.array([[1000.0, 0.0, -1000.0]]))
    array([[1000.,    0.,   -1.]])
    """

    def __init__(self, alpha: float = 1.0, *, backend: str | None = None) -> None:
        super().__init__(backend=backend)
        self.alpha = _finite("ELU", alpha)
        if alpha < 0:
            raise ArgumentError(f"ELU: alpha must be 0 or more, got {alpha!r}")

    def _build(self, input_shape: Shape) -> Shape:
        return input_shape

    def _forward(self, x: Array, training: bool) -> Array:
        y = ops.elu_forward(x, alpha=self.alpha)
        if training:
            self._saved = y
        return y

    def _backward(self, dout: Array) -> Array:
        return ops.elu_backward(dout, self._saved, alpha=self.alpha)


@register_layer
class PReLU(Layer):
    """``y = x`` where ``x > 0``, else ``slope*x``, with a slope that is learned.

    Source: He et al., "Delving deep into rectifiers", 2015, section 2.1.

    Parameters
    ----------
    slope : float
        First value of all slopes.
    shared : bool
        One slope for all channels (or features), instead of one for each.
    backend : str, optional
        Which implementation to prefer.

    Attributes
    ----------
    slopes : Parameter, shape (C,), or (1,) if shared
        Weight decay leaves it alone: it would pull PReLU towards ReLU.

    Examples
    --------
    >>> import numpy as np
    >>> layer = PReLU(0.5)
    >>> layer.forward(np.array([[2.0, -2.0]]), training=True)
    array([[ 2., -1.]])
    >>> dx = layer.backward(np.ones((1, 2)))
    >>> layer.slopes.grad
    array([ 0., -2.])
    """

    slopes: Parameter

    def __init__(
        self, slope: float = 0.25, *, shared: bool = False, backend: str | None = None
    ) -> None:
        super().__init__(backend=backend)
        self.slope = _finite("PReLU", slope)
        self.shared = shared

    def _build(self, input_shape: Shape) -> Shape:
        shape = (1,) if self.shared else (input_shape[0],)
        first = {"name": "constant", "value": self.slope}
        self.slopes = self.add_parameter("slopes", shape, first, decay=False)
        return input_shape

    def _forward(self, x: Array, training: bool) -> Array:
        if training:
            self._saved = x
        return ops.prelu_forward(self._channels(x), self.slopes.value).reshape(x.shape)

    def _backward(self, dout: Array) -> Array:
        x = self._channels(self._saved)
        dx, _ = ops.prelu_backward(
            self._channels(dout), x, self.slopes.value, slopes_out=self.slopes.grad
        )
        return dx.reshape(dout.shape)

    def _channels(self, x: Array) -> Array:
        """All elements of a sample as one channel, if they share a slope."""
        return x.reshape(len(x), 1, math.prod(x.shape[1:])) if self.shared else x


def _finite(layer: str, value: float) -> float:
    if not abs(as_number(value, f"{layer}: the slope")) < float("inf"):
        raise ArgumentError(f"{layer}: the slope must be a finite number, got {value!r}")
    return value
