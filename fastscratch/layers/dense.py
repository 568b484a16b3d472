"""The dense (fully connected, affine) layer."""

from typing import Any

from fastscratch import ops
from fastscratch.arguments import as_count
from fastscratch.errors import ShapeError
from fastscratch.initializers import InitializerLike
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.types import Array


@register_layer
class Dense(Layer):
    """``y = x @ weight + bias``.

    Parameters
    ----------
    out_features : int
        Features of the output; those of the input are inferred.
    bias : bool
        Whether a bias is added.
    weight_init, bias_init : str or Initializer
        First values, see `fastscratch.initializers`.
    backend : str, optional
        Which implementation to prefer.

    Attributes
    ----------
    weight : Parameter, shape (in, out)
    bias : Parameter, shape (out,), or None

    Examples
    --------
    >>> import numpy as np
    >>> dense = Dense(10)
    >>> dense.forward(np.ones((2, 784), np.float32)).shape
    (2, 10)
    """

    weight: Parameter

    def __init__(
        self,
        out_features: int,
        *,
        bias: bool = True,
        weight_init: InitializerLike = "he_normal",
        bias_init: InitializerLike = "zeros",
        backend: str | None = None,
    ) -> None:
        super().__init__(backend=backend)
        self.out_features = as_count(out_features, "Dense: out_features")
        self.use_bias = bias
        self.bias: Parameter | None = None
        self.weight_init = weight_init
        self.bias_init = bias_init

    def _build(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ShapeError(
                f"takes (N, features), got (N, {', '.join(map(str, input_shape))}); "
                "put Flatten() before it"
            )
        fans = (input_shape[0], self.out_features)
        self.weight = self.add_parameter("weight", fans, self.weight_init, fans=fans)
        if self.use_bias:
            self.bias = self.add_parameter(
                "bias", (self.out_features,), self.bias_init, fans=fans, decay=False
            )
        return (self.out_features,)

    def _forward(self, x: Array, training: bool) -> Array:
        if training:
            self._saved = x
        bias = None if self.bias is None else self.bias.value
        return ops.dense_forward(x, self.weight.value, bias)

    def _backward(self, dout: Array) -> Array:
        self._backward_parameters(dout)
        return ops.dense_backward_input(dout, self.weight.value)

    def _backward_parameters(self, dout: Array) -> None:
        bias_out = None if self.bias is None else self.bias.grad
        ops.dense_backward_weight(dout, self._saved, out=self.weight.grad, bias_out=bias_out)

    def multiply_adds(self) -> int:
        """``in * out`` for one sample."""
        return self.weight.size

    def config(self) -> dict[str, Any]:
        """The constructor's arguments; there, ``bias`` is whether there is one."""
        return {**super().config(), "bias": self.use_bias}
