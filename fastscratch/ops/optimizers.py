"""Updates of parameters by their gradients, in one pass over memory.

Unlike other operations these write to what they are given: the values, and the optimizer's state.
"""

from fastscratch.kernels.problem import ElementsProblem
from fastscratch.ops.activations import elements_problem
from fastscratch.ops.plan import call
from fastscratch.types import Array


def sgd_update(
    value: Array,
    grad: Array,
    *,
    lr: float = 0.01,
    weight_decay: float = 0.0,
    backend: str | None = None,
) -> None:
    """Descend: ``value -= lr*(grad + weight_decay*value)``, in place.

    Parameters
    ----------
    value : ndarray of float32 or float64, any shape
        What is updated: C-contiguous, aligned, writeable.
    grad : ndarray
        Of value's shape and dtype, overlapping nothing.
    lr, weight_decay : float
        Learning rate, and the weights' share in the gradient.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.

    Returns
    -------
    None

    Raises
    ------
    ShapeError, DtypeError
        If the arrays differ in shape or dtype, or are neither float32 nor float64.
    ArgumentError
        If `value` cannot be written in place, or overlaps another array.
    BackendUnavailableError
        If the implementation that is named is not there.

    Examples
    --------
    >>> import numpy as np
    >>> value = np.array([1.0, 2.0])
    >>> sgd_update(value, np.array([1.0, -1.0]), lr=0.5)
    >>> value
    array([0.5, 2.5])
    """
    call("sgd_update", sgd_problem, (value, grad), (), backend, (), (lr, weight_decay))


def momentum_update(
    value: Array,
    velocity: Array,
    grad: Array,
    *,
    momentum: float = 0.9,
    gain: float = -0.01,
    step: float = 1.0,
    weight_decay: float = 0.0,
    backend: str | None = None,
) -> None:
    """Descend with momentum, in place.

    ``velocity = momentum*velocity + gain*(grad + weight_decay*value)``; ``value += step*velocity``.

    Parameters
    ----------
    value, velocity : ndarray of float32 or float64, any shape
        What is updated: C-contiguous, aligned, writeable, overlapping nothing.
    grad : ndarray
        Of value's shape and dtype.
    momentum : float
        The share of the velocity that is kept.
    gain, step : float
        ``(-lr, 1)`` is the book's form, ``(1, -lr)`` that of CS231n and PyTorch.
    weight_decay : float
        The weights' share in the gradient.
    backend : str, optional
        As in `sgd_update`.

    Returns
    -------
    None

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `sgd_update`.

    Examples
    --------
    >>> import numpy as np
    >>> value, velocity = np.array([1.0]), np.array([2.0])
    >>> momentum_update(value, velocity, np.array([4.0]), momentum=0.5, gain=-0.5)
    >>> value, velocity
    (array([0.]), array([-1.]))
    """
    rates = (momentum, gain, step, weight_decay)
    call("momentum_update", momentum_problem, (value, velocity, grad), (), backend, (), rates)


def nesterov_update(
    value: Array,
    velocity: Array,
    grad: Array,
    *,
    momentum: float = 0.9,
    gain: float = -0.01,
    step: float = 1.0,
    weight_decay: float = 0.0,
    backend: str | None = None,
) -> None:
    """Descend with Nesterov's momentum, in place.

    With ``g = gain*(grad + weight_decay*value)``: ``velocity = momentum*velocity + g`` and
    ``value += step*(momentum*velocity + g)``. This is the form in which the values are those of
    the point looked ahead to, so that their gradient is the one needed.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    2013; the form is that of Bengio et al., "Advances in optimizing recurrent networks", 2012.

    Parameters
    ----------
    value, velocity : ndarray of float32 or float64, any shape
        What is updated: C-contiguous, aligned, writeable, overlapping nothing.
    grad : ndarray
        Of value's shape and dtype.
    momentum : float
        The share of the velocity that is kept.
    gain, step : float
        ``(-lr, 1)`` is CS231n's form, ``(1, -lr)`` that of PyTorch.
    weight_decay : float
        The weights' share in the gradient.
    backend : str, optional
        As in `sgd_update`.

    Returns
    -------
    None

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `sgd_update`.

    Examples
    --------
    >>> import numpy as np
    >>> value, velocity = np.array([1.0]), np.array([2.0])
    >>> nesterov_update(value, velocity, np.array([4.0]), momentum=0.5, gain=-0.5)
    >>> value, velocity
    (array([-1.5]), array([-1.]))
    """
    rates = (momentum, gain, step, weight_decay)
    call("nesterov_update", nesterov_problem, (value, velocity, grad), (), backend, (), rates)


def adagrad_update(
    value: Array,
    total: Array,
    grad: Array,
    *,
    lr: float = 0.01,
    eps: float = 1e-7,
    weight_decay: float = 0.0,
    backend: str | None = None,
) -> None:
    """One step of AdaGrad, in place, with ``g = grad + weight_decay*value``.

    ``total += g*g`` and ``value -= lr*g/(sqrt(total) + eps)``.

    Source: Duchi et al., "Adaptive subgradient methods", 2011.

    Parameters
    ----------
    value, total : ndarray of float32 or float64, any shape
        What is updated: C-contiguous, aligned, writeable, overlapping nothing.
    grad : ndarray
        Of value's shape and dtype.
    lr, eps, weight_decay : float
        As `fastscratch.optimizers.AdaGrad` has them.
    backend : str, optional
        As in `sgd_update`.

    Returns
    -------
    None

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `sgd_update`.

    Examples
    --------
    >>> import numpy as np
    >>> value, total = np.array([1.0]), np.array([9.0])
    >>> adagrad_update(value, total, np.array([4.0]), lr=0.25)
    >>> value.round(6), total
    (array([0.8]), array([25.]))
    """
    rates = (lr, eps, weight_decay)
    call("adagrad_update", adagrad_problem, (value, total, grad), (), backend, (), rates)


def rmsprop_update(
    value: Array,
    v: Array,
    grad: Array,
    *,
    lr: float = 0.01,
    rho: float = 0.99,
    eps: float = 1e-7,
    weight_decay: float = 0.0,
    backend: str | None = None,
) -> None:
    """One step of RMSProp, in place, with ``g = grad + weight_decay*value``.

    ``v = rho*v + (1 - rho)*g*g`` and ``value -= lr*g/(sqrt(v) + eps)``.

    Source: G. Hinton, "Neural networks for machine learning", 2012, lecture 6e.

    Parameters
    ----------
    value, v : ndarray of float32 or float64, any shape
        What is updated: C-contiguous, aligned, writeable, overlapping nothing.
    grad : ndarray
        Of value's shape and dtype.
    lr, rho, eps, weight_decay : float
        As `fastscratch.optimizers.RMSProp` has them.
    backend : str, optional
        As in `sgd_update`.

    Returns
    -------
    None

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `sgd_update`.

    Examples
    --------
    >>> import numpy as np
    >>> value, v = np.array([1.0]), np.array([0.0])
    >>> rmsprop_update(value, v, np.array([4.0]), lr=0.25, rho=0.75)
    >>> value.round(6), v
    (array([0.5]), array([4.]))
    """
    rates = (lr, rho, eps, weight_decay)
    call("rmsprop_update", rmsprop_problem, (value, v, grad), (), backend, (), rates)


def adam_update(
    value: Array,
    m: Array,
    v: Array,
    grad: Array,
    *,
    t: int = 1,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-7,
    weight_decay: float = 0.0,
    backend: str | None = None,
) -> None:
    """One step of Adam, in place, with ``g = grad + weight_decay*value``.

    ``m = beta1*m + (1 - beta1)*g``, ``v = beta2*v + (1 - beta2)*g*g``, and
    ``value -= lr * (m/(1 - beta1**t)) / (sqrt(v/(1 - beta2**t)) + eps)``.

    Source: Kingma and Ba, "Adam", 2015, algorithm 1.

    Parameters
    ----------
    value, m, v : ndarray of float32 or float64, any shape
        What is updated: C-contiguous, aligned, writeable, overlapping nothing.
    grad : ndarray
        Of value's shape and dtype.
    t : int
        The number of this step, counted from 1.
    lr, beta1, beta2, eps, weight_decay : float
        As `fastscratch.optimizers.Adam` has them.
    backend : str, optional
        As in `sgd_update`.

    Returns
    -------
    None

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `sgd_update`.

    Examples
    --------
    >>> import numpy as np
    >>> value, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> adam_update(value, m, v, np.array([4.0]), lr=0.25)
    >>> value.round(6), m, v
    (array([0.75]), array([0.4]), array([0.016]))
    """
    rates = (beta1, beta2, lr / (1 - beta1**t), 1 / (1 - beta2**t), eps, weight_decay)
    call("adam_update", adam_problem, (value, m, v, grad), (), backend, (), rates)


def squared_norm(x: Array, *, backend: str | None = None, out: Array | None = None) -> float:
    """The sum of the squares of all elements, in float64: finite only if every element is.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    backend : str, optional
        As in `sgd_update`.
    out : ndarray of float64, shape (ceil(x.size/8192),), optional
        Where to write the partial sums, of 8192 elements each.

    Returns
    -------
    float
        Not finite, too, where a sum in x's dtype overflows.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `sgd_update`.

    Examples
    --------
    >>> import numpy as np
    >>> squared_norm(np.array([3.0, 4.0]))
    25.0
    """
    (sums,) = call("squared_norm", norm_problem, (x,), (), backend, (out,))
    return float(sum(sums.tolist()))  # of so few, faster than a reduction


def sgd_problem(value: Array, grad: Array) -> ElementsProblem:
    """The problem that a call of `sgd_update` poses, its arguments checked."""
    return elements_problem("sgd_update", value=value, grad=grad)


def momentum_problem(value: Array, velocity: Array, grad: Array) -> ElementsProblem:
    """The problem that a call of `momentum_update` poses, its arguments checked."""
    return elements_problem("momentum_update", value=value, velocity=velocity, grad=grad)


def nesterov_problem(value: Array, velocity: Array, grad: Array) -> ElementsProblem:
    """The problem that a call of `nesterov_update` poses, its arguments checked."""
    return elements_problem("nesterov_update", value=value, velocity=velocity, grad=grad)


def adagrad_problem(value: Array, total: Array, grad: Array) -> ElementsProblem:
    """The problem that a call of `adagrad_update` poses, its arguments checked."""
    return elements_problem("adagrad_update", value=value, total=total, grad=grad)


def rmsprop_problem(value: Array, v: Array, grad: Array) -> ElementsProblem:
    """The problem that a call of `rmsprop_update` poses, its arguments checked."""
    return elements_problem("rmsprop_update", value=value, v=v, grad=grad)


def adam_problem(value: Array, m: Array, v: Array, grad: Array) -> ElementsProblem:
    """The problem that a call of `adam_update` poses, its arguments checked."""
    return elements_problem("adam_update", value=value, m=m, v=v, grad=grad)


def norm_problem(x: Array) -> ElementsProblem:
    """The problem that a call of `squared_norm` poses, its arguments checked."""
    return elements_problem("squared_norm", x=x)
