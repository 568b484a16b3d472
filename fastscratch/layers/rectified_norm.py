"""Batch normalisation and the ReLU behind it as one step: a pass over memory less each way."""

from fastscratch import ops
from fastscratch.layers.activations import ReLU
from fastscratch.layers.batch_norm import BatchNorm
from fastscratch.layers.named_parts import parts_are_named
from fastscratch.layers.parameter import Parameter
from fastscratch.types import Array

_PARTS = ("batch_norm_forward", "batch_norm_backward", "relu_forward", "relu_backward")
_WHOLE = ("batch_norm_relu_forward", "batch_norm_relu_backward")


class RectifiedNorm:
    """A pair of layers as one step of a network; each keeps its own place, name and parameters.

    A prediction runs them one by one: its statistics are given.

    Parameters
    ----------
    norm : BatchNorm
    relu : ReLU
        What follows it; both prefer the same implementation.

    Examples
    --------
    >>> import numpy as np
    >>> norm, relu = BatchNorm(), ReLU()
    >>> norm.build((1,), np.float64), relu.build((1,), np.float64)
    ((1,), (1,))
    >>> step = RectifiedNorm(norm, relu)
    >>> step.forward(np.array([[1.0], [3.0]]), True).round(3)
    array([[0.],
           [1.]])
    """

    def __init__(self, norm: BatchNorm, relu: ReLU) -> None:
        self.norm = norm
        self.relu = relu

    @property
    def path(self) -> str:
        """Both places in the network."""
        return f"{self.norm.path}+{self.relu.path}"

    def forward(self, x: Array, training: bool) -> Array:
        """``relu(norm(x))``."""
        norm, relu = self.norm, self.relu
        if not training or parts_are_named(_PARTS, _WHOLE):
            return relu.forward(norm.forward(x, training), training)
        norm._check(x, norm.input_shape, "input")
        y: Array = norm._run(norm._train, ops.batch_norm_relu_forward, x)
        relu._saved = y
        norm._dout_shape = relu._dout_shape = y.shape
        return y

    def backward(self, dout: Array) -> Array:
        """The gradient of the input; those of scale and shift are overwritten."""
        norm, relu = self.norm, self.relu
        if parts_are_named(_PARTS, _WHOLE):
            return norm.backward(relu.backward(dout))
        relu._check_dout(dout)
        dx: Array = norm._run(norm._differentiate, ops.batch_norm_relu_backward, dout, relu._saved)
        return dx

    def backward_parameters(self, dout: Array) -> None:
        """The gradients of scale and shift, which come with that of the input."""
        self.backward(dout)

    def parameters(self) -> list[Parameter]:
        """Scale and shift."""
        return self.norm.parameters()
