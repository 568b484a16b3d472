"""Which layers of a network are computed together, as one step, because that is faster."""

from fastscratch.layers.activations import ReLU
from fastscratch.layers.base import Layer
from fastscratch.layers.batch_norm import BatchNorm
from fastscratch.layers.conv2d import Conv2d
from fastscratch.layers.pool2d import MaxPool2d
from fastscratch.layers.pooled_conv import PooledConv
from fastscratch.layers.rectified_norm import RectifiedNorm
from fastscratch.layers.rectified_pool import RectifiedPool
from fastscratch.layers.rectified_residual import RectifiedResidual
from fastscratch.layers.residual import Residual

Step = Layer | RectifiedPool | PooledConv | RectifiedNorm | RectifiedResidual
"""What a network runs in turn."""


def merged_steps(layers: list[Layer]) -> list[Step]:
    """The layers in order, some of them together with the one behind them.

    ReLU is computed behind max pooling, where that follows it, and with the batch normalisation or
    the residual block before it. A convolution of few channels before ReLU and max pooling is a
    part of that step, too.

    Parameters
    ----------
    layers : list of Layer
        Of one network, built. Only these classes themselves are merged: a subclass may do anything.

    Returns
    -------
    list

    Examples
    --------
    >>> from fastscratch.layers import Conv2d, Sequential
    >>> network = Sequential(Conv2d(8, 3), ReLU(), MaxPool2d(2), Conv2d(16, 3), ReLU())
    >>> network.build((3, 10, 10))
    (16, 2, 2)
    >>> [type(step).__name__ for step in merged_steps(list(network.layers.values()))]
    ['PooledConv', 'Conv2d', 'ReLU']
    """
    steps: list[Step] = []
    for layer in layers:
        before = steps[-1] if steps else None
        if type(layer) is ReLU and type(before) is BatchNorm and before.backend == layer.backend:
            steps[-1] = RectifiedNorm(before, layer)
        elif type(layer) is ReLU and type(before) is Residual and _sums(before, layer):
            steps[-1] = RectifiedResidual(before, layer)
        elif type(layer) is MaxPool2d and type(before) is ReLU:
            steps.pop()
            conv = steps[-1] if steps else None
            if type(conv) is Conv2d and PooledConv.suits(conv, before, layer):
                steps[-1] = PooledConv(conv, before, layer)
            else:
                steps.append(RectifiedPool(before, layer))
        else:
            steps.append(layer)
    return steps


def _sums(residual: Residual, relu: ReLU) -> bool:
    """Whether the block is always the sum of its two paths, on the implementation of the ReLU."""
    return residual.survival == 1 and residual.backend == relu.backend
