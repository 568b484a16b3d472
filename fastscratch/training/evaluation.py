"""How good a network is: loss, accuracy and confusion over all samples, in batches."""

from typing import Any, NamedTuple

import numpy as np

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.losses import CrossEntropy, SoftmaxCrossEntropy
from fastscratch.types import Array


class Evaluation(NamedTuple):
    """What `evaluate` found."""

    loss: float
    accuracy: float | None
    samples: int


def evaluate(
    model: Any,
    loss: Any,
    x: Array,
    t: Array,
    *,
    batch_size: int = 256,
    accuracy: bool | None = None,
) -> Evaluation:
    """Loss and accuracy over all samples, computed in batches as in prediction.

    Parameters
    ----------
    model : Layer
        Stays as it is.
    loss : Loss
        A mean over the batch; the result is the mean over all samples.
    x, t : ndarray
        Samples and targets.
    batch_size : int
        Samples at a time; the last batch may hold fewer and counts for what it holds.
    accuracy : bool, optional
        Whether to count hits; None means where the loss is a cross-entropy.

    Returns
    -------
    Evaluation
        ``loss``, ``accuracy`` (None if not counted) and ``samples``.

    Raises
    ------
    ArgumentError
        If there are no samples.
    ShapeError
        If `x` and `t` differ in length.

    Examples
    --------
    >>> from fastscratch.layers import Dense
    >>> from fastscratch.losses import MeanSquaredError
    >>> dense, zeros = Dense(2), np.zeros((3, 2), np.float32)
    >>> evaluate(dense, MeanSquaredError(), zeros, zeros)
    Evaluation(loss=0.0, accuracy=None, samples=3)
    """
    if len(x) != len(t):
        raise ShapeError(f"evaluate: x has {len(x)} samples but t has {len(t)}")
    if len(x) == 0:
        raise ArgumentError("evaluate: there are no samples")
    counted = counts_hits(loss) if accuracy is None else accuracy
    total, hits = 0.0, 0
    for start in range(0, len(x), batch_size):
        targets = t[start : start + batch_size]
        scores = model.forward(x[start : start + batch_size])
        total += loss.forward(scores, targets) * len(targets)
        if counted:
            hits += count_hits(scores, targets)
    return Evaluation(total / len(x), hits / len(x) if counted else None, len(x))


def accuracy(scores: Array, t: Array) -> float:
    """Share of the rows whose largest score is that of the right class.

    Parameters
    ----------
    scores : ndarray, shape (N, classes)
        Or probabilities.
    t : ndarray, shape (N,) or (N, classes)
        Integer or one-hot labels.

    Returns
    -------
    float

    Examples
    --------
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    if len(scores) == 0:
        raise ArgumentError("accuracy: there are no samples")
    return count_hits(scores, t) / len(scores)


def confusion_table(scores: Array, t: Array) -> Array:
    """How often each class was taken for each.

    Parameters
    ----------
    scores : ndarray, shape (N, classes)
        Or probabilities.
    t : ndarray, shape (N,) or (N, classes)
        Integer or one-hot labels.

    Returns
    -------
    ndarray of int, shape (classes, classes)
        Row: the right class; column: the class with the largest score.

    Examples
    --------
    >>> confusion_table(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    array([[0, 0],
           [1, 1]])
    """
    labels = _labels(scores, t)
    table = np.zeros((scores.shape[1],) * 2, np.int64)
    np.add.at(table, (labels, scores.argmax(axis=1)), 1)
    return table


def counts_hits(loss: Any) -> bool:
    """Whether a loss compares classes, so that an accuracy has a meaning."""
    return isinstance(loss, SoftmaxCrossEntropy | CrossEntropy)


def count_hits(scores: Array, t: Array) -> int:
    """Number of rows whose largest score is that of the right class."""
    return int(np.count_nonzero(scores.argmax(axis=1) == _labels(scores, t)))


def _labels(scores: Array, t: Array) -> Array:
    if scores.ndim != 2 or t.shape not in (scores.shape, scores.shape[:1]):
        raise ShapeError(
            f"scores of shape {scores.shape} and labels of shape {t.shape} do not fit: "
            f"they must be (N, classes) with (N,) or (N, classes)"
        )
    return t.argmax(axis=1) if t.ndim == 2 else t
