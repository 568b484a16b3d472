"""Activations that keep their output only: ReLU, Sigmoid, Tanh, Softmax, Identity, Step."""

import numpy as np

from fastscratch import ops
from fastscratch.layers.base import Layer
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.types import Array


class Activation(Layer):
    """Base of the layers whose output has the input's shape and whose gradient comes from it.

    Examples
    --------
    >>> class Square(Activation):
    ...     def _activate(self, x):
    ...         return x * x
    ...     def _backward(self, dout):
    ...         return dout * 2 * np.sqrt(self._saved)
    >>> Square().forward(np.array([[3.0]]))
    array([[9.]])
    """

    _saved: Array

    def _build(self, input_shape: Shape) -> Shape:
        return input_shape

    def _forward(self, x: Array, training: bool) -> Array:
        y = self._activate(x)
        if training:
            self._saved = y
        return y

    def _activate(self, x: Array) -> Array:
        raise NotImplementedError


@register_layer
class ReLU(Activation):
    """``y = max(x, 0)``, with ``dy/dx = 0`` at 0; NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> relu = ReLU()
    >>> relu.forward(np.array([[1.0, -0.5], [-2.0, 3.0]]), training=True)
    array([[1., 0.],
           [0., 3.]])
    >>> relu.backward(np.ones((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """

    def _activate(self, x: Array) -> Array:
        return ops.relu_forward(x)

    def _backward(self, dout: Array) -> Array:
        return ops.relu_backward(dout, self._saved)


@register_layer
class Sigmoid(Activation):
    """``y = 1/(1 + exp(-x))``, which overflows for no ``x``; ``dy/dx = y*(1 - y)``.

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid().forward(np.array([[-1000.0, 0.0, 1000.0]]))
    array([[0. , 0.5, 1. ]])
    """

    def _activate(self, x: Array) -> Array:
        return ops.sigmoid_forward(x)

    def _backward(self, dout: Array) -> Array:
        return ops.sigmoid_backward(dout, self._saved)


@register_layer
class Tanh(Activation):
    """``y = tanh(x)``; ``dy/dx = 1 - y*y``.

    Examples
    --------
    >>> import numpy as np
    >>> Tanh().forward(np.array([[0.0, 100.0]]))
    array([[0., 1.]])
    """

    def _activate(self, x: Array) -> Array:
        return ops.tanh_forward(x)

    def _backward(self, dout: Array) -> Array:
        return ops.tanh_backward(dout, self._saved)


@register_layer
class Softmax(Activation):
    """``y = exp(x)/sum(exp(x))`` along axis 1: over features, or over the channels of an image.

    A network that is trained with `SoftmaxCrossEntropy` ends without it: that loss takes scores.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax().forward(np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]]))
    array([[0.5 , 0.5 ],
           [0.25, 0.75]])
    """

    def _activate(self, x: Array) -> Array:
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _backward(self, dout: Array) -> Array:
        y = self._saved
        return np.asarray(y * (dout - (dout * y).sum(axis=1, keepdims=True)))


@register_layer
class Identity(Activation):
    """``y = x``: the output layer of a regression.

    Examples
    --------
    >>> import numpy as np
    >>> Identity().forward(np.array([[-1.5, 2.0]]))
    array([[-1.5,  2. ]])
    """

    def _activate(self, x: Array) -> Array:
        return x

    def _backward(self, dout: Array) -> Array:
        return dout


@register_layer
class Step(Activation):
    """``y = 1`` where ``x > 0``, else 0: the perceptron's. Its slope is 0, so nothing learns by it.

    Examples
    --------
    >>> import numpy as np
    >>> step = Step()
    >>> step.forward(np.array([[-1.0, 0.0, 2.0]]), training=True)
    array([[0., 0., 1.]])
    >>> step.backward(np.ones((1, 3)))
    array([[0., 0., 0.]])
    """

    def _activate(self, x: Array) -> Array:
        return np.asarray(x > 0).astype(x.dtype)

    def _backward(self, dout: Array) -> Array:
        return np.zeros_like(dout)
