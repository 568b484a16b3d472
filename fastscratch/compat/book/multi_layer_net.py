"""Stands in for ``common.multi_layer_net``: dense layers with activations between them."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.book.gradient import numerical_gradient
from fastscratch.compat.book.layers import Affine, Relu, Sigmoid, SoftmaxWithLoss
from fastscratch.errors import ArgumentError
from fastscratch.types import Array

__all__ = ["MultiLayerNet", "np"]

ACTIVATIONS = {"relu": Relu, "sigmoid": Sigmoid}
SCALES = {"relu": 2.0, "he": 2.0, "sigmoid": 1.0, "xavier": 1.0}
"""The variance of first weights, times the number of inputs."""

_ROWS_AT_ONCE = 5000
"""Samples predicted at a time when accuracies are measured: what stays in a cache."""


class SharedParams(dict[str, Any]):
    """Parameters by name, shared with the layers: one put in another's place reaches its layer.

    Examples
    --------
    >>> layer = Affine(np.ones((2, 1)), np.zeros(1))
    >>> params = SharedParams({"W1": layer.W}, {"W1": (layer, "W")})
    >>> params["W1"] = np.zeros((2, 1))
    >>> layer.W is params["W1"]
    True
    """

    def __init__(self, values: Mapping[str, Any], owners: Mapping[str, tuple[Any, str]]) -> None:
        super().__init__(values)
        self._owners = owners

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key in self._owners:
            setattr(*self._owners[key], value)

    def update(self, *others: Any, **values: Any) -> None:
        for key, value in dict(*others, **values).items():
            self[key] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class MultiLayerNet:
    """Affine layers, each but the last with an activation behind it, and softmax with loss.

    Parameters
    ----------
    input_size : int
    hidden_size_list : sequence of int
    output_size : int
    activation : {"relu", "sigmoid"}
    weight_init_std : float or {"relu", "he", "sigmoid", "xavier"}
        Standard deviation of first weights, or the rule that finds it from the number of inputs.
    weight_decay_lambda : float
        ``0.5*lambda*sum(W**2)`` is added to the loss.

    Attributes
    ----------
    params : dict
        ``W1, b1, W2, ...``, the very arrays of the layers. One that is put in place here is put in
        place in its layer, too.
    layers : OrderedDict
        ``Affine1, Activation_function1, ..., Affine<n>``.
    last_layer : SoftmaxWithLoss

    Examples
    --------
    >>> network = MultiLayerNet(784, [100, 100], 10)
    >>> list(network.params), list(network.layers)[:3]
    (['W1', 'b1', 'W2', 'b2', 'W3', 'b3'], ['Affine1', 'Activation_function1', 'Affine2'])
    """

    def __init__(
        self, input_size: int, hidden_size_list: Sequence[int], output_size: int,
        activation: str = "relu", weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0,
    ) -> None:  # fmt: skip
        self.input_size = input_size
        self.output_size = output_size
        self.hidden_size_list = hidden_size_list
        self.hidden_layer_num = len(hidden_size_list)
        self.weight_decay_lambda = weight_decay_lambda
        self._make_activation = _named("activation", activation, ACTIVATIONS)

        values: dict[str, Any] = {}
        sizes = [input_size, *hidden_size_list, output_size]
        for idx, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
            scale = _deviation(weight_init_std, inputs)
            values[f"W{idx}"] = scale * np.random.randn(inputs, outputs)
            values[f"b{idx}"] = np.zeros(outputs)

        self.layers: OrderedDict[str, Any] = OrderedDict()
        self._owners: dict[str, tuple[Any, str]] = {}
        for idx in range(1, self.hidden_layer_num + 2):
            affine = Affine(values[f"W{idx}"], values[f"b{idx}"])
            self.layers[f"Affine{idx}"] = affine
            self._owners |= {f"W{idx}": (affine, "W"), f"b{idx}": (affine, "b")}
            if idx <= self.hidden_layer_num:
                self._add_hidden(idx, values)
        self.last_layer = SoftmaxWithLoss()
        self.params = values

    def _add_hidden(self, idx: int, values: dict[str, Any]) -> None:
        """What follows a hidden Affine layer; its first parameters go into ``values``."""
        self.layers[f"Activation_function{idx}"] = self._make_activation()

    @property
    def params(self) -> dict[str, Any]:
        return self._params

    @params.setter
    def params(self, values: Mapping[str, Any]) -> None:
        self._params = SharedParams({}, self._owners)
        self._params.update(values)

    def predict(self, x: Array) -> Array:
        """Scores, before softmax."""
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x: Array, t: Array) -> Any:
        """The mean loss of a batch, its weights' penalty included."""
        return self.last_layer.forward(self.predict(x), t) + self._penalty()

    def accuracy(self, x: Array, t: Array) -> float:
        """The share of samples whose largest score is that of their class."""
        t = np.asarray(t)
        classes = t.argmax(axis=1) if t.ndim != 1 else t
        right = 0
        for start in range(0, len(x), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            right += int(np.sum(self.predict(x[part]).argmax(axis=1) == classes[part]))
        return right / float(len(x))

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Gradients of all parameters by differences: two losses an element."""
        return {
            key: numerical_gradient(lambda _: self._training_loss(x, t), value)
            for key, value in self.params.items()
        }

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Gradients of all parameters by a backward pass."""
        self._training_loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        grads = {}
        for key, (layer, name) in self._owners.items():
            grads[key] = getattr(layer, f"d{name}")
            if name == "W" and self.weight_decay_lambda:
                grads[key] = grads[key] + self.weight_decay_lambda * layer.W
        return grads

    def _training_loss(self, x: Array, t: Array) -> Any:
        return self.loss(x, t)

    def _penalty(self) -> float:
        if not self.weight_decay_lambda:
            return 0.0
        weights = [layer.W for layer, name in self._owners.values() if name == "W"]
        return 0.5 * self.weight_decay_lambda * sum(ops.squared_norm(W) for W in weights)


def _named(argument: str, name: Any, table: Mapping[str, Any]) -> Any:
    found = table.get(str(name).lower())
    if found is None:
        names = ", ".join(f'"{key}"' for key in table)
        raise ArgumentError(f"{argument} must be one of {names}, got {name!r}")
    return found


def _deviation(weight_init_std: float | str, inputs: int) -> float:
    if isinstance(weight_init_std, str):
        return float(np.sqrt(_named("weight_init_std", weight_init_std, SCALES) / inputs))
    return weight_init_std
