"""Methods that use curvature: L-BFGS for whole training sets, and Newton's method to show it.

A step of Newton's method is exact for a quadratic function and needs no learning rate, but the
Hessian of a network with P parameters has P**2 elements. L-BFGS keeps a few differences of
parameters and gradients in its place, which is only sound where all gradients are those of one
function: on full batches.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastscratch.errors import ArgumentError, TrainingError
from fastscratch.layers.flat_parameters import FlatParameters
from fastscratch.optimizers import Optimizer
from fastscratch.types import Array

_DECREASE, _CURVATURE = 1e-4, 0.9
"""c1 and c2 of the strong Wolfe conditions (Nocedal and Wright, 2006, section 3.1)."""

Function = Callable[[Array], tuple[float, Array]]
"""From a point to the value and the gradient there."""


class LBFGS(Optimizer):
    """The limited-memory BFGS method, for full batches.

    A step looks along ``-H @ g`` for a point that meets the strong Wolfe conditions, where H, an
    estimate of the inverse Hessian, comes from the last few differences of parameters and
    gradients. Train with ``Trainer(..., batch_size=len(x))``: the gradients of two mini-batches
    differ by their samples, and their difference says nothing about curvature. For the same reason
    the trainer refuses a network that draws at random while training (`Dropout`, `DropConnect`,
    `FractionalMaxPool2d`, `Residual` with a survival below 1).

    Source: Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.4, 3.5 and 3.6.

    Parameters
    ----------
    lr : float
        The first length of step that is tried; 1 is the method's own.
    history : int
        Differences that are kept.
    most_evaluations : int
        Of loss and gradient in one step.
    weight_decay : float
        See `Optimizer`.

    Examples
    --------
    >>> from fastscratch import data, layers, losses, training
    >>> (x, t), _ = data.load_digits(flatten=True)
    >>> model = layers.Sequential(layers.Dense(10))
    >>> trainer = training.Trainer(
    ...     model, losses.SoftmaxCrossEntropy(), LBFGS(), batch_size=len(x)
    ... )
    >>> trainer.fit(x, t, epochs=20).last["train_accuracy"] > 0.97
    True
    """

    full_batch = True

    def __init__(
        self,
        lr: float = 1.0,
        *,
        history: int = 10,
        most_evaluations: int = 25,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay)
        if history < 1 or most_evaluations < 2:
            raise ArgumentError(
                "LBFGS: history must be 1 or more and most_evaluations 2 or more, got "
                f"history={history!r}, most_evaluations={most_evaluations!r}"
            )
        self.history = history
        self.most_evaluations = most_evaluations
        # "s0" and "y0" are the newest differences of parameters and gradients.
        self.slots = tuple(f"{kind}{age}" for age in range(history) for kind in "sy")  # type: ignore[misc]

    def step(self, flat: FlatParameters) -> None:
        """Refused: a step needs the loss at points of its own choice, see `minimise`."""
        raise TrainingError(
            "LBFGS needs to evaluate the loss within a step, which step(flat) cannot; call "
            "minimise(flat, evaluate, loss), or train with Trainer"
        )

    def minimise(self, flat: FlatParameters, evaluate: Callable[[], float], value: float) -> None:
        """Change all parameters once.

        Parameters
        ----------
        flat : FlatParameters
            The same at every step; its gradients are those at its values.
        evaluate : callable
            Computes the loss at the present values, and leaves the gradients in ``flat.grad``.
        value : float
            The loss at the present values, the penalty of weight decay included.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2, bias=False, weight_init="constant")
        >>> dense.build((1,), np.float64)
        (2,)
        >>> flat = FlatParameters(dense)
        >>> def bowl():
        ...     dense.weight.grad = dense.weight.value * [[1.0, 10.0]]
        ...     return float(0.5 * (dense.weight.value * dense.weight.grad).sum())
        >>> optimizer = LBFGS()
        >>> for _ in range(10):
        ...     optimizer.minimise(flat, bowl, bowl())
        >>> bool(np.abs(dense.weight.value).max() < 1e-6)
        True
        """
        if self._flat is not flat:
            self._bind(flat)
        flat.check_current()
        self.t += 1
        decays = np.arange(flat.value.size) < flat.decay_stop

        def at(point: Array) -> tuple[float, Array]:
            flat.value[...] = point
            loss = evaluate() + self.penalty(flat)
            return loss, _as_double(flat.grad) + self.weight_decay * decays * _as_double(flat.value)

        start = _as_double(flat.value)
        gradient = _as_double(flat.grad) + self.weight_decay * decays * start
        pairs = [(self._state[f"s{age}"], self._state[f"y{age}"]) for age in range(self.history)]
        direction = -two_loop(gradient, pairs)
        first = self.lr if pairs[0][0].any() else self.lr / max(1.0, np.abs(gradient).sum())
        found = line_search(at, start, value, gradient, direction, first, self.most_evaluations)
        flat.value[...] = found.point
        flat.grad[...] = found.gradient
        self._remember(_as_double(flat.value) - start, found.gradient - gradient)

    def _remember(self, moved: Array, turned: Array) -> None:
        """The newest differences in the oldest's place, unless they show no positive curvature."""
        if moved @ turned <= 1e-10 * np.sqrt((moved @ moved) * (turned @ turned)):
            return
        for kind, newest in (("s", moved), ("y", turned)):
            last = self._state[f"{kind}{self.history - 1}"]
            for age in range(self.history - 1, 0, -1):
                self._state[f"{kind}{age}"] = self._state[f"{kind}{age - 1}"]
            self._state[f"{kind}0"] = last
            last[...] = newest


def two_loop(gradient: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """The estimate of the inverse Hessian, times the gradient: algorithm 7.4.

    Parameters
    ----------
    gradient : ndarray of float64, one axis
    pairs : list of (ndarray, ndarray)
        Differences of parameters and of gradients, the newest first; those of zeros are none.

    Returns
    -------
    ndarray

    Examples
    --------
    With one pair along an axis, whose curvature is 4:

    >>> two_loop(np.array([8.0, 0.0]), [(np.array([1.0, 0.0]), np.array([4.0, 0.0]))])
    array([2., 0.])
    """
    q = gradient.copy()
    steps = []
    for s, y in pairs:
        s, y = _as_double(s), _as_double(y)
        curvature = float(s @ y)
        if curvature > 0:
            alpha = float(s @ q) / curvature
            q -= alpha * y
            steps.append((s, y, curvature, alpha))
    if steps:
        _, y, curvature, _ = steps[0]
        q *= curvature / float(y @ y)
    for s, y, curvature, alpha in reversed(steps):
        q += (alpha - float(y @ q) / curvature) * s
    return q


class Found(NamedTuple):
    """Where a search along a line ended."""

    point: Array
    value: float
    gradient: Array
    evaluations: int


def line_search(
    function: Function,
    start: Array,
    value: float,
    gradient: Array,
    direction: Array,
    first: float = 1.0,
    most_evaluations: int = 25,
) -> Found:
    """A point on a line that meets the strong Wolfe conditions: algorithms 3.5 and 3.6.

    Parameters
    ----------
    function : callable
        From a point to the value and the gradient there.
    start, value, gradient
        Where the line begins.
    direction : ndarray
        Along which the function falls at first.
    first : float
        The step that is tried first.
    most_evaluations : int
        After so many, the lowest point that was seen is taken, which may be the start.

    Returns
    -------
    Found

    Examples
    --------
    >>> def parabola(x):
    ...     return float((x**2).sum()), 2 * x
    >>> start = np.array([3.0])
    >>> found = line_search(parabola, start, *parabola(start), np.array([-6.0]), first=0.5)
    >>> found.point, found.evaluations
    (array([0.]), 1)
    """
    begin = _Probe(0.0, value, float(gradient @ direction), start, gradient)
    best = begin
    evaluations = 0
    if not begin.slope < 0:
        return Found(start, value, gradient, 0)

    def probe(step: float) -> _Probe:
        nonlocal best, evaluations
        evaluations += 1
        point = start + step * direction
        found, slope = function(point)
        here = _Probe(step, float(found), float(slope @ direction), point, slope)
        if here.value < best.value:  # never true of NaN
            best = here
        return here

    def falls(here: _Probe) -> bool:
        return here.value <= value + _DECREASE * here.step * begin.slope

    def is_flat(here: _Probe) -> bool:
        return abs(here.slope) <= -_CURVATURE * begin.slope

    low, high = begin, None
    step = first
    while evaluations < most_evaluations:
        here = probe(step)
        if not falls(here) or (low is not begin and here.value >= low.value):
            high = here
        elif is_flat(here):
            return Found(here.point, here.value, here.gradient, evaluations)
        elif high is None and here.slope < 0:  # still falling: further
            low = here
            step *= 2
            continue
        else:
            if high is None or here.slope * (high.step - here.step) >= 0:
                high = low
            low = here
        step = _between(low, high)
        if step == low.step or step == high.step:
            break
    return Found(best.point, best.value, best.gradient, evaluations)


class _Probe(NamedTuple):
    """A point of the line: how far, how high, how steep."""

    step: float
    value: float
    slope: float
    point: Array
    gradient: Array


def _between(low: _Probe, high: _Probe) -> float:
    """The minimum of the parabola through low, its slope, and high; their middle if it is outside.

    Outside means within a tenth of either end, too.
    """
    width = high.step - low.step
    rise = high.value - low.value - low.slope * width
    share = -low.slope * width / (2 * rise) if rise > 0 and np.isfinite(rise) else 0.5
    return low.step + width * (share if 0.1 <= share <= 0.9 else 0.5)


def _as_double(array: Array) -> Array:
    return array.astype(np.float64)


def newton_path(
    gradient: Callable[[Array], Array], hessian: Callable[[Array], Array], start: Array, steps: int
) -> Array:
    """The points that Newton's method visits: ``x -= solve(hessian(x), gradient(x))``.

    Parameters
    ----------
    gradient, hessian : callable
        From a point (n,) to (n,) and (n, n).
    start : ndarray, shape (n,)
        The first point; it is not written to.
    steps : int
        How many follow.

    Returns
    -------
    ndarray of float64, shape (steps + 1, n)

    Raises
    ------
    TrainingError
        If a Hessian cannot be inverted.

    Examples
    --------
    One step ends in the minimum of a quadratic function, without a learning rate:

    >>> curvatures = np.array([0.1, 2.0])
    >>> newton_path(lambda x: curvatures * x, lambda x: np.diag(curvatures), [-7.0, 2.0], 1)
    array([[-7.,  2.],
           [ 0.,  0.]])
    """
    points = [np.array(start, np.float64)]
    for _ in range(steps):
        here = points[-1]
        try:
            points.append(here - np.linalg.solve(hessian(here), gradient(here)))
        except np.linalg.LinAlgError as error:
            raise TrainingError(
                f"newton_path: the Hessian at {here} cannot be inverted ({error}); begin elsewhere"
            ) from error
    return np.stack(points)
