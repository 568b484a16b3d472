"""The forms of images and labels, and the validation split."""

import numpy as np
import pytest

from fastscratch.data import split_validation, train_validation_test_split
from fastscratch.data.arrays import present_images, present_labels, shuffled_indices
from fastscratch.errors import ArgumentError, ShapeError


def test_images_scale_exactly():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    out = present_images(images, flatten=False, normalize=True, maximum=255)
    assert out.dtype == np.float32 and out.shape == (4, 1, 8, 8)
    np.testing.assert_array_equal(out.ravel(), (np.arange(256) / 255).astype(np.float32))
    flat = present_images(images, flatten=True, normalize=False, maximum=255)
    assert flat.dtype == np.uint8 and flat.shape == (4, 64)


def test_no_images():
    empty = np.empty((0, 8, 8), np.uint8)
    assert present_images(empty, flatten=True, normalize=True, maximum=16).shape == (0, 64)
    assert present_labels(np.empty(0, np.uint8), one_hot=True).shape == (0, 10)


def test_split_holds_every_sample_once_in_pairs():
    x, t = np.arange(60000, dtype=np.float32), np.arange(60000)
    (x_train, t_train), (x_validation, t_validation) = split_validation(x, t, 0.2)
    assert len(x_validation) == 12000
    np.testing.assert_array_equal(x_train, t_train)
    np.testing.assert_array_equal(x_validation, t_validation)
    np.testing.assert_array_equal(np.sort(np.concatenate([t_train, t_validation])), t)
    assert np.any(np.diff(t_validation) < 0)  # shuffled


def test_split_depends_on_the_seed_alone():
    x, t = np.arange(50.0), np.arange(50)
    one, again, other = (split_validation(x, t, 0.5, seed=seed)[1][1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), 0.01])
def test_split_refuses(fraction):
    with pytest.raises(ArgumentError, match="fraction"):
        split_validation(np.zeros(5), np.zeros(5), fraction)


def test_split_refuses_unequal_lengths():
    with pytest.raises(ShapeError, match="5 samples but t has 4"):
        split_validation(np.zeros(5), np.zeros(4))


def test_shuffle_is_pinned():
    # A resumed run, and a run of years ago, draw the same order.
    assert shuffled_indices(8, 0, 1).tolist() == [3, 7, 4, 2, 1, 6, 5, 0]
    assert shuffled_indices(0, 3).tolist() == []
    np.testing.assert_array_equal(np.sort(shuffled_indices(1000, 5)), np.arange(1000))


def test_three_parts_hold_every_sample_once():
    x, t = np.arange(200.0).reshape(100, 2), np.arange(100)
    parts = train_validation_test_split(x, t, 0.2, 0.1, seed=3)
    assert [len(labels) for _, labels in parts] == [70, 20, 10]
    assert sorted(np.concatenate([labels for _, labels in parts])) == list(range(100))
    for samples, labels in parts:
        np.testing.assert_array_equal(samples, x[labels])
    again = train_validation_test_split(x, t, 0.2, 0.1, seed=3)
    assert all((a[1] == b[1]).all() for a, b in zip(parts, again, strict=True))
    other = train_validation_test_split(x, t, 0.2, 0.1, seed=4)
    assert (other[0][1] != parts[0][1]).any()


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0, 0.2), (0.2, 1.0), (0.001, 0.2)])
def test_three_parts_must_all_hold_something(shares):
    with pytest.raises(ArgumentError, match="train_validation_test_split"):
        train_validation_test_split(np.ones((10, 2)), np.ones(10), *shares)
    with pytest.raises(ShapeError, match="x has 10 samples but t has 9"):
        train_validation_test_split(np.ones((10, 2)), np.ones(9))
