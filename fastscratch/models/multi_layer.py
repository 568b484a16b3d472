"""The book's fully connected networks: two layers, many, and many with what helps them train."""

from collections.abc import Callable, Sequence
from typing import Any

from fastscratch.errors import ArgumentError
from fastscratch.initializers import InitializerLike
from fastscratch.layers.activations import Identity, ReLU, Sigmoid, Tanh
from fastscratch.layers.base import Layer
from fastscratch.layers.batch_norm import BatchNorm
from fastscratch.layers.dense import Dense
from fastscratch.layers.dropout import Dropout
from fastscratch.layers.flatten import Flatten
from fastscratch.layers.rectifiers import ELU, LeakyReLU, PReLU
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.models.networks import Network

ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "leaky_relu": LeakyReLU,
    "prelu": PReLU,
    "elu": ELU,
    "identity": Identity,
}
"""The activations by the name that a network takes."""

_XAVIER = {"name": "xavier_normal", "mode": "in"}


def make_activation(name: str) -> Layer:
    """An activation by name, one of `ACTIVATIONS`.

    Examples
    --------
    >>> make_activation("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        raise ArgumentError(f"there is no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def first_weights(weight_init: InitializerLike | float | None, activation: str) -> InitializerLike:
    """What weights start with in front of an activation.

    Parameters
    ----------
    weight_init : str, dict, Initializer, float or None
        A number is a normal distribution's standard deviation; None what suits the activation.
    activation : str
        Its name.

    Examples
    --------
    >>> first_weights(None, "relu"), first_weights(0.01, "relu")
    ('he_normal', {'name': 'normal', 'std': 0.01})
    """
    if weight_init is None:
        return _XAVIER if activation in ("sigmoid", "tanh", "identity") else "he_normal"
    if isinstance(weight_init, int | float):
        return {"name": "normal", "std": float(weight_init)}
    return weight_init


@register_layer
class TwoLayerNet(Network):
    """A dense layer, an activation, a dense layer: the network of the book's chapters 4 and 5.

    Source: K. Saitoh, "Deep Learning from Scratch", 2016, section 4.5.

    Parameters
    ----------
    input_shape : tuple of int
        Of one sample; images are flattened.
    hidden : int
        Features of the hidden layer.
    classes : int
        Number of scores.
    activation : str
        ``"relu"`` as in chapter 5, or ``"sigmoid"`` as in chapter 4; see `ACTIVATIONS`.
    weight_init : float, str, Initializer or None
        First weights; see `first_weights`. The book's are normal, of standard deviation 0.01.
    seed : int
        Of the first weights.
    dtype : {"float32", "float64"}
        What it computes in.

    Examples
    --------
    >>> [parameter.shape for parameter in TwoLayerNet().parameters()]
    [(784, 50), (50,), (50, 10), (10,)]
    """

    def __init__(
        self,
        input_shape: Shape = (784,),
        *,
        hidden: int = 50,
        classes: int = 10,
        activation: str = "relu",
        weight_init: InitializerLike | float | None = 0.01,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.hidden = hidden
        self.classes = classes
        self.activation = activation
        self.weight_init = weight_init
        first = first_weights(weight_init, activation)
        super().__init__(
            *_flatten(input_shape),
            ("dense1", Dense(hidden, weight_init=first)),
            ("activation1", make_activation(activation)),
            ("dense2", Dense(classes, weight_init=first)),
            seed=seed,
        )
        self.build(input_shape, dtype)


@register_layer
class MultiLayerNet(Network):
    """Dense layers with an activation between them.

    Source: K. Saitoh, "Deep Learning from Scratch", 2016, section 6.1.8. Weight decay is the
    optimizer's: ``SGD(lr=0.01, weight_decay=0.1)``.

    Parameters
    ----------
    input_shape : tuple of int
        Of one sample; images are flattened.
    hidden : sequence of int
        Features of the hidden layers.
    classes : int
        Number of scores.
    activation : str
        See `ACTIVATIONS`.
    weight_init : float, str, Initializer or None
        First weights; None means He's for rectifiers and Xavier's for sigmoid and tanh.
    seed : int
        Of the first weights.
    dtype : {"float32", "float64"}
        What it computes in.

    Examples
    --------
    >>> model = MultiLayerNet((784,), hidden=(100,) * 6)
    >>> len([parameter for parameter in model.parameters() if parameter.decay])
    7
    """

    def __init__(
        self,
        input_shape: Shape = (784,),
        *,
        hidden: Sequence[int] = (100, 100, 100, 100),
        classes: int = 10,
        activation: str = "relu",
        weight_init: InitializerLike | float | None = None,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.hidden = tuple(hidden)
        self.classes = classes
        self.activation = activation
        self.weight_init = weight_init
        super().__init__(
            *_flatten(input_shape),
            *_hidden_layers(self.hidden, activation, weight_init),
            (f"dense{len(self.hidden) + 1}", _last(classes, activation, weight_init)),
            seed=seed,
        )
        self.build(input_shape, dtype)


@register_layer
class MultiLayerNetExtend(Network):
    """`MultiLayerNet` with batch normalisation and dropout.

    Each hidden layer is dense, then batch normalisation, activation and dropout.

    Source: K. Saitoh, "Deep Learning from Scratch", 2016, sections 6.3 and 6.4.

    Parameters
    ----------
    input_shape, hidden, classes, activation, weight_init, seed, dtype
        As for `MultiLayerNet`; the seed is dropout's, too.
    batch_norm : bool
        Whether to normalise between a dense layer and its activation.
    dropout : float
        The share that dropout zeroes behind each activation; 0 for none.

    Examples
    --------
    >>> model = MultiLayerNetExtend((784,), hidden=(100,), batch_norm=True, dropout=0.2)
    >>> list(model.layers)
    ['dense1', 'norm1', 'activation1', 'dropout1', 'dense2']
    """

    def __init__(
        self,
        input_shape: Shape = (784,),
        *,
        hidden: Sequence[int] = (100, 100, 100, 100),
        classes: int = 10,
        activation: str = "relu",
        weight_init: InitializerLike | float | None = None,
        batch_norm: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        self.hidden = tuple(hidden)
        self.classes = classes
        self.activation = activation
        self.weight_init = weight_init
        self.batch_norm = batch_norm
        self.dropout = dropout
        super().__init__(
            *_flatten(input_shape),
            *_hidden_layers(self.hidden, activation, weight_init, batch_norm, dropout),
            (f"dense{len(self.hidden) + 1}", _last(classes, activation, weight_init)),
            seed=seed,
        )
        self.build(input_shape, dtype)


def _flatten(input_shape: Shape) -> list[tuple[str, Layer]]:
    return [("flatten", Flatten())] if len(input_shape) > 1 else []


def _hidden_layers(
    hidden: tuple[int, ...], activation: str, weight_init: InitializerLike | float | None,
    batch_norm: bool = False, dropout: float = 0.0,
) -> list[tuple[str, Layer]]:  # fmt: skip
    layers: list[tuple[str, Layer]] = []
    first = first_weights(weight_init, activation)
    for number, features in enumerate(hidden, start=1):
        layers.append((f"dense{number}", Dense(features, weight_init=first)))
        if batch_norm:
            layers.append((f"norm{number}", BatchNorm()))
        layers.append((f"activation{number}", make_activation(activation)))
        if dropout:
            layers.append((f"dropout{number}", Dropout(dropout)))
    return layers


def _last(classes: int, activation: str, weight_init: InitializerLike | float | None) -> Dense:
    return Dense(classes, weight_init=first_weights(weight_init, activation))
