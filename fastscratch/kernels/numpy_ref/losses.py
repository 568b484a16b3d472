"""Cross-entropy between class numbers and the softmax of scores, row by row."""

import numpy as np

from fastscratch.types import Array


def softmax_cross_entropy_forward(
    scores: Array, labels: Array, probabilities: Array, losses: Array, num_threads: int
) -> None:
    """probabilities = softmax(scores), losses[n] = -log(probabilities[n, labels[n]]).

    Computed by log-softmax: large scores do not overflow, and no logarithm of 0 is taken. A label
    that is no class makes its loss NaN.
    """
    shifted = scores - scores.max(axis=1, keepdims=True)
    np.exp(shifted, out=probabilities)
    total = probabilities.sum(axis=1)
    probabilities /= total[:, None]
    own = _is_own(labels, scores.shape[1])
    losses[...] = np.log(total) - np.where(own, shifted, 0).sum(axis=1)
    losses[~own.any(axis=1)] = np.nan


def softmax_cross_entropy_backward(
    probabilities: Array, labels: Array, dscores: Array, num_threads: int
) -> None:
    """dscores = (probabilities - 1 at the label)/N: the gradient of the mean loss."""
    np.subtract(probabilities, _is_own(labels, probabilities.shape[1]), out=dscores)
    dscores /= max(len(labels), 1)


def _is_own(labels: Array, classes: int) -> Array:
    """Whether a class is its row's own."""
    return np.asarray(labels[:, None] == np.arange(classes))
