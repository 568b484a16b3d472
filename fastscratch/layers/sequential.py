"""Layers one after another: the network itself."""

from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastscratch.arguments import as_count
from fastscratch.errors import ArgumentError
from fastscratch.layers.archive import save_model
from fastscratch.layers.base import Layer
from fastscratch.layers.explanation import NetworkExplanation, explain_network
from fastscratch.layers.merging import Step, merged_steps
from fastscratch.layers.registry import describe_layer, layer_from_description, register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.layers.summary import Summary, summarize
from fastscratch.types import Array

if TYPE_CHECKING:
    from fastscratch.losses import Loss


@register_layer
class Sequential(Layer):
    """A network whose layers feed each other in turn.

    Parameters
    ----------
    *layers : Layer or (str, Layer)
        Unnamed layers are called by their position: ``"0"``, ``"1"``, …
    seed : int
        Of the initial parameters and of dropout, unless ``build`` is given another.
    backend : str, optional
        Which implementation all layers inside prefer.

    Raises
    ------
    ArgumentError
        If there is no layer, or two have one name.

    Examples
    --------
    >>> from fastscratch.layers import Dense, ReLU
    >>> model = Sequential(("hidden", Dense(50)), ReLU(), ("scores", Dense(10)), seed=1)
    >>> model.build((784,))
    (10,)
    >>> [parameter.name for parameter in model.parameters()]
    ['hidden.weight', 'hidden.bias', 'scores.weight', 'scores.bias']
    >>> model.predict(np.zeros((1000, 784), np.float32)).shape
    (1000, 10)
    """

    def __init__(
        self, *layers: Layer | tuple[str, Layer], seed: int = 0, backend: str | None = None
    ) -> None:
        super().__init__(backend=backend)
        self.seed = seed
        self.layers: dict[str, Layer] = {}
        self._steps: list[Step] = []
        self._first = 0  # step with parameters
        for position, entry in enumerate(layers):
            name, layer = entry if isinstance(entry, tuple) else (str(position), entry)
            if not isinstance(layer, Layer):
                raise ArgumentError(f"Sequential takes layers or (name, layer), got {entry!r}")
            if not isinstance(name, str) or not name or "." in name or "/" in name:
                raise ArgumentError(f"a layer's name is a text without dots, got {name!r}")
            if name in self.layers:
                raise ArgumentError(f"two layers are called {name!r}")
            self.layers[name] = layer
        if not self.layers:
            raise ArgumentError("Sequential needs at least one layer")

    def children(self) -> list[tuple[str, Layer]]:
        """The layers by name, in order."""
        return list(self.layers.items())

    def _build(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for name, layer in self.layers.items():
            shape = layer.build(shape, self.dtype, self.seed, self._dotted(name))
        self._steps = merged_steps(list(self.layers.values()))
        have = (number for number, step in enumerate(self._steps) if step.parameters())
        self._first = next(have, len(self._steps) - 1)
        return shape

    def _forward(self, x: Array, training: bool) -> Array:
        for step in self._steps:
            x = step.forward(x, training)
        return x

    def _backward(self, dout: Array) -> Array:
        for step in reversed(self._steps):
            dout = step.backward(dout)
        return dout

    def _backward_parameters(self, dout: Array) -> None:
        # Below the first layer with parameters nobody needs a gradient.
        for step in self._steps[: self._first : -1]:
            dout = step.backward(dout)
        self._steps[self._first].backward_parameters(dout)

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """Scores of many samples, computed batch by batch; stores nothing.

        Parameters
        ----------
        x : ndarray, shape ``(N, *input_shape)``
            All samples.
        batch_size : int
            How many go through the network at once.

        Returns
        -------
        ndarray, shape ``(N, *output_shape)``

        Raises
        ------
        ShapeError, DtypeError, ArgumentError
            If ``x`` is not what the network was built for, or ``batch_size`` is below 1.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> Sequential(Dense(3)).predict(np.ones((1000, 4), np.float32), batch_size=100).shape
        (1000, 3)
        """
        batch_size = as_count(batch_size, "predict: batch_size")
        first = self.forward(x[:batch_size])
        if len(x) <= batch_size:
            return first.copy() if np.may_share_memory(first, x) else first
        scores = np.empty((len(x), *first.shape[1:]), first.dtype)
        scores[:batch_size] = first
        for start in range(batch_size, len(x), batch_size):
            scores[start : start + batch_size] = self.forward(x[start : start + batch_size])
        return scores

    @property
    def steps(self) -> "list[Step]":
        """What is run in turn, once the network is built: layers, and those that run as one."""
        return self._steps

    def explain(self, x: Array, training: bool = True) -> NetworkExplanation:
        """Tell which implementation each operation runs on, why, and what it takes here.

        Parameters
        ----------
        x : ndarray, shape ``(N, *input_shape)``
            A batch.
        training : bool
            Whether to explain the backward pass, too; otherwise a prediction.

        Returns
        -------
        NetworkExplanation
            ``print(model.explain(x))`` shows a table: layer, problem, implementation and algorithm,
            threads, measured time, share of the whole, bytes of the arrays, and the rule.

        Raises
        ------
        ShapeError, DtypeError
            If ``x`` is not what the network was built for, or empty.

        Examples
        --------
        >>> from fastscratch.layers import Dense, ReLU
        >>> model = Sequential(Dense(50), ReLU(), Dense(10))
        >>> table = model.explain(np.ones((8, 784), np.float32), training=False)
        >>> [(call.layer, call.problem) for call in table.calls]
        [('0', 'dense_forward:f32:n8i784:o50'), ('1', 'relu_forward:f32:n8x50'),
         ('2', 'dense_forward:f32:n8i50:o10')]
        """
        return explain_network(self, x, training)

    def summary(self, input_shape: Shape | None = None) -> Summary:
        """The table of layers: kinds, output shapes, parameters, multiply-adds.

        Parameters
        ----------
        input_shape : tuple of int, optional
            What to compute the table for; needed only if the network is not built yet, and does
            not build it.

        Returns
        -------
        Summary
            ``print(model.summary())`` shows the table.

        Raises
        ------
        TrainingError
            If the network is not built and no shape is given.

        Examples
        --------
        >>> from fastscratch.layers import Dense, ReLU
        >>> print(Sequential(Dense(50), ReLU(), Dense(10)).summary((784,)))
        layer  kind   output  parameters  multiply-adds
        -----  -----  ------  ----------  -------------
        0      Dense  (50,)       39,250         39,200
        1      ReLU   (50,)            0              0
        2      Dense  (10,)          510            500
        total         (10,)       39,760         39,700
        """
        return summarize(self, input_shape)

    def save(self, path: str | PathLike[str]) -> None:
        """Write architecture and state into one file; `fastscratch.models.load_model` reads it.

        The file is written beside its place and renamed, so that the place never holds half a
        file. It is in NumPy's npz format, with the architecture as JSON, and holds no pickle.

        Parameters
        ----------
        path : path
            Used as it is; ``.npz`` is a good ending.

        Raises
        ------
        ArgumentError
            If a layer's class is not registered.
        TrainingError
            If the network is not built.

        Examples
        --------
        >>> import tempfile
        >>> from fastscratch.layers import Dense
        >>> from fastscratch.models import load_model
        >>> model = Sequential(Dense(3))
        >>> model.build((4,))
        (3,)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model.npz")
        ...     load_model(f"{folder}/model.npz").output_shape
        (3,)
        """
        save_model(self, path)

    def first_nonfinite(
        self, x: Array, loss: "Loss | None" = None, targets: Array | None = None
    ) -> str | None:
        """The first place where a training pass over this batch stops being finite.

        The state (running statistics, dropout's steps) is as before afterwards.

        Parameters
        ----------
        x : ndarray, shape ``(N, *input_shape)``
            A batch.
        loss : Loss, optional
            With it, the loss and the gradients are looked at too.
        targets : ndarray, optional
            What the loss compares with.

        Returns
        -------
        str or None
            ``"input"``; the path of the first layer whose output is not finite; ``"loss"``; the
            path of the first layer, going back, whose gradients are not finite; or None if all is
            finite.

        Examples
        --------
        >>> from fastscratch.layers import Dense, ReLU
        >>> model = Sequential(("a", Dense(3)), ReLU(), ("b", Dense(2)))
        >>> model.build((4,))
        (2,)
        >>> model["b"].weight.value[0, 0] = np.nan
        >>> model.first_nonfinite(np.ones((1, 4), np.float32))
        'b'
        """
        if not self.built:
            self._build_for(x)
        kept = self.state_dict()
        try:
            # Overflow is what is looked for here; NumPy need not warn of it.
            with np.errstate(all="ignore"):
                return self._first_nonfinite(x, loss, targets)
        finally:
            self.load_state_dict(kept)
            self.forget()

    def _first_nonfinite(self, x: Array, loss: "Loss | None", targets: Array | None) -> str | None:
        if not np.isfinite(x).all():
            return "input"
        leaves = _leaves(self)
        for layer in leaves:
            x = layer.forward(x, training=True)
            if not np.isfinite(x).all():
                return layer.path
        if loss is None or targets is None:
            return None
        if not np.isfinite(loss.forward(x, targets)):
            return "loss"
        dout = loss.backward()
        for layer in reversed(leaves):
            dout = layer.backward(dout)
            gradients = [dout, *(parameter.grad for parameter in layer.parameters())]
            if not all(np.isfinite(gradient).all() for gradient in gradients):
                return layer.path
        return None

    def config(self) -> dict[str, Any]:
        """The layers' names, kinds and arguments, and the seed."""
        layers = [[name, describe_layer(layer)] for name, layer in self.layers.items()]
        return {"layers": layers, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new network, not built, from what `config` gave."""
        layers = [(name, layer_from_description(inner)) for name, inner in config["layers"]]
        return cls(*layers, seed=config["seed"])

    def __getitem__(self, name: str | int) -> Layer:
        """A layer by name or position."""
        if isinstance(name, int):
            return list(self.layers.values())[name]
        return self.layers[name]

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        inside = ", ".join(f"({name!r}, {layer!r})" for name, layer in self.layers.items())
        return f"{type(self).__name__}({inside}, seed={self.seed})"


def _leaves(network: Sequential) -> list[Layer]:
    """The layers in order, those of nested Sequentials in their place."""
    leaves: list[Layer] = []
    for layer in network.layers.values():
        leaves += _leaves(layer) if isinstance(layer, Sequential) else [layer]
    return leaves
