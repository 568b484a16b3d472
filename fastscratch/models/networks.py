"""The networks that come with the package."""

from collections.abc import Sequence
from typing import Any, Self

from fastscratch.initializers import InitializerLike
from fastscratch.layers.activations import ReLU
from fastscratch.layers.base import Layer
from fastscratch.layers.conv2d import Conv2d
from fastscratch.layers.dense import Dense
from fastscratch.layers.dropout import Dropout
from fastscratch.layers.flatten import Flatten
from fastscratch.layers.pool2d import MaxPool2d
from fastscratch.layers.registry import register_layer
from fastscratch.layers.sequential import Sequential
from fastscratch.layers.shapes import Shape
from fastscratch.types import IntOrPair


class Network(Sequential):
    """Base of networks that are known by their arguments rather than by their list of layers.

    They are built at once. A saved one holds the arguments, and is loaded as its own class.

    Each takes at least an input shape, and by keyword ``classes``, ``seed`` and ``dtype``.

    Examples
    --------
    >>> MLP((4,), hidden=(3,)).config()["hidden"]
    [3]
    """

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return Layer.config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new network, built, from what `config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return Layer.__repr__(self)


@register_layer
class MLP(Network):
    """Dense layers with ReLU between them; images are flattened first.

    ``MLP((784,), hidden=(50,))`` is the book's two-layer network.

    Parameters
    ----------
    input_shape : tuple of int
        Of one sample: ``(features,)`` or ``(C, H, W)``.
    hidden : sequence of int
        Features of the hidden layers.
    classes : int
        Number of scores.
    weight_init : str or Initializer
        First weights.
    seed : int
        Of the first weights.
    dtype : {"float32", "float64"}
        What it computes in.

    Examples
    --------
    >>> model = MLP((784,), hidden=(50,))
    >>> [parameter.shape for parameter in model.parameters()]
    [(784, 50), (50,), (50, 10), (10,)]
    """

    def __init__(
        self,
        input_shape: Shape = (784,),
        *,
        hidden: Sequence[int] = (100,),
        classes: int = 10,
        weight_init: InitializerLike = "he_normal",
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.hidden = tuple(hidden)
        self.classes = classes
        self.weight_init = weight_init
        layers: list[tuple[str, Layer]] = [("flatten", Flatten())] if len(input_shape) > 1 else []
        for number, features in enumerate(self.hidden, start=1):
            layers += [
                (f"dense{number}", Dense(features, weight_init=weight_init)),
                (f"relu{number}", ReLU()),
            ]
        layers.append((f"dense{len(self.hidden) + 1}", Dense(classes, weight_init=weight_init)))
        super().__init__(*layers, seed=seed)
        self.build(input_shape, dtype)


@register_layer
class SimpleConvNet(Network):
    """The book's convolutional network: conv, ReLU, max pool 2x2, dense, ReLU, dense.

    Source: K. Saitoh, "Deep Learning from Scratch", 2016, section 7.5. ``weight_init="normal"``
    gives its first weights, of standard deviation 0.01.

    Parameters
    ----------
    input_shape : tuple of int
        ``(C, H, W)``.
    filters : int
        Of the convolution.
    filter_size : int or (KH, KW)
        Their size.
    hidden : int
        Features of the hidden dense layer.
    classes : int
        Number of scores.
    stride, padding
        Of the convolution.
    weight_init : str or Initializer
        First weights.
    seed : int
        Of the first weights.
    dtype : {"float32", "float64"}
        What it computes in.

    Examples
    --------
    >>> model = SimpleConvNet()
    >>> [parameter.shape for parameter in model.parameters() if parameter.decay]
    [(30, 1, 5, 5), (4320, 100), (100, 10)]
    """

    def __init__(
        self,
        input_shape: Shape = (1, 28, 28),
        *,
        filters: int = 30,
        filter_size: IntOrPair = 5,
        hidden: int = 100,
        classes: int = 10,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        weight_init: InitializerLike = "he_normal",
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.filters = filters
        self.filter_size = filter_size
        self.hidden = hidden
        self.classes = classes
        self.stride = stride
        self.padding = padding
        self.weight_init = weight_init
        conv = Conv2d(filters, filter_size, stride=stride, padding=padding, weight_init=weight_init)
        super().__init__(
            ("conv1", conv),
            ("relu1", ReLU()),
            ("pool1", MaxPool2d(2, rounding="floor")),  # an odd map loses its last row, as there
            ("flatten", Flatten()),
            ("dense1", Dense(hidden, weight_init=weight_init)),
            ("relu2", ReLU()),
            ("dense2", Dense(classes, weight_init=weight_init)),
            seed=seed,
        )
        self.build(input_shape, dtype)


@register_layer
class DigitsCNN(Network):
    """A small network for small images, such as the digits of 8x8 pixels.

    Twice conv 3x3 and ReLU, max pool 2x2, dropout, dense, ReLU, dropout, dense.

    Parameters
    ----------
    input_shape : tuple of int
        ``(C, H, W)``.
    filters : (int, int)
        Of the two convolutions.
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
    >>> DigitsCNN().summary().parameters
    38282
    """

    def __init__(
        self,
        input_shape: Shape = (1, 8, 8),
        *,
        filters: Sequence[int] = (16, 32),
        hidden: int = 64,
        dropout: float = 0.25,
        classes: int = 10,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.filters = tuple(filters)
        self.hidden = hidden
        self.dropout = dropout
        self.classes = classes
        super().__init__(
            ("conv1", Conv2d(self.filters[0], 3, padding="same")),
            ("relu1", ReLU()),
            ("conv2", Conv2d(self.filters[1], 3, padding="same")),
            ("relu2", ReLU()),
            ("pool", MaxPool2d(2, rounding="floor")),
            ("flatten", Flatten()),
            ("dropout1", Dropout(dropout)),
            ("dense1", Dense(hidden)),
            ("relu3", ReLU()),
            ("dropout2", Dropout(dropout)),
            ("dense2", Dense(classes)),
            seed=seed,
        )
        self.build(input_shape, dtype)
