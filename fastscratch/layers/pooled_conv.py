"""A convolution with ReLU and max pooling behind it as one step of a network.

The map between convolution and pooling is never stored as a whole, and where nobody needs the
gradient of the images, the one of the map is not either: the first layers of a small network take
two thirds of the time forward and less than half backward.
"""

from typing import Any

from fastscratch import ops
from fastscratch.kernels.problem import CONV_POOL_OPS
from fastscratch.layers.activations import ReLU
from fastscratch.layers.conv2d import Conv2d
from fastscratch.layers.named_parts import parts_are_named
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.pool2d import MaxPool2d
from fastscratch.layers.rectified_pool import RectifiedPool
from fastscratch.types import Array

_PARTS = (
    "conv2d_forward", "conv2d_backward_weight", "max_pool2d_forward", "max_pool2d_backward",
    "relu_forward", "relu_backward",
)  # fmt: skip
_MOST_CHANNELS = 12
"""Of the images: with more, F(2x2) or tiles of many images are faster forward."""
_MOST_PIXELS = 2**16
"""Of the map, whose part for one tile of channels is held in scratch memory: 8 MiB in float32."""


class PooledConv:
    """Three layers as one step; each keeps its own place, name and parameters.

    Parameters
    ----------
    conv : Conv2d
    relu : ReLU
    pool : MaxPool2d
        Built, one behind the other.

    Examples
    --------
    >>> import numpy as np
    >>> from fastscratch.layers import Sequential
    >>> network = Sequential(Conv2d(2, 3), ReLU(), MaxPool2d(2))
    >>> network.build((1, 6, 6))
    (2, 2, 2)
    >>> step = PooledConv(network[0], network[1], network[2])
    >>> step.forward(np.ones((5, 1, 6, 6), np.float32), training=True).shape
    (5, 2, 2, 2)
    """

    def __init__(self, conv: Conv2d, relu: ReLU, pool: MaxPool2d) -> None:
        self.conv = conv
        self.rectified = RectifiedPool(relu, pool)

    @staticmethod
    def suits(conv: Conv2d, relu: ReLU, pool: MaxPool2d) -> bool:
        """Whether these layers can be one step, and are faster as one."""
        assert conv.input_shape is not None and conv.output_shape is not None
        _, OH, OW = conv.output_shape
        return (
            OH * OW <= _MOST_PIXELS
            and conv.input_shape[0] // conv.groups <= _MOST_CHANNELS
            and conv.backend == relu.backend == pool.backend
            and pool.stride == pool.kernel_size
            and pool.padding in (0, (0, 0), (0, 0, 0, 0), "valid")
            and pool.dilation == (1, 1)
            and pool.rounding != "ceil"
        )

    @property
    def path(self) -> str:
        """All three places in the network."""
        return f"{self.conv.path}+{self.rectified.path}"

    def forward(self, x: Array, training: bool) -> Array:
        """``pool(relu(conv(x)))``."""
        if parts_are_named(_PARTS, CONV_POOL_OPS):
            return self.rectified.forward(self.conv.forward(x, training), training)
        conv, relu, pool = self.conv, self.rectified.relu, self.rectified.pool
        conv._check(x, conv.input_shape, "input")
        y, argmax = conv._run(self._forward, x)
        if training:
            assert conv.output_shape is not None
            map_shape = (len(x), *conv.output_shape)
            conv._saved, conv._dout_shape = x, map_shape
            pool._saved, pool._dout_shape = (argmax, map_shape), y.shape
            relu._saved = y
        return y  # type: ignore[no-any-return]

    def _forward(self, x: Array) -> tuple[Array, Array]:
        bias = None if self.conv.bias is None else self.conv.bias.value
        return ops.conv2d_relu_max_pool2d_forward(
            x, self.conv.weight.value, bias, **self._options()
        )

    def backward(self, dout: Array) -> Array:
        """The gradient of the input; those of the parameters are overwritten."""
        return self.conv.backward(self.rectified.backward(dout))

    def backward_parameters(self, dout: Array) -> None:
        """The gradients of the parameters alone."""
        if parts_are_named(_PARTS, CONV_POOL_OPS):
            self.conv.backward_parameters(self.rectified.backward(dout))
            return
        self.rectified.pool._check_dout(dout)
        self.conv._run(self._backward_parameters, dout)

    def _backward_parameters(self, dout: Array) -> None:
        conv = self.conv
        ops.conv2d_relu_max_pool2d_backward_weight(
            dout,
            self.rectified.relu._saved,
            self.rectified.pool._saved[0],
            conv._saved,
            conv.kernel_size,
            **self._options(),
            out=conv.weight.grad,
            bias_out=None if conv.bias is None else conv.bias.grad,
        )

    def _options(self) -> dict[str, Any]:
        return {**self.conv._window(), "pool": self.rectified.pool.kernel_size}

    def parameters(self) -> list[Parameter]:
        """Those of the convolution."""
        return self.conv.parameters()
