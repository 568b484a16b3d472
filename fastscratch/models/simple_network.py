"""A fully connected network that learns one-hot targets by the sum of squares.

Its names are those of the tutorial that it comes from; its gradients are divided by the batch size,
as its loss is: a learning rate found without that division is to be multiplied by the batch size.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.errors import ArgumentError
from fastscratch.layers.activations import Activation, Sigmoid
from fastscratch.layers.base import Layer
from fastscratch.layers.dense import Dense
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.registry import register_layer
from fastscratch.losses import Loss, MeanSquaredError
from fastscratch.models.multi_layer import ACTIVATIONS, make_activation
from fastscratch.models.networks import Network
from fastscratch.optimizers import SGD
from fastscratch.training.callbacks import Callback
from fastscratch.training.trainer import Trainer
from fastscratch.types import Array

Function = Callable[[Array], Array]
LossFunction = Callable[[Array, Array], float]
LossGradient = Callable[[Array, Array], Array]


def sigmoid(x: Array) -> Array:
    """``1/(1 + exp(-x))``, which overflows for no x.

    >>> sigmoid(np.array([[-1000.0, 0.0]]))
    array([[0. , 0.5]])
    """
    return Sigmoid().forward(x)


def derivated_sigmoid(y: Array) -> Array:
    """The slope of `sigmoid`, from its output: ``y*(1 - y)``.

    >>> derivated_sigmoid(np.array([0.5]))
    array([0.25])
    """
    return np.asarray(y * (1 - y))


def loss_L2(pred: Array, target: Array) -> float:
    """The sum of squared differences, over the batch size.

    >>> loss_L2(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    5.0
    """
    return MeanSquaredError(features="sum").forward(pred, target)


def derivated_loss_L2(pred: Array, target: Array) -> Array:
    """The gradient of `loss_L2`: divided by the batch size, too.

    >>> derivated_loss_L2(np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]]))
    array([[ 1.],
           [-2.]])
    """
    loss = MeanSquaredError(features="sum")
    loss.forward(pred, target)
    return loss.backward()


class FunctionLoss(Loss):
    """A loss from two functions of predictions and targets.

    Parameters
    ----------
    function : callable
        From both to the loss: a mean over the batch, as all losses here are.
    derivative : callable
        From both to the loss's gradient by the predictions.

    Examples
    --------
    >>> loss = FunctionLoss(loss_L2, derivated_loss_L2)
    >>> loss.forward(np.array([[1.0]]), np.array([[0.0]])), loss.backward()
    (1.0, array([[2.]]))
    """

    _saved: tuple[Array, Array]

    def __init__(self, function: LossFunction, derivative: LossGradient) -> None:
        self.function = function
        self.derivative = derivative

    def _forward(self, scores: Array, targets: Array) -> float:
        self._saved = scores, targets
        return float(self.function(scores, targets))

    def _backward(self) -> Array:
        scores, targets = self._saved
        return np.asarray(self.derivative(scores, targets), scores.dtype)


def loss_of(function: Loss | LossFunction | None, derivative: LossGradient | None) -> Loss:
    """The loss that an object, or a function and its derivative, stand for.

    Parameters
    ----------
    function : Loss or callable, optional
        None means `loss_L2`.
    derivative : callable, optional
        Needed for a function of your own.

    Examples
    --------
    >>> loss_of(loss_L2, None)
    MeanSquaredError(features='sum')
    """
    if isinstance(function, Loss):
        return function
    if function in (None, loss_L2) and derivative in (None, derivated_loss_L2):
        return MeanSquaredError(features="sum")
    if function is None or derivative is None:
        name = getattr(function, "__name__", repr(function))
        raise ArgumentError(
            f"the loss {name} and its derivative come together: pass both loss_function and "
            "derivated_loss_function (each from predictions and targets), or one of "
            "fastscratch.losses"
        )
    return FunctionLoss(function, derivative)


class FunctionActivation(Activation):
    """An activation from two functions; a network that holds one cannot be saved.

    Parameters
    ----------
    function : callable
        From x to y, element by element.
    derivative : callable
        From the *output* y to dy/dx.

    Examples
    --------
    >>> layer = FunctionActivation(np.tanh, lambda y: 1 - y * y)
    >>> layer.forward(np.array([[0.0]]), training=True), layer.backward(np.array([[2.0]]))
    (array([[0.]]), array([[2.]]))
    """

    def __init__(self, function: Function, derivative: Function) -> None:
        super().__init__()
        self.function = function
        self.derivative = derivative

    def _activate(self, x: Array) -> Array:
        return np.asarray(self.function(x), x.dtype)

    def _backward(self, dout: Array) -> Array:
        return np.asarray(dout * self.derivative(self._saved), dout.dtype)


def activation_of(function: str | Function, derivative: Function | None) -> Layer:
    """The activation that a name, or a function and its derivative, stand for.

    Parameters
    ----------
    function : str or callable
        One of `fastscratch.models.multi_layer.ACTIVATIONS`, `sigmoid`, or one of your own.
    derivative : callable, optional
        Needed for one of your own: from the output y to dy/dx.

    Examples
    --------
    >>> activation_of(sigmoid, None)
    Sigmoid()
    """
    if isinstance(function, str):
        return make_activation(function)
    if function is sigmoid and derivative in (None, derivated_sigmoid):
        return Sigmoid()
    if derivative is None:
        name = getattr(function, "__name__", repr(function))
        raise ArgumentError(
            f"the derivative of the activation {name} is not known; pass it as "
            "derivated_activation_function (from the output y to dy/dx), or name one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    return FunctionActivation(function, derivative)


@register_layer
class FullyConnectedLayer(Network):
    """A dense layer and its activation.

    It is built when it is first asked for its arrays, or with the network around it.

    Parameters
    ----------
    num_inputs, layer_size : int
        Features of its input and of its output.
    activation_function : str or callable
        See `activation_of`.
    derivated_activation_function : callable, optional
        From the output y to dy/dx.
    init : str or Initializer
        First weights and biases. ``"standard_normal"`` is the tutorial's choice, which saturates a
        sigmoid of many inputs.
    seed : int
        Of the first weights, unless a network around it has one.

    Examples
    --------
    >>> layer = FullyConnectedLayer(3, 2)
    >>> y = layer.forward(np.ones((4, 3), np.float32), training=True)
    >>> dL_dx = layer.backward(np.ones((4, 2), np.float32))
    >>> layer.dL_dW.shape, layer.dL_db.shape, dL_dx.shape
    ((3, 2), (2,), (4, 3))
    """

    def __init__(
        self,
        num_inputs: int,
        layer_size: int,
        activation_function: str | Function = "sigmoid",
        derivated_activation_function: Function | None = None,
        *,
        init: Any = "xavier_normal",
        seed: int = 0,
    ) -> None:
        self.num_inputs = num_inputs
        self.layer_size = layer_size
        self.activation_function = activation_function
        self.derivated_activation_function = derivated_activation_function
        self.init = init
        bias_init = init if init == "standard_normal" else "zeros"
        self._dense = Dense(layer_size, weight_init=init, bias_init=bias_init)
        self._activation = activation_of(activation_function, derivated_activation_function)
        super().__init__(("dense", self._dense), ("activation", self._activation), seed=seed)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments; a function of one's own cannot be told."""
        return _named_activation(super().config())

    @property
    def size(self) -> int:
        """Features of the output."""
        return self.layer_size

    @property
    def W(self) -> Array:
        """The weights, (num_inputs, layer_size)."""
        return self._built()._dense.weight.value

    @property
    def b(self) -> Array:
        """The biases, (layer_size,)."""
        return self._bias.value

    @property
    def dL_dW(self) -> Array:
        """The weights' gradient, from the last backward pass."""
        return self._built()._dense.weight.grad

    @property
    def dL_db(self) -> Array:
        """The biases' gradient, from the last backward pass."""
        return self._bias.grad

    @property
    def _bias(self) -> Parameter:
        bias = self._built()._dense.bias
        assert bias is not None
        return bias

    @property
    def x(self) -> Array | None:
        """The input of the last training forward."""
        saved: Array | None = self._dense._saved
        return saved

    @property
    def y(self) -> Array | None:
        """The output of the last training forward."""
        saved: Array | None = self._saved
        return saved

    def _forward(self, x: Array, training: bool) -> Array:
        y = super()._forward(x, training)
        if training:
            self._saved = y
        return y

    def optimize(self, epsilon: float) -> None:
        """A step of gradient descent by the gradients of the last backward pass."""
        for parameter in self._built().parameters():
            ops.sgd_update(parameter.value, parameter.grad, lr=epsilon)

    def _built(self) -> "FullyConnectedLayer":
        if not self.built:
            self.build((self.num_inputs,))
        return self


@register_layer
class SimpleNetwork(Network):
    """Fully connected layers, all with the same activation, trained on one-hot targets.

    Parameters
    ----------
    num_inputs, num_outputs : int
        Features of a sample, and classes.
    hidden_layers_sizes : sequence of int
        Features of the hidden layers.
    activation_function, derivated_activation_function
        See `activation_of`.
    loss_function : Loss or callable, optional
        The sum of squares over the batch size, if None; see `loss_of`.
    derivated_loss_function : callable, optional
        The gradient of a loss function of your own.
    init, seed
        See `FullyConnectedLayer`.

    Examples
    --------
    >>> network = SimpleNetwork(64, 10)
    >>> network.predict(np.zeros((3, 64), np.float32)).shape
    (3,)
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        hidden_layers_sizes: Sequence[int] = (64, 32),
        activation_function: str | Function = "sigmoid",
        derivated_activation_function: Function | None = None,
        loss_function: Loss | LossFunction | None = None,
        derivated_loss_function: LossGradient | None = None,
        *,
        init: Any = "xavier_normal",
        seed: int = 0,
    ) -> None:
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs
        self.hidden_layers_sizes = tuple(hidden_layers_sizes)
        self.activation_function = activation_function
        self.derivated_activation_function = derivated_activation_function
        self.loss_function = loss_of(loss_function, derivated_loss_function)
        self.derivated_loss_function = derivated_loss_function
        self.init = init
        layers = [
            FullyConnectedLayer(
                inputs, outputs, activation_function, derivated_activation_function, init=init
            )
            for inputs, outputs in pairwise((num_inputs, *self.hidden_layers_sizes, num_outputs))
        ]
        names = (f"layer{number}" for number in range(1, len(layers) + 1))
        super().__init__(*zip(names, layers, strict=True), seed=seed)
        self.build((num_inputs,))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, but for the loss; a function of one's own cannot be told."""
        config = super().config()
        del config["loss_function"], config["derivated_loss_function"]
        return _named_activation(config)

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """The number of the class with the largest score, for each sample.

        Unlike other networks', for that is what the tutorial's returns; `forward` gives scores.
        """
        return np.asarray(super().predict(x, batch_size).argmax(axis=1))

    def optimize(self, epsilon: float) -> None:
        """A step of gradient descent by the gradients of the last backward pass."""
        for _, layer in self.children():
            assert isinstance(layer, FullyConnectedLayer)
            layer.optimize(epsilon)

    def evaluate_accuracy(self, X_val: Array, y_val: Array) -> float:
        """The share of samples that are put in the right class.

        Parameters
        ----------
        X_val : ndarray, shape (N, num_inputs)
        y_val : ndarray, shape (N,) or (N, num_outputs)
            Class numbers, or one-hot rows.
        """
        labels = y_val.argmax(axis=1) if y_val.ndim == 2 else y_val
        if not len(labels):
            raise ArgumentError("evaluate_accuracy: there are no samples")
        return float((self.predict(X_val) == labels).mean())

    def train(
        self,
        X_train: Array,
        y_train: Array,
        X_val: Array | None = None,
        y_val: Array | None = None,
        batch_size: int = 32,
        num_epochs: int = 5,
        learning_rate: float = 1e-3,
        *,
        seed: int = 0,
        log: Callable[[str], Any] | None = None,
    ) -> tuple[list[float], list[float]]:
        """Train on shuffled mini-batches, the last of which may hold fewer samples.

        Parameters
        ----------
        X_train : ndarray, shape (N, num_inputs)
        y_train : ndarray, shape (N, num_outputs) or (N,)
            One-hot rows, or class numbers, which are made one-hot.
        X_val, y_val : ndarray, optional
            To measure the accuracy on, after each epoch; labels of either form.
        batch_size, num_epochs, learning_rate
            As they say.
        seed : int
            Of the shuffle.
        log : callable, optional
            Is given a line after each epoch, such as ``print``.

        Returns
        -------
        losses, accuracies : list of float
            Of each epoch: the mean training loss, and the accuracy (NaN without validation data).

        Examples
        --------
        >>> from fastscratch.data import load_digits
        >>> (x, t), test = load_digits(flatten=True)
        >>> network = SimpleNetwork(64, 10)
        >>> losses, accuracies = network.train(
        ...     x, t, *test, num_epochs=20, learning_rate=1.0
        ... )
        >>> accuracies[-1] > 0.9
        True
        """
        if y_train.ndim == 1:
            y_train = (y_train[:, None] == np.arange(self.num_outputs)).astype(X_train.dtype)
        accuracies: list[float] = []

        class Watch(Callback):
            def on_epoch_end(inner, trainer: Any, record: Any) -> None:
                found = float("nan")
                if X_val is not None and y_val is not None:
                    found = self.evaluate_accuracy(X_val, y_val)
                accuracies.append(found)
                if log is not None:
                    log(
                        f"Epoch {record['epoch'] - 1:4d}: training loss = "
                        f"{record['train_loss']:.6f} | val accuracy = {100 * found:.2f}%"
                    )

        trainer = Trainer(
            self, self.loss_function, SGD(learning_rate), batch_size=batch_size, seed=seed,
            callbacks=[Watch()],
        )  # fmt: skip
        history = trainer.fit(X_train, y_train, epochs=num_epochs)
        return [float(value or 0.0) for value in history["train_loss"]], accuracies


def _named_activation(config: dict[str, Any]) -> dict[str, Any]:
    """The same with the activation as its name, without the derivative."""
    del config["derivated_activation_function"]
    function = config["activation_function"]
    if function is sigmoid:
        config["activation_function"] = "sigmoid"
    elif not isinstance(function, str):
        raise ArgumentError(
            "a network with an activation function of one's own cannot be saved; name one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    return config
