"""The bundled digits: their forms, and the split that never changes."""

import hashlib

import numpy as np
import pytest

from fastscratch.data import digits, load_digits
from fastscratch.errors import DataError


def test_forms():
    (x_train, t_train), (x_test, t_test) = load_digits()
    assert x_train.shape == (1437, 1, 8, 8) and x_test.shape == (360, 1, 8, 8)
    assert x_train.dtype == x_test.dtype == np.float32
    assert x_train.min() == 0 and x_train.max() == 1
    assert t_train.dtype == np.int64 and t_train.shape == (1437,) and t_test.shape == (360,)
    assert all(array.flags.c_contiguous for array in (x_train, t_train, x_test, t_test))


def test_flat_one_hot_raw():
    (x, t), _ = load_digits()
    (flat, one_hot), _ = load_digits(flatten=True, one_hot=True)
    (raw, _), _ = load_digits(normalize=False)
    np.testing.assert_array_equal(flat, x.reshape(1437, 64))
    np.testing.assert_array_equal(one_hot, np.eye(10, dtype=np.float32)[t])
    assert raw.dtype == np.uint8 and raw.max() == 16
    np.testing.assert_array_equal(raw / np.float32(16), x)


def test_split_is_stratified_and_disjoint():
    labels = np.concatenate([np.full(n, digit) for digit, n in enumerate([30, 50] + [40] * 8)])
    order = np.argsort((np.arange(len(labels)) * 7919) % 997)
    train, test = digits.split_indices(labels[order])
    assert len(test) == digits.TEST_COUNT
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(400))
    np.testing.assert_array_equal(np.bincount(labels[order][test]), [27, 45] + [36] * 8)


def test_split_of_the_digits_never_changes():
    (x_train, t_train), (x_test, t_test) = load_digits(normalize=False)
    np.testing.assert_array_equal(np.bincount(t_test), [36, 37, 35, 37, 36, 36, 36, 36, 35, 36])
    digest = hashlib.sha256(x_test.tobytes() + t_test.astype("<i8").tobytes()).hexdigest()
    assert digest == "c1157ad1600b8cbe167fa04c60068b85296c7b77a6ec1e7a1bd7eec091c21a67"
    images = np.concatenate([x_train, x_test])
    assert len(images) == 1797 and len(t_train) == 1437
    # Duplicates in the source aside, no test image is among the training images.
    seen = {image.tobytes() for image in x_train}
    assert sum(image.tobytes() in seen for image in x_test) == 0


def test_damaged_package_file_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "bundled"
    folder.mkdir()
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"digits\.npz cannot be read.*reinstall"):
        load_digits()
    (folder / "digits.npz").write_bytes(b"PK something else")
    with pytest.raises(DataError, match=r"digits\.npz is damaged.*reinstall"):
        load_digits()
