"""Optimizers: one step over one flat buffer that holds all parameters of a network."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fastscratch import ops
from fastscratch.arguments import as_number
from fastscratch.errors import ArgumentError, ShapeError, TrainingError
from fastscratch.layers.flat_parameters import BLOCK, FlatParameters, Segment, aligned_zeros
from fastscratch.types import Array

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adam",
    "FlatParameters",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSProp",
    "Segment",
    "aligned_zeros",
    "make_optimizer",
]


class Optimizer:
    """Base of the optimizers.

    A new optimizer names its per-parameter arrays in ``slots`` and overrides ``_update(block,
    value, grad, scratch)``, which changes ``value`` in place. ``grad`` has the weight decay in it;
    ``self._state[slot][block]`` are the same elements of a slot.

    Parameters
    ----------
    lr : float
        Learning rate; may be set between steps.
    weight_decay : float
        ``weight_decay*w`` is added to the gradient of each weight ``w``: the gradient of the
        `penalty` ``0.5*weight_decay*sum(w**2)``. Biases and normalisation's scales are left alone.
    decoupled : bool
        Shrink the weights by ``lr*weight_decay`` of themselves instead, past the gradient and what
        is made of it (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019; with
        Adam this is AdamW). Nothing is added to the loss then.

    Attributes
    ----------
    lr, weight_decay : float
    decoupled : bool
    t : int
        Steps so far.

    Examples
    --------
    >>> class SignDescent(Optimizer):
    ...     def _update(self, block, value, grad, scratch):
    ...         np.sign(grad, out=scratch)
    ...         scratch *= self.lr
    ...         value -= scratch
    >>> SignDescent(lr=0.1).t
    0
    """

    slots: ClassVar[tuple[str, ...]] = ()

    full_batch: ClassVar[bool] = False
    """Whether it needs the loss of all samples at once, and at points of its own choice."""

    def __init__(self, lr: float, *, weight_decay: float = 0.0, decoupled: bool = False) -> None:
        _check_range(self, "lr", lr, 0, np.inf)
        _check_range(self, "weight_decay", weight_decay, 0, np.inf)
        self.lr = lr
        self.weight_decay = weight_decay
        self.decoupled = decoupled
        self.t = 0
        self._state: dict[str, Array] = {}
        self._flat: FlatParameters | None = None
        self._waiting: dict[str, Array] | None = None

    def step(self, flat: FlatParameters) -> None:
        """Change all parameters once, by their gradients; only the first step allocates.

        Parameters
        ----------
        flat : FlatParameters
            The same at every step.

        Raises
        ------
        TrainingError
            If it is another than at the steps before, or no longer the network's newest.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(1, bias=False, weight_init="constant")
        >>> dense.build((2,))
        (1,)
        >>> flat = FlatParameters(dense)
        >>> dense.weight.grad = [[1.0], [-1.0]]
        >>> SGD(lr=0.5).step(flat)
        >>> dense.weight.value
        array([[0.5],
               [1.5]], dtype=float32)
        """
        if self._flat is not flat:
            self._bind(flat)
        flat.check_current()
        self.t += 1
        decay = self.weight_decay
        if self.decoupled and decay:
            flat.value[: flat.decay_stop] *= 1 - self.lr * decay
            decay = 0.0
        self._update_all(flat, decay)

    def penalty(self, flat: FlatParameters) -> float:
        """What weight decay adds to the loss: ``0.5*weight_decay*sum(w**2)``, 0 if decoupled.

        Parameters
        ----------
        flat : FlatParameters
            Whose weights.

        Returns
        -------
        float

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(1, weight_init="constant")
        >>> dense.build((4,))
        (1,)
        >>> SGD(weight_decay=0.1).penalty(FlatParameters(dense))
        0.2
        """
        if self.decoupled or not self.weight_decay:
            return 0.0
        return 0.5 * self.weight_decay * ops.squared_norm(flat.value[: flat.decay_stop])

    def _update_all(self, flat: FlatParameters, decay: float) -> None:
        for block, decays in flat.blocks():
            value, grad = flat.value[block], flat.grad[block]
            scratch = self._scratch[: value.size]
            if decays and decay:
                with_decay = self._decayed[: value.size]
                np.multiply(value, decay, out=with_decay)
                with_decay += grad
                grad = with_decay
            self._update(block, value, grad, scratch)

    def _update(self, block: slice, value: Array, grad: Array, scratch: Array) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """Copies of everything that the next steps depend on.

        Returns
        -------
        dict of str to ndarray
            ``"t"``, ``"lr"``, and ``"<slot>/<parameter>"`` in the parameter's shape.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> momentum = Momentum()
        >>> momentum.step(FlatParameters(dense))
        >>> list(momentum.state_dict())
        ['t', 'lr', 'velocity/weight', 'velocity/bias']
        """
        if self._waiting is not None:
            return {name: array.copy() for name, array in self._waiting.items()}
        state = {"t": np.array(self.t, np.int64), "lr": np.array(self.lr, np.float64)}
        if self._flat is not None:
            for slot, buffer in self._state.items():
                for segment in self._flat.segments:
                    state[f"{slot}/{segment.name}"] = self._flat.view(buffer, segment).copy()
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Go on from a state; before the first step too, which is then when names are checked.

        Parameters
        ----------
        state : mapping of str to ndarray
            As from `state_dict` of an optimizer of the same kind.

        Raises
        ------
        ArgumentError, ShapeError
            If it does not fit this optimizer, or its parameters.

        Examples
        --------
        >>> adam = Adam()
        >>> adam.load_state_dict({"t": np.array(7), "lr": np.array(0.5)})
        >>> adam.t, adam.lr
        (7, 0.5)
        """
        expected = {"t", "lr"}
        foreign = [
            name for name in state
            if name not in expected and name.partition("/")[0] not in self.slots
        ]  # fmt: skip
        if foreign or not expected <= state.keys():
            raise ArgumentError(
                f"not the state of {type(self).__name__}: it has {', '.join(sorted(state))}"
            )
        waiting = {name: np.array(array) for name, array in state.items()}
        if self._flat is not None:
            self._restore(waiting, self._flat)
        else:
            self._waiting = waiting
            self.t, self.lr = int(waiting["t"]), float(waiting["lr"])

    def _bind(self, flat: FlatParameters) -> None:
        if self._flat is not None:
            raise TrainingError(
                f"this {type(self).__name__} has stepped over other parameters before; make a new "
                "one for each FlatParameters"
            )
        self._state = {slot: aligned_zeros(flat.value.size, flat.dtype) for slot in self.slots}
        block = min(BLOCK, flat.value.size)
        self._scratch = aligned_zeros(block, flat.dtype)
        self._decayed = aligned_zeros(block, flat.dtype)
        if self._waiting is not None:
            lr = self.lr
            self._restore(self._waiting, flat)
            self._waiting, self.lr = None, lr  # it may have been set since the state was loaded
        self._flat = flat

    def _restore(self, state: Mapping[str, Array], flat: FlatParameters) -> None:
        arrays = {name: array for name, array in state.items() if "/" in name}
        targets = {
            f"{slot}/{segment.name}": flat.view(buffer, segment)
            for slot, buffer in self._state.items()
            for segment in flat.segments
        }
        # A state from before the first step has no arrays: they are 0.
        if arrays and arrays.keys() != targets.keys():
            different = sorted(arrays.keys() ^ targets.keys())
            raise ArgumentError(
                f"the state belongs to other parameters; missing or unexpected: {different}"
            )
        for name, array in arrays.items():
            if array.shape != targets[name].shape:
                raise ShapeError(
                    f"{name} has shape {targets[name].shape}, the state gives {array.shape}"
                )
        for name, target in targets.items():
            target[...] = arrays.get(name, 0)
        self.t, self.lr = int(state["t"]), float(state["lr"])


class _Compiled(Optimizer):
    """Base of the optimizers whose update is an operation over the whole buffer."""

    def _update_all(self, flat: FlatParameters, decay: float) -> None:
        stop = flat.decay_stop if decay else flat.value.size
        parts = ((slice(0, stop), decay), (slice(stop, flat.value.size), 0.0))
        for part, share in parts:
            if part.start < part.stop:
                state = [self._state[slot][part] for slot in self.slots]
                self._update_part(flat.value[part], flat.grad[part], state, share)

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        raise NotImplementedError


class SGD(_Compiled):
    """``w -= lr*g``.

    Parameters
    ----------
    lr, weight_decay, decoupled
        See `Optimizer`.

    Examples
    --------
    >>> SGD(lr=0.1).lr
    0.1
    """

    def __init__(
        self, lr: float = 0.01, *, weight_decay: float = 0.0, decoupled: bool = False
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, decoupled=decoupled)

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        ops.sgd_update(value, grad, lr=self.lr, weight_decay=decay)


class Momentum(_Compiled):
    """Steps that keep a share of the step before.

    ``velocity="step"``, the book's form: ``v = momentum*v - lr*g; w += v``.
    ``velocity="gradient"``, that of CS231n and PyTorch: ``v = momentum*v + g; w -= lr*v``.
    While ``lr`` is constant both move alike; when a schedule lowers it, the second form slows down
    at once and the first when its velocity has faded.

    Parameters
    ----------
    lr, weight_decay, decoupled
        See `Optimizer`.
    momentum : float
        The share that is kept, in [0, 1).
    velocity : {"step", "gradient"}
        Whether the velocity collects steps or gradients.

    Examples
    --------
    >>> Momentum(lr=0.1, momentum=0.99).momentum
    0.99
    """

    slots = ("velocity",)

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.9,
        *,
        velocity: str = "step",
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, decoupled=decoupled)
        _check_range(self, "momentum", momentum, 0, 1)
        if velocity not in ("step", "gradient"):
            raise ArgumentError(
                f'{type(self).__name__}: velocity must be "step" or "gradient", got {velocity!r}'
            )
        self.momentum = momentum
        self.velocity = velocity

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        gain, step = (-self.lr, 1.0) if self.velocity == "step" else (1.0, -self.lr)
        ops.momentum_update(
            value, state[0], grad, momentum=self.momentum, gain=gain, step=step, weight_decay=decay
        )


class Nesterov(Momentum):
    """Momentum whose gradient is that of the point to which the velocity leads.

    In the form that needs the gradient at the parameters alone, which are that point:
    ``v = momentum*v - lr*g; w += momentum*v - lr*g`` (``velocity="step"``, CS231n's), or
    ``v = momentum*v + g; w -= lr*(momentum*v + g)`` (``velocity="gradient"``, PyTorch's).

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    2013, section 2.

    Parameters
    ----------
    lr, momentum, velocity, weight_decay, decoupled
        See `Momentum`.

    Examples
    --------
    >>> Nesterov(lr=0.1).momentum
    0.9
    """

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        gain, step = (-self.lr, 1.0) if self.velocity == "step" else (1.0, -self.lr)
        ops.nesterov_update(
            value, state[0], grad, momentum=self.momentum, gain=gain, step=step, weight_decay=decay
        )


class AdaGrad(_Compiled):
    """Steps scaled by the root of the sum of all squared gradients so far, which only grows.

    ``total += g*g``, ``w -= lr*g/(sqrt(total) + eps)``: each weight has its own rate, which decays.

    Source: Duchi et al., "Adaptive subgradient methods", 2011.

    Parameters
    ----------
    lr, weight_decay, decoupled
        See `Optimizer`.
    eps : float
        Keeps the division finite.

    Examples
    --------
    >>> AdaGrad(lr=0.1).eps
    1e-07
    """

    slots = ("total",)

    def __init__(
        self,
        lr: float = 0.01,
        eps: float = 1e-7,
        *,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, decoupled=decoupled)
        _check_eps(self, eps)
        self.eps = eps

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        ops.adagrad_update(value, state[0], grad, lr=self.lr, eps=self.eps, weight_decay=decay)


class RMSProp(_Compiled):
    """Steps scaled by the root of a running mean of squared gradients, which forgets.

    ``v = rho*v + (1 - rho)*g*g``, ``w -= lr*g/(sqrt(v) + eps)``.

    Source: G. Hinton, "Neural networks for machine learning", 2012, lecture 6e.

    Parameters
    ----------
    lr, weight_decay, decoupled
        See `Optimizer`.
    rho : float
        The share of the old mean that is kept, in [0, 1).
    eps : float
        Keeps the division finite.

    Examples
    --------
    >>> RMSProp(lr=0.001).rho
    0.99
    """

    slots = ("v",)

    def __init__(
        self,
        lr: float = 0.01,
        rho: float = 0.99,
        eps: float = 1e-7,
        *,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, decoupled=decoupled)
        _check_range(self, "rho", rho, 0, 1)
        _check_eps(self, eps)
        self.rho = rho
        self.eps = eps

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        ops.rmsprop_update(
            value, state[0], grad, lr=self.lr, rho=self.rho, eps=self.eps, weight_decay=decay
        )


class Adam(_Compiled):
    """Steps scaled by running means of the gradient and of its square, free of their bias.

    ``m = beta1*m + (1 - beta1)*g``, ``v = beta2*v + (1 - beta2)*g*g``, and, with ``t`` counted from
    1, ``w -= lr * (m/(1 - beta1**t)) / (sqrt(v/(1 - beta2**t)) + eps)``.

    Source: Kingma and Ba, "Adam", 2015, algorithm 1. (``eps`` is 1e-7 here, as in CS231n; 1e-8 in
    the paper.)

    Parameters
    ----------
    lr, weight_decay, decoupled
        See `Optimizer`.
    beta1, beta2 : float
        The shares of the old means that are kept, in [0, 1).
    eps : float
        Keeps the division finite.

    Examples
    --------
    >>> Adam(lr=0.002).eps
    1e-07
    """

    slots = ("m", "v")

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-7,
        *,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, decoupled=decoupled)
        _check_range(self, "beta1", beta1, 0, 1)
        _check_range(self, "beta2", beta2, 0, 1)
        _check_eps(self, eps)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def _update_part(self, value: Array, grad: Array, state: list[Array], decay: float) -> None:
        m, v = state
        ops.adam_update(
            value, m, v, grad, t=self.t, lr=self.lr, beta1=self.beta1, beta2=self.beta2,
            eps=self.eps, weight_decay=decay,
        )  # fmt: skip


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
}
"""The optimizers by the name that a command line uses."""


def make_optimizer(name: str, **arguments: Any) -> Optimizer:
    """An optimizer by name.

    Parameters
    ----------
    name : str
        One of `OPTIMIZERS`.
    **arguments
        Of its constructor.

    Returns
    -------
    Optimizer

    Raises
    ------
    ArgumentError
        If there is none of that name, or it takes no such argument.

    Examples
    --------
    >>> make_optimizer("adam", lr=0.01).lr
    0.01
    """
    if name not in OPTIMIZERS:
        raise ArgumentError(f"there is no optimizer {name!r}; there are {', '.join(OPTIMIZERS)}")
    try:
        return OPTIMIZERS[name](**arguments)
    except TypeError as error:
        raise ArgumentError(f"optimizer {name!r}: {error}") from error


def _check_range(optimizer: Optimizer, name: str, value: float, low: float, high: float) -> None:
    name = f"{type(optimizer).__name__}: {name}"
    if not low <= as_number(value, name) < high:
        raise ArgumentError(f"{name} must be in [{low}, {high}), got {value!r}")


def _check_eps(optimizer: Optimizer, eps: float) -> None:
    if not as_number(eps, f"{type(optimizer).__name__}: eps") > 0:
        raise ArgumentError(f"{type(optimizer).__name__}: eps must be above 0, got {eps!r}")
