"""Which layers of a network are computed together, as one step, because that is faster."""

from fastscratch.layers.activations import ReLU
from fastscratch.layers.base import Layer
from fastscratch.layers.conv2d import Conv2d
from fastscratch.layers.pool2d import MaxPool2d
from fastscratch.layers.pooled_conv import PooledConv
from fastscratch.layers.rectified_pool import RectifiedPool

Step = Layer | RectifiedPool | PooledConv
"""What a network runs in turn."""


def merged_steps(layers: list[Layer]) -> list[Step]:
    """The layers in order, each ReLU with max pooling behind it as one step.

    A convolution of few channels before them is a part of it, too.

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
        relu = steps[-1] if steps else None
        if type(layer) is MaxPool2d and isinstance(relu, ReLU) and type(relu) is ReLU:
            steps.pop()
            conv = steps[-1] if steps else None
            if isinstance(conv, Conv2d) and type(conv) is Conv2d and (
                PooledConv.suits(conv, relu, layer)
            ):  # fmt: skip
                steps[-1] = PooledConv(conv, relu, layer)
            else:
                steps.append(RectifiedPool(relu, layer))
        else:
            steps.append(layer)
    return steps
