"""Losses: one number for a batch of scores and targets, and its gradient by the scores."""

import math
from typing import Literal

import numpy as np

from fastscratch import ops
from fastscratch.errors import ArgumentError, DtypeError, ShapeError, TrainingError
from fastscratch.ops.losses import mean_loss
from fastscratch.types import Array

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Loss:
    """Base of the losses. All are means over the batch.

    A new loss overrides ``_forward(scores, targets) -> float``, which keeps in ``self._saved`` what
    ``_backward() -> dout`` needs.

    Examples
    --------
    >>> class Hinge(Loss):
    ...     def _forward(self, scores, targets):
    ...         self._saved = (scores, targets)
    ...         return np.maximum(1 - targets * scores, 0).sum() / len(scores)
    ...     def _backward(self):
    ...         scores, targets = self._saved
    ...         return np.where(targets * scores < 1, -targets, 0.0) / len(scores)
    >>> Hinge().forward(np.array([[0.5]]), np.array([[1.0]]))
    0.5
    """

    _saved: object = None

    def forward(self, scores: Array, targets: Array) -> float:
        """The loss of a batch.

        Parameters
        ----------
        scores : ndarray of float32 or float64, shape (N, ...)
            What the network returned. Never written to.
        targets : ndarray
            What it should have returned; see the loss.

        Returns
        -------
        float
            Not finite where the scores are not; that is no error here.

        Raises
        ------
        ShapeError, DtypeError, ArgumentError
            If the two do not fit.

        Examples
        --------
        >>> MeanSquaredError().forward(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
        2.5
        """
        if not isinstance(scores, np.ndarray) or scores.dtype not in _FLOATS:
            found = getattr(scores, "dtype", type(scores).__name__)
            raise DtypeError(
                f"{self._title}: scores must be a float32 or float64 array, got {found}"
            )
        if scores.ndim < 2 or not scores.size:
            raise ShapeError(
                f"{self._title}: scores must have shape (N, ...) with a sample or more, got "
                f"{scores.shape}"
            )
        return float(self._forward(scores, np.asarray(targets)))

    def backward(self) -> Array:
        """The gradient by the scores of the last ``forward``.

        Returns
        -------
        ndarray
            Of the scores' shape and dtype.

        Raises
        ------
        TrainingError
            If there was no ``forward``.

        Examples
        --------
        >>> loss = MeanSquaredError()
        >>> value = loss.forward(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
        >>> loss.backward()
        array([[ 1., -2.]])
        """
        if self._saved is None:
            raise TrainingError(f"{self._title}: backward needs a forward before it")
        return self._backward()

    def _forward(self, scores: Array, targets: Array) -> float:
        raise NotImplementedError

    def _backward(self) -> Array:
        raise NotImplementedError

    @property
    def _title(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss):
    """Cross-entropy between targets and the softmax of scores, averaged over the batch.

    ``-(1/N) * sum over n, c of t[n, c]*log(softmax(scores[n])[c])``, computed by log-softmax: large
    scores do not overflow, and no small number is added inside the logarithm.

    Targets are class numbers, an integer array (N,), or probabilities (N, C) whose rows sum to 1,
    one-hot ones for example. Which of both they are is told by the number of axes alone.

    Examples
    --------
    >>> loss = SoftmaxCrossEntropy()
    >>> scores = np.array([[0.0, np.log(3.0)]])
    >>> round(loss.forward(scores, np.array([1])), 6)  # log(4/3)
    0.287682
    >>> loss.backward()
    array([[ 0.25, -0.25]])
    """

    _saved: tuple[Array, Array] | None = None

    def _forward(self, scores: Array, targets: Array) -> float:
        if scores.ndim != 2:
            raise ShapeError(f"{self._title}: scores must have shape (N, C), got {scores.shape}")
        if targets.shape == scores.shape:
            check_probabilities(self._title, targets)
            ones = targets == 1
            if not np.count_nonzero(ones) == np.count_nonzero(targets) == len(targets):
                return self._forward_soft(scores, targets)
            targets = ones.argmax(axis=1)
        check_labels(self._title, scores, targets)
        probabilities, losses = ops.softmax_cross_entropy_forward(scores, targets)
        self._saved = (probabilities, targets)
        loss = mean_loss(losses)
        if math.isnan(loss):  # looked for here only: a label that is no class makes it NaN
            check_range(self._title, targets, scores.shape[1])
        return loss

    def _forward_soft(self, scores: Array, targets: Array) -> float:
        """Targets that are probabilities: the plain formula."""
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._saved = (np.exp(log_p), targets)
        return -float((targets * log_p).sum(axis=1).mean(dtype=np.float64))

    def _backward(self) -> Array:
        assert self._saved is not None
        probabilities, targets = self._saved
        if targets.ndim == 1:
            return ops.softmax_cross_entropy_backward(probabilities, targets)
        dout: Array = probabilities - targets.astype(probabilities.dtype, copy=False)
        dout /= len(targets)
        return dout


class CrossEntropy(Loss):
    """Cross-entropy between targets and probabilities, such as a `Softmax` layer gives.

    ``-(1/N) * sum over n, c of t[n, c]*log(p[n, c] + delta)``: the book's form, whose delta keeps
    the logarithm finite, and shifts loss and gradient in the sixth digit. `SoftmaxCrossEntropy`
    takes scores and needs none: train with that.

    Parameters
    ----------
    delta : float
        0 or more.

    Examples
    --------
    >>> loss = CrossEntropy()
    >>> loss.forward(np.array([[0.1, 0.3, 0.6]]), np.array([2]))
    0.510825457099338
    >>> loss.backward().round(4)
    array([[-0.    , -0.    , -1.6667]])
    """

    _saved: tuple[Array, Array] | None = None

    def __init__(self, delta: float = 1e-7) -> None:
        if not 0 <= delta < math.inf:
            raise ArgumentError(f"CrossEntropy: delta must be 0 or more, got {delta!r}")
        self.delta = delta

    def _forward(self, scores: Array, targets: Array) -> float:
        if scores.ndim != 2:
            raise ShapeError(
                f"{self._title}: probabilities must have shape (N, C), got {scores.shape}"
            )
        if targets.shape == scores.shape:
            check_probabilities(self._title, targets)
            targets = targets.astype(scores.dtype, copy=False)
        else:
            check_labels(self._title, scores, targets)
            check_range(self._title, targets, scores.shape[1])
            targets = (targets[:, None] == np.arange(scores.shape[1])).astype(scores.dtype)
        self._saved = (scores, targets)
        shifted = scores + scores.dtype.type(self.delta)
        # A target of 0 takes nothing, whatever the logarithm is there.
        logarithms = np.log(shifted, out=np.zeros_like(shifted), where=targets != 0)
        return -float((targets * logarithms).sum(axis=1).mean(dtype=np.float64))

    def _backward(self) -> Array:
        assert self._saved is not None
        probabilities, targets = self._saved
        shifted = probabilities + probabilities.dtype.type(self.delta)
        shares = np.divide(targets, shifted, out=np.zeros_like(shifted), where=targets != 0)
        return np.asarray(-shares / len(targets))

    def __repr__(self) -> str:
        return f"CrossEntropy(delta={self.delta!r})"


class _Difference(Loss):
    """A mean of a function of ``scores - targets``."""

    _saved: Array | None = None

    def __init__(self, features: Literal["mean", "sum"] = "mean") -> None:
        if features not in ("mean", "sum"):
            raise ArgumentError(
                f'{self._title}: features must be "mean" or "sum", got {features!r}'
            )
        self.features = features

    def _forward(self, scores: Array, targets: Array) -> float:
        if targets.shape != scores.shape:
            one_hot = "; make class numbers one-hot first" if targets.ndim == 1 else ""
            raise ShapeError(
                f"{self._title}: targets must have the scores' shape {scores.shape}, got "
                f"{targets.shape}{one_hot}"
            )
        if targets.dtype.kind not in "fiub":
            raise DtypeError(f"{self._title}: targets must be numbers, got {targets.dtype}")
        self._saved = scores - targets.astype(scores.dtype, copy=False)
        total = float(self._value(self._saved).sum(dtype=np.float64))
        return total / self._count(scores)

    def _backward(self) -> Array:
        assert self._saved is not None
        slope = self._slope(self._saved)
        slope /= self._count(self._saved)
        return slope

    def _count(self, scores: Array) -> int:
        return scores.size if self.features == "mean" else len(scores)

    def _value(self, difference: Array) -> Array:
        raise NotImplementedError

    def _slope(self, difference: Array) -> Array:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(features={self.features!r})"


class MeanSquaredError(_Difference):
    """The mean of ``(scores - targets)**2`` over all elements.

    Parameters
    ----------
    features : {"mean", "sum"}
        ``"sum"`` adds the elements of each sample up and takes the mean over the batch alone: the
        L2 loss. (The book's ``0.5*sum`` for one sample is half of that.)

    Examples
    --------
    >>> scores, targets = np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])
    >>> MeanSquaredError().forward(scores, targets)
    2.5
    >>> loss = MeanSquaredError(features="sum")
    >>> loss.forward(scores, targets), loss.backward()
    (5.0, array([[ 2., -4.]]))
    """

    def _value(self, difference: Array) -> Array:
        return np.asarray(np.square(difference))

    def _slope(self, difference: Array) -> Array:
        return 2 * difference


class SumSquaredError(MeanSquaredError):
    """Half the sum of ``(scores - targets)**2`` of each sample, averaged over the batch.

    The book's "mean squared error" and "sum of squares error": its gradient is
    ``(scores - targets)/N``.

    Examples
    --------
    >>> loss = SumSquaredError()
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])), loss.backward()
    (2.5, array([[ 1., -2.]]))
    """

    def __init__(self) -> None:
        super().__init__(features="sum")

    def _value(self, difference: Array) -> Array:
        return np.asarray(0.5 * np.square(difference))

    def _slope(self, difference: Array) -> Array:
        return 1 * difference  # a copy: it is divided in place

    def __repr__(self) -> str:
        return "SumSquaredError()"


class MeanAbsoluteError(_Difference):
    """The mean of ``|scores - targets|`` over all elements; its slope is 0 where they are equal.

    Parameters
    ----------
    features : {"mean", "sum"}
        ``"sum"`` adds the elements of each sample up and takes the mean over the batch alone: the
        L1 loss.

    Examples
    --------
    >>> loss = MeanAbsoluteError()
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])), loss.backward()
    (1.5, array([[ 0.5, -0.5]]))
    """

    def _value(self, difference: Array) -> Array:
        return np.asarray(np.abs(difference))

    def _slope(self, difference: Array) -> Array:
        return np.asarray(np.sign(difference))


def check_labels(title: str, scores: Array, targets: Array) -> None:
    """Raise unless the targets are class numbers, one for each row of scores."""
    samples = len(scores)
    if targets.shape != (samples,):
        raise ShapeError(
            f"{title}: for scores of shape {scores.shape} targets are class numbers "
            f"({samples},) or probabilities {scores.shape}, got {targets.shape}"
        )
    if targets.dtype.kind not in "iu":
        raise DtypeError(
            f"{title}: targets of shape (N,) are class numbers and must be integers, "
            f"got {targets.dtype}; convert them, for example t.astype(np.int64)"
        )


def check_range(title: str, targets: Array, classes: int) -> None:
    """Raise unless each class number is one."""
    low, high = targets.min(), targets.max()
    if low < 0 or high >= classes:
        raise ArgumentError(
            f"{title}: class numbers must be in 0..{classes - 1}, got {low if low < 0 else high}"
        )


def check_probabilities(title: str, targets: Array) -> None:
    """Raise unless each row is a distribution."""
    if targets.dtype.kind not in "fiub":
        raise DtypeError(f"{title}: targets must be numbers, got {targets.dtype}")
    sums = targets.sum(axis=1)
    if not (targets.min() >= 0 and np.abs(sums - 1).max() <= 1e-3):
        raise ArgumentError(
            f"{title}: targets of shape (N, C) are probabilities: each row must be "
            "0 or more and sum to 1"
        )
