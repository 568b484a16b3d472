"""Loss and accuracy over all samples, the last partial batch counted for what it holds."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers import Dense
from fastscratch.losses import MeanSquaredError, SoftmaxCrossEntropy
from fastscratch.training import accuracy, confusion_table, evaluate


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 1000])
def test_partial_batches_weigh_what_they_hold(batch_size):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((10, 4))
    t = rng.integers(0, 3, 10)
    model = Dense(3)
    model.build((4,), np.float64, seed=0)
    scores = model.forward(x)
    found = evaluate(model, SoftmaxCrossEntropy(), x, t, batch_size=batch_size)
    assert found.samples == 10
    assert found.accuracy == np.mean(scores.argmax(axis=1) == t)
    ref = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(10), t])
    assert found.loss == pytest.approx(ref, rel=1e-12)


def test_all_right_is_one_whatever_the_batch():
    # An accuracy that drops the last batch but divides by all samples would say 0.9.
    x = np.eye(10)
    model = Dense(10, weight_init="zeros")
    model.build((10,), np.float64)
    model.weight.value[...] = np.eye(10)
    assert evaluate(model, SoftmaxCrossEntropy(), x, np.arange(10), batch_size=3).accuracy == 1.0


def test_one_hot_labels():
    scores = np.array([[1.0, 2, 0], [5, 1, 1], [0, 0, 1]])
    labels = np.array([1, 0, 0])
    assert accuracy(scores, labels) == accuracy(scores, np.eye(3)[labels]) == 2 / 3


def test_confusion_table():
    scores = np.eye(3)[[0, 1, 1, 2, 0]]
    table = confusion_table(scores, np.array([0, 1, 2, 2, 2]))
    np.testing.assert_array_equal(table, [[1, 0, 0], [0, 1, 0], [1, 1, 1]])
    assert table.sum() == 5


def test_regression_has_no_accuracy_unless_asked_for():
    model = Dense(2)
    x = np.ones((5, 3), np.float32)
    t = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0]]
    assert evaluate(model, MeanSquaredError(), x, t).accuracy is None
    assert evaluate(model, MeanSquaredError(), x, t, accuracy=True).accuracy in (0.4, 0.6)


def test_refusals():
    model, loss = Dense(2), SoftmaxCrossEntropy()
    with pytest.raises(ArgumentError, match="no samples"):
        evaluate(model, loss, np.zeros((0, 3), np.float32), np.zeros(0, int))
    with pytest.raises(ArgumentError, match="no samples"):
        accuracy(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ShapeError, match="2 samples but t has 3"):
        evaluate(model, loss, np.zeros((2, 3), np.float32), np.zeros(3, int))
    # As many elements as scores, but no one-hot rows: never taken for them.
    with pytest.raises(ShapeError, match="do not fit"):
        accuracy(np.zeros((4, 1)), np.zeros((2, 2)))
