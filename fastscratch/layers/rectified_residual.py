"""A residual block and the ReLU behind it as one step: the sum is rectified while it is made."""

from fastscratch import ops
from fastscratch.layers.activations import ReLU
from fastscratch.layers.named_parts import parts_are_named
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.residual import Residual
from fastscratch.types import Array

_PARTS = ("add_forward", "relu_forward")
_WHOLE = ("add_relu_forward",)


class RectifiedResidual:
    """A pair of layers as one step of a network; each keeps its own place and name.

    Parameters
    ----------
    residual : Residual
    relu : ReLU
        What follows it; both prefer the same implementation.

    Examples
    --------
    >>> import numpy as np
    >>> from fastscratch.layers import Dense
    >>> residual, relu = Residual(Dense(2, bias=False)), ReLU()
    >>> residual.build((2,), np.float64), relu.build((2,), np.float64)
    ((2,), (2,))
    >>> residual.body.weight.value[...] = [[0, 1], [1, 0]]
    >>> RectifiedResidual(residual, relu).forward(np.array([[1.0, -3.0]]), training=True)
    array([[0., 0.]])
    """

    def __init__(self, residual: Residual, relu: ReLU) -> None:
        self.residual = residual
        self.relu = relu

    @property
    def path(self) -> str:
        """Both places in the network."""
        return f"{self.residual.path}+{self.relu.path}"

    def forward(self, x: Array, training: bool) -> Array:
        """``relu(body(x) + shortcut(x))``."""
        residual, relu = self.residual, self.relu
        if parts_are_named(_PARTS, _WHOLE):
            return relu.forward(residual.forward(x, training), training)
        residual._check(x, residual.input_shape, "input")
        y: Array = residual._run(self._forward, x, training)
        if training:
            relu._saved = y
            residual._dout_shape = relu._dout_shape = y.shape
        return y

    def _forward(self, x: Array, training: bool) -> Array:
        return ops.add_relu_forward(*self.residual._paths(x, training))

    def backward(self, dout: Array) -> Array:
        """The gradient of the input; those of the parameters are overwritten."""
        return self.residual.backward(self.relu.backward(dout))

    def backward_parameters(self, dout: Array) -> None:
        """The gradients of the parameters alone."""
        self.residual.backward_parameters(self.relu.backward(dout))

    def parameters(self) -> list[Parameter]:
        """Those of both paths."""
        return self.residual.parameters()
