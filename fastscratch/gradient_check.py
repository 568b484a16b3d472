"""Numerical gradients, and a check of a network's backward pass against them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers.base import Layer
from fastscratch.layers.streams import stream
from fastscratch.losses import Loss
from fastscratch.types import Array

_STEPS = (1e-4, 1e-5, 1e-6)


def numerical_gradient(f: Callable[[Array], float], x: Array, h: float | None = None) -> Array:
    """Gradient by central differences: ``(f(x + h*e) - f(x - h*e))/(2*h)`` for each element.

    Two calls of ``f`` an element: for small arrays, and for checks.

    Parameters
    ----------
    f : callable
        From an array to a number.
    x : ndarray
        Where. A float64 array is changed in place and restored, so that ``f`` may as well look at
        it from outside; of others a float64 copy is made, and ``f`` must use its argument.
    h : float, optional
        Half the distance between the two points; 1e-4, times the element where that is above 1.

    Returns
    -------
    ndarray of float64
        Of x's shape.

    Raises
    ------
    ArgumentError
        If h is not above 0.
    ShapeError
        If ``f`` does not return a single number.

    Examples
    --------
    >>> np.round(numerical_gradient(lambda x: (x**2).sum(), np.array([3.0, 4.0])), 8)
    array([6., 8.])
    """
    if h is not None and not h > 0:
        raise ArgumentError(f"numerical_gradient: h must be above 0, got {h!r}")
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        x = np.array(x, np.float64)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        gradient[index] = _partial(f, x, index, h)
    return gradient


def _partial(
    f: Callable[[Array], float], x: Array, index: tuple[int, ...], h: float | None
) -> float:
    here = x[index]
    step = 1e-4 * max(1.0, abs(here)) if h is None else h
    high, low = here + step, here - step
    try:
        x[index] = high
        above = _number(f(x))
        x[index] = low
        below = _number(f(x))
    finally:
        x[index] = here
    return float((above - below) / (high - low))


def _number(value: Any) -> float:
    if np.size(value) != 1:
        raise ShapeError(f"f must return one number, got shape {np.shape(value)}")
    return float(np.asarray(value).reshape(()))


@dataclass(frozen=True)
class GradientEntry:
    """One comparison: an array's gradient along one direction, or at one element.

    Attributes
    ----------
    name : str
        The parameter's dotted name, or ``"input"``.
    where : str
        ``"direction 0"`` or ``"element (2, 3)"``.
    analytic, numeric : float
        What the backward pass says, and what differences say.
    error : float
        Their distance, less what rounding explains, over the larger of their sizes.
    """

    name: str
    where: str
    analytic: float
    numeric: float
    error: float


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found; ``str()`` shows the worst entry of each array.

    Attributes
    ----------
    entries : tuple of GradientEntry
        All comparisons.
    tolerance : float
        The largest error that passes.

    Examples
    --------
    >>> GradientReport((GradientEntry("w", "direction 0", 1.0, 1.1, 0.1),), tolerance=1e-6).wrong
    ('w',)
    """

    entries: tuple[GradientEntry, ...]
    tolerance: float

    @property
    def wrong(self) -> tuple[str, ...]:
        """Names of the arrays whose gradient is off, in the order of the network."""
        # "not <=", so that NaN is wrong.
        return tuple(
            dict.fromkeys(entry.name for entry in self.entries if not entry.error <= self.tolerance)
        )

    @property
    def ok(self) -> bool:
        """Whether every gradient agrees."""
        return not self.wrong

    def worst(self) -> dict[str, GradientEntry]:
        """The entry with the largest error, by array.

        Examples
        --------
        >>> right = GradientEntry("w", "element (0,)", 1.0, 1.0, 0.0)
        >>> wrong = GradientEntry("w", "element (1,)", 1.0, 1.1, 0.1)
        >>> GradientReport((right, wrong), tolerance=1e-6).worst()["w"].where
        'element (1,)'
        """
        worst: dict[str, GradientEntry] = {}
        for entry in self.entries:
            if entry.name not in worst or not entry.error <= worst[entry.name].error:
                worst[entry.name] = entry
        return worst

    def __str__(self) -> str:
        wrong = self.wrong
        lines = [
            f"gradients agree to {self.tolerance:g}"
            if self.ok
            else f"gradients of {', '.join(wrong)} are off by more than {self.tolerance:g}"
        ]
        for name, entry in self.worst().items():
            lines.append(
                f"  {'WRONG' if name in wrong else 'ok   '} {name}: {entry.where}: backward gives "
                f"{entry.analytic:.9g}, differences {entry.numeric:.9g}, error {entry.error:.1e}"
            )
        return "\n".join(lines)


def check_gradients(
    model: Layer,
    loss: Loss,
    x: Array,
    targets: Array,
    *,
    directions: int = 3,
    elements: int = 5,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientReport:
    """Compare a network's backward pass with differences of its loss, in float64.

    For every parameter and for the input, the derivative along a few random directions (which
    every element takes part in) and at a few random elements. The pass is that of training; the
    state that it changes (running statistics, dropout's steps) is put back between evaluations, so
    that each sees the same network. Differences are taken over three distances, and the best one
    counts: one that steps over the kink of a ReLU is off, whatever the backward pass says.

    Parameters
    ----------
    model : Layer
        Of either dtype; a float64 copy of it is checked. Built if it is not.
    loss : Loss
        The loss.
    x, targets : ndarray
        A small batch.
    directions, elements : int
        How many of each to look at for each array.
    tolerance : float
        The largest relative error that passes.
    seed : int
        Of the directions and elements.

    Returns
    -------
    GradientReport
        ``report.ok``, ``report.wrong`` (names), ``print(report)``.

    Examples
    --------
    >>> from fastscratch.layers import Dense, ReLU, Sequential
    >>> from fastscratch.losses import SoftmaxCrossEntropy
    >>> model = Sequential(("a", Dense(4)), ReLU(), ("b", Dense(3)))
    >>> x = np.random.default_rng(0).standard_normal((5, 6))
    >>> check_gradients(model, SoftmaxCrossEntropy(), x, np.array([0, 1, 2, 0, 1])).ok
    True
    """
    if not model.built:
        model.build(x.shape[1:], np.float64)
    twin = model.astype(np.float64)
    x = np.array(x, np.float64)
    start = twin.state_dict()

    def value() -> float:
        for buffer in twin.buffers():
            buffer.value = start[buffer.name]
        return loss.forward(twin.forward(x, training=True), targets)

    value()
    arrays = {"input": (x, twin.backward(loss.backward()).copy())}
    for parameter in twin.parameters():
        arrays[parameter.name] = (parameter.value, parameter.grad.copy())
    entries = [
        entry
        for name, (array, gradient) in arrays.items()
        for entry in _compare(name, array, gradient, value, directions, elements, seed)
    ]
    return GradientReport(tuple(entries), tolerance)


def _compare(
    name: str,
    array: Array,
    gradient: Array,
    value: Callable[[], float],
    directions: int,
    elements: int,
    seed: int,
) -> Iterator[GradientEntry]:
    rng = stream(seed, f"gradient_check.{name}")
    for number in range(directions):
        direction: Array = np.asarray(rng.standard_normal(array.shape))
        direction /= np.linalg.norm(direction)
        yield _entry(name, f"direction {number}", array, gradient, direction, value)
    for flat in rng.choice(array.size, min(elements, array.size), replace=False):
        direction = np.zeros(array.shape)
        direction.flat[flat] = 1.0
        index = tuple(int(i) for i in np.unravel_index(flat, array.shape))
        yield _entry(name, f"element {index}", array, gradient, direction, value)


def _entry(
    name: str,
    where: str,
    array: Array,
    gradient: Array,
    direction: Array,
    value: Callable[[], float],
) -> GradientEntry:
    analytic = float((gradient * direction).sum())
    kept = array.copy()
    found = []
    for h in _STEPS:
        array[...] = kept + h * direction
        above = value()
        array[...] = kept - h * direction
        below = value()
        array[...] = kept
        numeric = (above - below) / (2 * h)
        # A loss is right to some eps; its differences, divided by h, cannot be better than that.
        noise = 64 * np.finfo(np.float64).eps * max(abs(above), abs(below)) / h
        size = max(abs(analytic), abs(numeric), 1e-300)
        error = abs(analytic - numeric)
        error = max(error - noise, 0.0) / size if error == error else error
        found.append(GradientEntry(name, where, analytic, numeric, error))
    # NaN is never the best.
    return min(found, key=lambda entry: entry.error if entry.error == entry.error else np.inf)
