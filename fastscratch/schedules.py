"""Learning-rate schedules: functions from the time (epochs or steps so far) to a factor.

The learning rate at a time is the optimizer's first one, times the factor. Time starts at 0, and
need not be a whole number.
"""

import math
from dataclasses import dataclass

from fastscratch.errors import ArgumentError


class Schedule:
    """Base of the schedules: a callable from time to the factor on the learning rate.

    Examples
    --------
    >>> class Warmup(Schedule):
    ...     def __call__(self, time):
    ...         return min(1.0, (time + 1) / 5)
    >>> [Warmup()(time) for time in (0, 4, 9)]
    [0.2, 1.0, 1.0]
    """

    def __call__(self, time: float) -> float:
        """The factor at a time.

        Parameters
        ----------
        time : float
            Epochs or steps so far, from 0.

        Returns
        -------
        float
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ConstantRate(Schedule):
    """Always 1.

    Examples
    --------
    >>> ConstantRate()(10)
    1.0
    """

    def __call__(self, time: float) -> float:
        return 1.0


@dataclass(frozen=True)
class StepDecay(Schedule):
    """``factor**floor(time/every)``: lower at every so many epochs.

    Parameters
    ----------
    every : float
        Time between two drops.
    factor : float
        What a drop multiplies by.

    Examples
    --------
    >>> [StepDecay(every=10, factor=0.5)(time) for time in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_positive(self, "every", self.every)
        _check_positive(self, "factor", self.factor)

    def __call__(self, time: float) -> float:
        return float(self.factor ** math.floor(time / self.every))


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """``exp(-rate*time)``.

    Parameters
    ----------
    rate : float
        Above 0.

    Examples
    --------
    >>> round(ExponentialDecay(rate=0.1)(10), 4)
    0.3679
    """

    rate: float

    def __post_init__(self) -> None:
        _check_positive(self, "rate", self.rate)

    def __call__(self, time: float) -> float:
        return math.exp(-self.rate * time)


@dataclass(frozen=True)
class InverseTimeDecay(Schedule):
    """``1/(1 + rate*time)``.

    Parameters
    ----------
    rate : float
        Above 0.

    Examples
    --------
    >>> InverseTimeDecay(rate=0.5)(2)
    0.5
    """

    rate: float

    def __post_init__(self) -> None:
        _check_positive(self, "rate", self.rate)

    def __call__(self, time: float) -> float:
        return 1.0 / (1.0 + self.rate * time)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """From 1 down to ``floor`` along half a cosine, and ``floor`` ever after.

    Parameters
    ----------
    total : float
        The time at which ``floor`` is reached.
    floor : float
        In [0, 1].

    Examples
    --------
    >>> [round(CosineDecay(total=10)(time), 3) for time in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """

    total: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(self, "total", self.total)
        if not 0 <= self.floor <= 1:
            raise ArgumentError(f"CosineDecay: floor must be in [0, 1], got {self.floor!r}")

    def __call__(self, time: float) -> float:
        share = min(max(time / self.total, 0.0), 1.0)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * share))


def _check_positive(schedule: Schedule, name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ArgumentError(f"{type(schedule).__name__}: {name} must be above 0, got {value!r}")
