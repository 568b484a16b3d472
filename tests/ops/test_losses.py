"""Softmax cross-entropy as an operation: stable, exact in its gradient, safe with bad labels."""

import numpy as np
import pytest

from fastscratch import ops
from fastscratch.errors import DtypeError, ShapeError

SCORES = np.random.default_rng(0).standard_normal((6, 5))
LABELS = np.array([0, 4, 2, 2, 1, 3])


def test_probabilities_and_losses(backend):
    probabilities, losses = ops.softmax_cross_entropy_forward(SCORES, LABELS, backend=backend)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(losses, -np.log(probabilities[np.arange(6), LABELS]), rtol=1e-13)


def test_gradient_of_the_mean(backend):
    probabilities, _ = ops.softmax_cross_entropy_forward(SCORES, LABELS, backend=backend)
    dscores = ops.softmax_cross_entropy_backward(probabilities, LABELS, backend=backend)
    for place in [(0, 0), (1, 4), (3, 1)]:
        losses = []
        for sign in (1, -1):
            moved = SCORES.copy()
            moved[place] += sign * 1e-6
            losses.append(ops.softmax_cross_entropy_forward(moved, LABELS, backend=backend)[1])
        slope = (losses[0].mean() - losses[1].mean()) / 2e-6
        assert dscores[place] == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_do_not_overflow(dtype, backend):
    scores = np.array([[1e4, 0, -1e4]], dtype)
    _, losses = ops.softmax_cross_entropy_forward(scores, np.array([2]), backend=backend)
    assert losses.tolist() == [2e4]
    probabilities, losses = ops.softmax_cross_entropy_forward(
        scores, np.array([0]), backend=backend
    )
    assert (probabilities.tolist(), losses.tolist()) == ([[1, 0, 0]], [0])


def test_a_label_that_is_no_class_gives_nan_and_touches_nothing(backend):
    labels = np.array([-1, 5, 2**62, -(2**62), 1, 3])
    probabilities, losses = ops.softmax_cross_entropy_forward(SCORES, labels, backend=backend)
    assert np.isnan(losses).tolist() == [True] * 4 + [False] * 2
    dscores = ops.softmax_cross_entropy_backward(probabilities, labels, backend=backend)
    np.testing.assert_allclose(dscores[:4], probabilities[:4] / 6, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_type(dtype):
    ref = ops.softmax_cross_entropy_forward(SCORES, LABELS)[1]
    out = ops.softmax_cross_entropy_forward(SCORES, LABELS.astype(dtype))[1]
    np.testing.assert_array_equal(out, ref)


def test_what_does_not_fit_is_refused():
    forward = ops.softmax_cross_entropy_forward
    with pytest.raises(DtypeError, match="labels must be integers, got float64"):
        forward(SCORES, LABELS.astype(float))
    with pytest.raises(ShapeError, match=r"scores has 6 rows, so labels must have shape \(6,\)"):
        forward(SCORES, LABELS[:3])
    with pytest.raises(ShapeError, match="one class or more"):
        forward(np.ones((2, 0)), LABELS[:2])
    with pytest.raises(ShapeError, match=r"axes \(N, C\)"):
        forward(SCORES[0], LABELS)
