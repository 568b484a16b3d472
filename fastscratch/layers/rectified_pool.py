"""ReLU and the max pooling behind it, computed the other way round.

The largest of a window's rectified elements is its rectified largest element. Rectifying after
pooling touches a quarter of the elements for windows of 2 by 2, forward and backward. The results
are the same to the last bit, the gradient's too: a window without a positive element passes nothing
back either way, and in any other both ways find the same element.
"""

from fastscratch.layers.activations import ReLU
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.pool2d import MaxPool2d
from fastscratch.types import Array


class RectifiedPool:
    """A pair of layers as one step of a network; each keeps its own place, name and backend.

    Parameters
    ----------
    relu : ReLU
    pool : MaxPool2d
        What follows it.

    Examples
    --------
    >>> import numpy as np
    >>> relu, pool = ReLU(), MaxPool2d(2)
    >>> step = RectifiedPool(relu, pool)
    >>> step.forward(np.array([[[[1.0, -2.0], [3.0, 4.0]]]]), True)
    array([[[[4.]]]])
    >>> step.backward(np.ones((1, 1, 1, 1)))
    array([[[[0., 0.],
             [0., 1.]]]])
    """

    def __init__(self, relu: ReLU, pool: MaxPool2d) -> None:
        self.relu = relu
        self.pool = pool

    @property
    def path(self) -> str:
        """Both places in the network."""
        return f"{self.relu.path}+{self.pool.path}"

    def forward(self, x: Array, training: bool) -> Array:
        """``pool(relu(x))``."""
        if training:
            self.relu.forget()
        y: Array = self.relu._run(self.relu._forward, self.pool.forward(x, training), training)
        return y

    def backward(self, dout: Array) -> Array:
        """The gradient of the input."""
        return self.pool.backward(self.relu._run(self.relu._backward, dout))

    def backward_parameters(self, dout: Array) -> None:
        """Nothing: there are none."""

    def parameters(self) -> list[Parameter]:
        """None."""
        return []
