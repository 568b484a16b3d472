"""Whole networks, by class or by name, and loading them from files."""

from collections.abc import Callable
from typing import Any

from fastscratch.errors import ArgumentError
from fastscratch.layers.archive import load_model
from fastscratch.layers.sequential import Sequential
from fastscratch.layers.shapes import Shape
from fastscratch.models.deep_conv_net import DeepConvNet
from fastscratch.models.ensemble import Ensemble
from fastscratch.models.multi_layer import MultiLayerNet, MultiLayerNetExtend, TwoLayerNet
from fastscratch.models.networks import MLP, DigitsCNN, Network, SimpleConvNet
from fastscratch.models.perceptron import Perceptron
from fastscratch.models.simple_network import FullyConnectedLayer, SimpleNetwork

MODELS: dict[str, Callable[..., Network]] = {
    "digits_cnn": DigitsCNN,
    "simple_conv_net": SimpleConvNet,
    "deep_conv_net": DeepConvNet,
    "mlp": MLP,
    "two_layer_net": TwoLayerNet,
    "multi_layer_net": MultiLayerNet,
    "multi_layer_net_extend": MultiLayerNetExtend,
}
"""The networks by the name that a command line uses."""

__all__ = [
    "MLP",
    "MODELS",
    "DeepConvNet",
    "DigitsCNN",
    "Ensemble",
    "FullyConnectedLayer",
    "MultiLayerNet",
    "MultiLayerNetExtend",
    "Network",
    "Perceptron",
    "Sequential",
    "SimpleConvNet",
    "SimpleNetwork",
    "TwoLayerNet",
    "build",
    "load_model",
    "names",
]


def names() -> tuple[str, ...]:
    """The names that `build` knows.

    Examples
    --------
    >>> names()
    ('digits_cnn', 'simple_conv_net', 'deep_conv_net', 'mlp', 'two_layer_net', 'multi_layer_net',
     'multi_layer_net_extend')
    """
    return tuple(MODELS)


def build(
    name: str, input_shape: Shape, classes: int = 10, seed: int = 0, **arguments: Any
) -> Network:
    """A network by name, built.

    Parameters
    ----------
    name : str
        One of `names`.
    input_shape : tuple of int
        Of one sample, without the batch axis.
    classes : int
        Number of scores.
    seed : int
        Of the first weights.
    **arguments
        Others of its class.

    Returns
    -------
    Network

    Raises
    ------
    ArgumentError
        If there is none of that name, or it takes no such argument.
    ShapeError
        If it cannot take such an input.

    Examples
    --------
    >>> build("mlp", (1, 8, 8), classes=10, hidden=(20,)).output_shape
    (10,)
    """
    if name not in MODELS:
        raise ArgumentError(f"there is no model {name!r}; there are {', '.join(MODELS)}")
    try:
        return MODELS[name](input_shape, classes=classes, seed=seed, **arguments)
    except TypeError as error:
        raise ArgumentError(f"model {name!r}: {error}") from error
