"""Losses: values from the source documents, labels of both kinds, stability, gradients."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastscratch.errors import ArgumentError, DtypeError, ShapeError, TrainingError
from fastscratch.gradient_check import numerical_gradient
from fastscratch.losses import (
    CrossEntropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    SumSquaredError,
)

# The documents' example: outputs for ten classes, the right one being 2.
GOOD = np.array([[0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]])
BAD = np.array([[0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0]])
TWO = np.eye(10)[[2]]

LOSSES = {
    "softmax": SoftmaxCrossEntropy(),
    "squared": MeanSquaredError(),
    "half_squared_sum": SumSquaredError(),
    "squared_sum": MeanSquaredError(features="sum"),
    "absolute": MeanAbsoluteError(),
    "absolute_sum": MeanAbsoluteError(features="sum"),
}


def scores_of(n, c, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((n, c)).astype(dtype)


@pytest.mark.parametrize(("scores", "book"), [(GOOD, 0.09750000000000003), (BAD, 0.5975)])
def test_squared_error_of_the_documents(scores, book):
    assert 0.5 * MeanSquaredError(features="sum").forward(scores, TWO) == pytest.approx(
        book, rel=1e-14
    )
    assert MeanSquaredError().forward(scores, TWO) == pytest.approx(2 * book / 10, rel=1e-14)


@pytest.mark.parametrize(("scores", "book"), [(GOOD, 0.510825457099338), (BAD, 2.302584092994546)])
def test_cross_entropy_of_the_documents(scores, book):
    # They give probabilities and add 1e-7 inside the logarithm; scores are log-probabilities here.
    probabilities = scores + 1e-7
    value = SoftmaxCrossEntropy().forward(np.log(probabilities), np.array([2]))
    assert value - np.log(probabilities.sum()) == pytest.approx(book, rel=1e-12)


def test_the_documents_gradient_of_simple_net():
    weight = np.array(
        [[1.48560966, -0.14753772, -0.31133111], [0.84614063, -1.36949181, -0.52690748]]
    )
    x = np.array([[0.6, 0.9]])
    loss = SoftmaxCrossEntropy()
    assert loss.forward(x @ weight, np.array([2])) == pytest.approx(2.453646622845499, rel=1e-5)
    expected = [[0.52175057, 0.0266618, -0.54841237], [0.78262585, 0.0399927, -0.82261856]]
    np.testing.assert_allclose(x.T @ loss.backward(), expected, atol=2e-8)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_agrees_with_differences(name, dtype):
    loss = LOSSES[name]
    scores = scores_of(4, 5)
    targets = scores_of(4, 5, seed=1) if name != "softmax" else np.array([0, 4, 2, 2])
    expected = numerical_gradient(lambda s: loss.forward(s, targets), scores.copy())
    value = loss.forward(scores.astype(dtype), targets)
    dout = loss.backward()
    assert isinstance(value, float) and dout.dtype == dtype and dout.shape == scores.shape
    np.testing.assert_allclose(dout, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_the_batch_is_averaged(name):
    loss = LOSSES[name]
    scores = scores_of(3, 4)
    targets = np.array([0, 1, 3]) if name == "softmax" else scores_of(3, 4, seed=1)
    once = loss.forward(scores, targets)
    grad = loss.backward()
    twice = loss.forward(np.concatenate([scores] * 2), np.concatenate([targets] * 2))
    assert twice == pytest.approx(once, rel=1e-12)
    np.testing.assert_allclose(loss.backward()[:3], grad / 2, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_are_left_alone(name):
    loss = LOSSES[name]
    scores, targets = scores_of(3, 4), np.eye(4)[:3]
    kept = scores.copy(), targets.copy()
    scores.flags.writeable = targets.flags.writeable = False
    loss.forward(scores, targets)
    first = loss.backward()
    first.fill(np.nan)
    assert np.isfinite(loss.backward()).all(), "backward returns a fresh array"
    assert np.array_equal(scores, kept[0]) and np.array_equal(targets, kept[1])


@pytest.mark.parametrize("n", [1, 3, 4, 7])
@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_both_kinds_of_labels_agree(n, integer):
    # n = 4 classes included: which kind they are is told by the axes, not by the sizes.
    scores, labels = scores_of(n, 4), (np.arange(n) % 4).astype(integer)
    loss = SoftmaxCrossEntropy()
    value, dout = loss.forward(scores, labels), loss.backward()
    for one_hot in (
        np.eye(4)[labels],
        np.eye(4, dtype=np.int64)[labels],
        np.eye(4, dtype=bool)[labels],
    ):
        assert loss.forward(scores, one_hot) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(loss.backward(), dout, rtol=1e-12, atol=1e-15)


def test_soft_labels():
    scores = scores_of(2, 3)
    targets = np.array([[0.2, 0.3, 0.5], [0.0, 0.5, 0.5]])
    loss = SoftmaxCrossEntropy()
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss.forward(scores, targets) == pytest.approx(-(targets * np.log(p)).sum() / 2)
    np.testing.assert_allclose(loss.backward(), (p - targets) / 2, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_stay_finite(dtype):
    scores = np.array([[1e4, 0.0, -1e4], [-1e30, 1e30, 0.0]], dtype)
    loss = SoftmaxCrossEntropy()
    assert loss.forward(scores, np.array([0, 1])) == 0.0
    assert loss.forward(scores, np.array([2, 1])) == pytest.approx(1e4)
    assert np.isfinite(loss.backward()).all()


@given(st.integers(1, 6), st.integers(2, 6), st.floats(-50, 50), st.integers(0, 99))
def test_softmax_gradient_rows_sum_to_zero_and_shifts_do_not_matter(n, c, shift, seed):
    scores, labels = scores_of(n, c, seed), np.random.default_rng(seed).integers(0, c, n)
    loss = SoftmaxCrossEntropy()
    value, dout = loss.forward(scores, labels), loss.backward()
    np.testing.assert_allclose(dout.sum(axis=1), 0, atol=1e-12)
    assert loss.forward(scores + shift, labels) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_an_untrained_network_loses_log_of_the_classes():
    assert SoftmaxCrossEntropy().forward(np.zeros((5, 10)), np.arange(5)) == pytest.approx(
        np.log(10)
    )


def test_nan_scores_give_a_nan_loss():
    scores = np.array([[np.nan, 1.0]])
    for loss in LOSSES.values():
        assert np.isnan(loss.forward(scores, np.array([[1.0, 0.0]])))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (np.array([0, 3, 1, 0]), ArgumentError, r"0\.\.2, got 3"),
        (np.array([0, -1, 1, 0]), ArgumentError, "got -1"),
        (np.array([0.0, 1.0, 2.0, 0.0]), DtypeError, "integers"),
        (np.array([0, 1, 2]), ShapeError, r"\(4,\)"),
        (np.array([[0], [1], [2], [0]]), ShapeError, r"\(4, 1\)"),
        (np.zeros((4, 3)), ArgumentError, "sum to 1"),
        (np.full((4, 3), [2.0, -0.5, -0.5]), ArgumentError, "0 or more"),
        (np.full((4, 3), np.nan), ArgumentError, "sum to 1"),
        (np.random.default_rng(0).random((4, 3)), ArgumentError, "probabilities"),
        (np.array(["a", "b", "c", "a"]), DtypeError, "integers"),
    ],
)
def test_labels_that_are_none(targets, error, message):
    with pytest.raises(error, match=f"^SoftmaxCrossEntropy: .*{message}"):
        SoftmaxCrossEntropy().forward(scores_of(4, 3), targets)


def test_regression_targets_have_the_scores_shape():
    for loss in (MeanSquaredError(), MeanAbsoluteError()):
        with pytest.raises(ShapeError, match="one-hot"):
            loss.forward(scores_of(4, 3), np.array([0, 1, 2, 0]))
        # (4, 1) would broadcast.
        with pytest.raises(ShapeError):
            loss.forward(scores_of(4, 3), np.zeros((4, 1)))
        with pytest.raises(DtypeError):
            loss.forward(scores_of(1, 2), np.array([["a", "b"]]))


def test_integer_targets_of_a_regression():
    assert MeanSquaredError().forward(np.array([[1.0, 2.0]]), np.array([[0, 4]])) == 2.5
    assert MeanSquaredError().forward(np.array([[1.0, 0.0]]), np.array([[2, 0]], np.uint8)) == 0.5


def test_absolute_error_is_the_mean_of_distances():
    loss = MeanAbsoluteError()
    assert (
        loss.forward(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [0.0, 4.0]])) == 1.25
    )
    assert loss.backward().tolist() == [[0, -0.25], [0.25, 0]]
    assert MeanAbsoluteError("sum").forward(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])) == 3.0


@pytest.mark.parametrize("scores", [np.zeros((2, 3), int), [[1.0]], np.zeros((2, 3), np.float16)])
def test_scores_of_other_kinds(scores):
    for loss in LOSSES.values():
        with pytest.raises(DtypeError, match="float32 or float64"):
            loss.forward(scores, np.zeros(2, int))


@pytest.mark.parametrize("shape", [(0, 3), (3,), ()])
def test_scores_without_samples(shape):
    for loss in LOSSES.values():
        with pytest.raises(ShapeError):
            loss.forward(np.zeros(shape), np.zeros(shape, int))


def test_backward_needs_forward():
    for kind in (SoftmaxCrossEntropy, MeanSquaredError, MeanAbsoluteError):
        with pytest.raises(TrainingError, match="forward"):
            kind().backward()


def test_unknown_reduction():
    with pytest.raises(ArgumentError, match="features"):
        MeanSquaredError(features="max")  # type: ignore[arg-type]


@pytest.mark.parametrize(("scores", "book"), [(GOOD, 0.510825457099338), (BAD, 2.302584092994546)])
@pytest.mark.parametrize("targets", [TWO, np.array([2])])
def test_cross_entropy_of_probabilities(scores, book, targets):
    assert CrossEntropy().forward(scores, targets) == book


@pytest.mark.parametrize("delta", [1e-7, 0.1])
def test_gradient_of_cross_entropy_of_probabilities(delta):
    loss = CrossEntropy(delta)
    p = np.random.default_rng(0).uniform(0.2, 1, (4, 5))
    for targets in (np.array([0, 4, 2, 2]), np.random.default_rng(1).dirichlet(np.ones(5), 4)):
        ref = numerical_gradient(partial(loss.forward, targets=targets), p.copy())
        loss.forward(p, targets)
        np.testing.assert_allclose(loss.backward(), ref, rtol=1e-6, atol=1e-9)


def test_probability_zero_counts_where_it_was_wanted_alone():
    p, t = np.array([[1.0, 0.0]]), np.array([0])
    with np.errstate(divide="ignore"):
        assert CrossEntropy(0).forward(p, t) == 0
        assert CrossEntropy(0).forward(p, 1 - t) == np.inf
    assert np.isfinite(CrossEntropy().forward(p, 1 - t)), "what delta is for"
    assert CrossEntropy().forward(p.astype(np.float32), 1 - t) == pytest.approx(-np.log(1e-7))


def test_cross_entropy_of_probabilities_refuses_what_does_not_fit():
    with pytest.raises(ArgumentError, match=r"CrossEntropy: class numbers must be in 0\.\.9"):
        CrossEntropy().forward(GOOD, np.array([10]))
    with pytest.raises(ShapeError, match="CrossEntropy"):
        CrossEntropy().forward(GOOD, np.array([1, 2]))
    with pytest.raises(ArgumentError, match="delta"):
        CrossEntropy(-1.0)
    loss = CrossEntropy()
    kept = GOOD.copy()
    loss.forward(GOOD, TWO)
    loss.backward()
    np.testing.assert_array_equal(GOOD, kept)


def test_half_the_sum_of_squares_is_the_books():
    assert SumSquaredError().forward(GOOD, TWO) == 0.09750000000000003
    assert SumSquaredError().forward(BAD, TWO) == 0.5975
    both = np.concatenate([GOOD, BAD]), np.concatenate([TWO, TWO])
    loss = SumSquaredError()
    assert loss.forward(*both) == pytest.approx((0.0975 + 0.5975) / 2, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), (both[0] - both[1]) / 2)
