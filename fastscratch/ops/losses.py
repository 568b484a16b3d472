"""Cross-entropy between class numbers and the softmax of scores, and its gradient."""

import numpy as np

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.kernels.arrays import LABELS
from fastscratch.kernels.problem import ChannelsProblem
from fastscratch.ops.plan import as_input, call, dtype_name, expect_dims, pair
from fastscratch.types import Array


def softmax_cross_entropy_forward(
    scores: Array,
    labels: Array,
    *,
    backend: str | None = None,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Probabilities of classes, and how unlikely each row's own class was found.

    ``probabilities = softmax(scores)`` and ``losses[n] = -log(probabilities[n, labels[n]])``, by
    log-softmax: large scores do not overflow, and no logarithm of 0 is taken.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (N, C)
        One row a sample.
    labels : ndarray of int, shape (N,)
        Class numbers. One that is no class makes its loss NaN.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : (ndarray, ndarray), optional
        Where to write the results.

    Returns
    -------
    (ndarray, ndarray)
        Probabilities (N, C), and losses (N,).

    Raises
    ------
    ShapeError
        If there is no class, or the two do not fit.
    DtypeError
        If scores are neither float32 nor float64, or labels are no integers.
    BackendUnavailableError
        If the implementation that is named is not there.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy_forward(np.array([[0.0, np.log(3.0)]]), np.array([1]))
    (array([[0.25, 0.75]]), array([0.28768207]))
    """
    op = "softmax_cross_entropy_forward"
    probabilities, losses = call(
        op,
        forward_problem,
        (scores, _as_labels(labels, op)),
        (),
        backend,
        pair(out, op, "(probabilities, losses)"),
    )
    return probabilities, losses


def softmax_cross_entropy_backward(
    probabilities: Array, labels: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Gradient of the mean of the losses with respect to the scores.

    ``dscores[n, c] = (probabilities[n, c] - (c == labels[n]))/N``.

    Parameters
    ----------
    probabilities : ndarray of float32 or float64, shape (N, C)
        From `softmax_cross_entropy_forward`.
    labels : ndarray of int, shape (N,)
        Class numbers, as there.
    backend : str, optional
        As there.
    out : ndarray, shape (N, C), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C)

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `softmax_cross_entropy_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy_backward(np.array([[0.25, 0.75]]), np.array([1]))
    array([[ 0.25, -0.25]])
    """
    op = "softmax_cross_entropy_backward"
    (dscores,) = call(
        op, backward_problem, (probabilities, _as_labels(labels, op)), (), backend, (out,)
    )
    return dscores


def _as_labels(labels: Array, op: str) -> Array:
    if isinstance(labels, np.ndarray) and labels.dtype == LABELS:
        return labels
    labels = as_input(labels, "labels", op)
    if labels.dtype.kind not in "iu":
        raise DtypeError(f"{op}: labels must be integers, got {labels.dtype}")
    return labels.astype(LABELS)


def forward_problem(scores: Array, labels: Array) -> ChannelsProblem:
    """The problem that a call of `softmax_cross_entropy_forward` poses, its arguments checked."""
    return _problem("softmax_cross_entropy_forward", "scores", scores, labels)


def backward_problem(probabilities: Array, labels: Array) -> ChannelsProblem:
    """The problem that a call of `softmax_cross_entropy_backward` poses, its arguments checked."""
    return _problem("softmax_cross_entropy_backward", "probabilities", probabilities, labels)


def _problem(op: str, name: str, rows: Array, labels: Array) -> ChannelsProblem:
    dtype = dtype_name(op, **{name: rows})
    expect_dims(op, name, rows, "(N, C)")
    N, C = rows.shape
    if labels.shape != (N,):
        raise ShapeError(f"{op}: {name} has {N} rows, so labels must have shape ({N},), got "
                         f"{labels.shape}")  # fmt: skip
    if C < 1:
        raise ShapeError(f"{op}: there must be one class or more, got {name} of {rows.shape}")
    return ChannelsProblem(op, dtype, N, C)


def mean_loss(losses: Array) -> float:
    """The mean of losses, in float64."""
    return float(np.add.reduce(losses, dtype=np.float64)) / len(losses)
