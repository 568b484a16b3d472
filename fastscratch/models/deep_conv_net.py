"""The book's deep convolutional network."""

from collections.abc import Sequence
from typing import Any

from fastscratch.layers.activations import ReLU
from fastscratch.layers.base import Layer
from fastscratch.layers.conv2d import Conv2d
from fastscratch.layers.dense import Dense
from fastscratch.layers.dropout import Dropout
from fastscratch.layers.flatten import Flatten
from fastscratch.layers.pool2d import MaxPool2d
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.models.networks import Network


@register_layer
class DeepConvNet(Network):
    """Three times two convolutions 3x3 and a max pooling 2x2, then two dense layers with dropout.

    All convolutions keep the size of their map but for the second of the second pair, whose padding
    of 2 makes 16x16 of MNIST's 14x14, so that the pooling behind it leaves no remainder.

    Source: K. Saitoh, "Deep Learning from Scratch", 2016, section 8.1.1. There a dropout stands
    behind the last layer, too; here the scores are left whole.

    Parameters
    ----------
    input_shape : tuple of int
        ``(C, H, W)``.
    filters : (int, int, int)
        Of the three pairs of convolutions.
    hidden : int
        Features of the hidden dense layer.
    dropout : float
        The share that dropout zeroes.
    classes : int
        Number of scores.
    seed : int
        Of the first weights and of dropout.
    dtype : {"float32", "float64"}
        What it computes in.

    Examples
    --------
    >>> model = DeepConvNet()
    >>> model["pool3"].output_shape
    (64, 4, 4)
    """

    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        *,
        filters: Sequence[int] = (16, 32, 64),
        hidden: int = 50,
        dropout: float = 0.5,
        classes: int = 10,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.filters = tuple(filters)
        self.hidden = hidden
        self.dropout = dropout
        self.classes = classes
        layers: list[tuple[str, Layer]] = []
        for pair, channels in enumerate(self.filters, start=1):
            for number, padding in ((2 * pair - 1, 1), (2 * pair, 2 if pair == 2 else 1)):
                layers.append((f"conv{number}", Conv2d(channels, 3, padding=padding)))
                layers.append((f"relu{number}", ReLU()))
            layers.append((f"pool{pair}", MaxPool2d(2, rounding="floor")))
        super().__init__(
            *layers,
            ("flatten", Flatten()),
            ("dense1", Dense(hidden)),
            ("relu7", ReLU()),
            ("dropout", Dropout(dropout)),
            ("dense2", Dense(classes)),
            seed=seed,
        )
        self.build(input_shape, dtype)
