"""Stands in for ``common.optimizer``: updates of dictionaries of parameters, in place.

Arrays are changed where they are, so that layers which hold them see it; plain numbers, as in a
function of two variables, are replaced in the dictionary.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.types import Array

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]

Dictionary = dict[str, Any]

EPS = 1e-7


class SGD:
    """``w -= lr*grad``.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> SGD(lr=0.5).update(params, {"W": np.array([1.0, -1.0])})
    >>> params["W"]
    array([0.5, 2.5])
    """

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update(self, params: Dictionary, grads: Dictionary) -> None:
        for key in params:
            if _fits(params[key], grads[key]):
                ops.sgd_update(params[key], grads[key], lr=self.lr)
            else:
                _subtract(params, key, self.lr * grads[key])


class Momentum:
    """``v = momentum*v - lr*grad; w += v``. Attribute ``v``: a dictionary, or None at first."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: dict[str, Array] | None = None

    def update(self, params: Dictionary, grads: Dictionary) -> None:
        self.v = _state(self.v, params)
        for key in params:
            grad = grads[key]
            if _fits(params[key], grad, self.v[key]):
                self._operation(params[key], self.v[key], grad)
            else:
                self.v[key] = self.momentum * self.v[key] - self.lr * grad
                _subtract(params, key, -self._change(self.v[key], grad))

    def _operation(self, value: Array, velocity: Array, grad: Array) -> None:
        ops.momentum_update(value, velocity, grad, momentum=self.momentum, gain=-self.lr, step=1.0)

    def _change(self, velocity: Any, grad: Any) -> Any:
        return velocity


class Nesterov(Momentum):
    """`Momentum` whose gradient counts as taken after the next step.

    ``v = momentum*v - lr*grad; w += momentum*v - lr*grad``. Source: Bengio, Boulanger-Lewandowski
    and Pascanu, "Advances in optimizing recurrent networks", 2012, equation 7.

    Examples
    --------
    >>> params = {"W": np.array([1.0])}
    >>> Nesterov(lr=0.1, momentum=0.5).update(params, {"W": np.array([1.0])})
    >>> params["W"]
    array([0.85])
    """

    def _operation(self, value: Array, velocity: Array, grad: Array) -> None:
        ops.nesterov_update(value, velocity, grad, momentum=self.momentum, gain=-self.lr, step=1.0)

    def _change(self, velocity: Any, grad: Any) -> Any:
        return self.momentum * velocity - self.lr * grad


class AdaGrad:
    """``h += grad**2; w -= lr*grad/(sqrt(h) + 1e-7)``. Attribute ``h``: a dictionary."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr
        self.h: dict[str, Array] | None = None

    def update(self, params: Dictionary, grads: Dictionary) -> None:
        self.h = _state(self.h, params)
        for key in params:
            grad = grads[key]
            if _fits(params[key], grad, self.h[key]):
                self._operation(params[key], self.h[key], grad)
            else:
                self.h[key] = self._accumulate(self.h[key], grad)
                _subtract(params, key, self.lr * grad / (np.sqrt(self.h[key]) + EPS))

    def _operation(self, value: Array, h: Array, grad: Array) -> None:
        ops.adagrad_update(value, h, grad, lr=self.lr, eps=EPS)

    def _accumulate(self, h: Array, grad: Any) -> Any:
        return h + grad * grad


class RMSprop(AdaGrad):
    """`AdaGrad` with a memory that fades: ``h = decay_rate*h + (1 - decay_rate)*grad**2``."""

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        self.decay_rate = decay_rate

    def _operation(self, value: Array, h: Array, grad: Array) -> None:
        ops.rmsprop_update(value, h, grad, lr=self.lr, rho=self.decay_rate, eps=EPS)

    def _accumulate(self, h: Array, grad: Any) -> Any:
        return self.decay_rate * h + (1 - self.decay_rate) * grad * grad


class Adam:
    """Adam in the form of section 2 of its paper, where eps stands beside the uncorrected root.

    Attributes ``m``, ``v``: dictionaries; ``iter``: how many updates there were.

    Examples
    --------
    >>> params = {"W": np.array([1.0])}
    >>> Adam(lr=0.25).update(params, {"W": np.array([4.0])})
    >>> params["W"].round(6)
    array([0.75])
    """

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m: dict[str, Array] | None = None
        self.v: dict[str, Array] | None = None

    def update(self, params: Dictionary, grads: Dictionary) -> None:
        self.m, self.v = _state(self.m, params), _state(self.v, params)
        self.iter += 1
        correction = np.sqrt(1.0 - self.beta2**self.iter)
        lr_t = self.lr * correction / (1.0 - self.beta1**self.iter)
        for key in params:
            grad = grads[key]
            if _fits(params[key], grad, self.m[key], self.v[key]):
                # The operation has its eps beside the corrected root.
                ops.adam_update(
                    params[key], self.m[key], self.v[key], grad, t=self.iter, lr=self.lr,
                    beta1=self.beta1, beta2=self.beta2, eps=float(EPS / correction),
                )  # fmt: skip
                continue
            self.m[key] = self.m[key] + (1 - self.beta1) * (grad - self.m[key])
            self.v[key] = self.v[key] + (1 - self.beta2) * (grad * grad - self.v[key])
            _subtract(params, key, lr_t * self.m[key] / (np.sqrt(self.v[key]) + EPS))


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": SGD, "momentum": Momentum, "nesterov": Nesterov, "adagrad": AdaGrad,
    "rmsprop": RMSprop, "rmsprpo": RMSprop, "adam": Adam,
}  # fmt: skip
"""By the names that `Trainer` takes; the book's own misspelling is one of them."""


def _state(state: dict[str, Array] | None, params: Dictionary) -> dict[str, Array]:
    """One array of zeros for each parameter, those that came later too."""
    state = {} if state is None else state
    for key, value in params.items():
        if key not in state:
            state[key] = np.zeros(np.shape(value), np.result_type(np.asarray(value), np.float32))
    return state


def _fits(value: Any, *others: Any) -> bool:
    """Whether an operation can update the array where it is."""
    return (
        isinstance(value, np.ndarray)
        and value.ndim > 0
        and value.dtype in (np.float32, np.float64)
        and value.flags.carray
        and all(
            isinstance(other, np.ndarray)
            and other.dtype == value.dtype
            and other.shape == value.shape
            and not np.shares_memory(other, value)
            for other in others
        )
    )


def _subtract(params: Dictionary, key: str, change: Any) -> None:
    """In place if it is an array, as NumPy's own ``-=``."""
    if isinstance(params[key], np.ndarray):
        params[key] -= change
    else:
        params[key] = params[key] - change
