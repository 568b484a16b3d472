"""From images to rows of features."""

import math

from fastscratch.layers.base import Layer
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.types import Array


@register_layer
class Flatten(Layer):
    """Makes (N, C, H, W) into (N, C*H*W), in row-major order.

    The output shares the input's memory wherever it can.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward(np.ones((2, 30, 12, 12), np.float32)).shape
    (2, 4320)
    """

    def _build(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def _forward(self, x: Array, training: bool) -> Array:
        return x.reshape(x.shape[0], *(self.output_shape or ()))

    def _backward(self, dout: Array) -> Array:
        return dout.reshape(dout.shape[0], *(self.input_shape or ()))
