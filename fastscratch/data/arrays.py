"""The forms in which images and labels are handed out, and the split that sets a part aside."""

import math

import numpy as np

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.types import Array

Split = tuple[tuple[Array, Array], tuple[Array, Array]]
"""``(x_train, t_train), (x_test, t_test)``."""

CLASSES = 10
"""Every data set here has ten."""


def present_images(images: Array, *, flatten: bool, normalize: bool, maximum: int) -> Array:
    """(N, H, W) uint8 -> (N, 1, H, W), or (N, H*W); float32 in [0, 1] if `normalize`."""
    count, height, width = images.shape
    shape = (count, height * width) if flatten else (count, 1, height, width)
    shaped = images.reshape(shape)
    if not normalize:
        return np.ascontiguousarray(shaped)
    # A true division, so that maximum becomes exactly 1; multiplying by 1/255 would round twice.
    return np.divide(shaped, np.float32(maximum), dtype=np.float32)


def present_labels(labels: Array, *, one_hot: bool) -> Array:
    """(N,) uint8 -> (N,) int64, or (N, 10) float32 with a single 1 in each row if `one_hot`."""
    if not one_hot:
        return labels.astype(np.int64)
    rows = np.zeros((len(labels), CLASSES), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def split_validation(x: Array, t: Array, fraction: float = 0.2, *, seed: int = 0) -> Split:
    """Shuffle a training set and set a part of it aside for validation.

    Parameters
    ----------
    x, t : ndarray
        Samples and their targets, first axis in common.
    fraction : float
        Share that is set aside, between 0 and 1; the number of samples is rounded to the nearest.
    seed : int
        The shuffle is a function of the seed and the number of samples alone.

    Returns
    -------
    (x_train, t_train), (x_validation, t_validation) : ndarray
        Copies; together they hold every sample once.

    Raises
    ------
    ShapeError
        If `x` and `t` differ in length.
    ArgumentError
        If `fraction` is not between 0 and 1, or one of the two parts would be empty.

    Examples
    --------
    >>> x = np.arange(10.0).reshape(5, 2)
    >>> t = np.arange(5)
    >>> (x_train, t_train), (x_validation, t_validation) = split_validation(x, t, 0.2)
    >>> x_train.shape, x_validation.shape
    ((4, 2), (1, 2))
    """
    count = len(x)
    if count != len(t):
        raise ShapeError(f"split_validation: x has {count} samples but t has {len(t)}")
    if not 0 < fraction < 1:
        raise ArgumentError(f"split_validation: fraction must lie between 0 and 1, got {fraction}")
    aside = math.floor(fraction * count + 0.5)
    if not 0 < aside < count:
        raise ArgumentError(
            f"split_validation: fraction {fraction} of {count} samples leaves one part empty"
        )
    order = shuffled_indices(count, seed)
    return (x[order[aside:]], t[order[aside:]]), (x[order[:aside]], t[order[:aside]])


def train_validation_test_split(
    x: Array, t: Array, validation: float = 0.2, test: float = 0.2, *, seed: int = 0
) -> tuple[tuple[Array, Array], tuple[Array, Array], tuple[Array, Array]]:
    """Shuffle samples and part them in three: to train on, to choose by, and to judge the choice.

    Parameters
    ----------
    x, t : ndarray
        Samples and their targets, first axis in common.
    validation, test : float
        Shares, each between 0 and 1; the numbers of samples are rounded to the nearest.
    seed : int
        The shuffle is a function of the seed and the number of samples alone.

    Returns
    -------
    (x_train, t_train), (x_validation, t_validation), (x_test, t_test) : ndarray
        Copies; together they hold every sample once.

    Raises
    ------
    ShapeError
        If `x` and `t` differ in length.
    ArgumentError
        If a share is not between 0 and 1, or a part would be empty.

    Examples
    --------
    >>> x, t = np.arange(20.0).reshape(10, 2), np.arange(10)
    >>> [len(part[1]) for part in train_validation_test_split(x, t, 0.2, 0.3)]
    [5, 2, 3]
    """
    count = len(x)
    if count != len(t):
        raise ShapeError(f"train_validation_test_split: x has {count} samples but t has {len(t)}")
    for name, share in (("validation", validation), ("test", test)):
        if not 0 < share < 1:
            raise ArgumentError(
                f"train_validation_test_split: {name} must lie between 0 and 1, got {share}"
            )
    aside = [math.floor(share * count + 0.5) for share in (validation, test)]
    if min(aside) < 1 or sum(aside) >= count:
        raise ArgumentError(
            f"train_validation_test_split: validation {validation} and test {test} of {count} "
            "samples leave a part empty"
        )
    order = shuffled_indices(count, seed)
    first, second = aside[0], aside[0] + aside[1]
    parts = (order[second:], order[:first], order[first:second])
    train, middle, last = ((x[part], t[part]) for part in parts)
    return train, middle, last


def shuffled_indices(count: int, *key: int) -> Array:
    """A permutation of range(count), decided by `count` and the non-negative ints in `key` alone.

    It sorts the raw output of the bit generator, rather than calling ``Generator.permutation``:
    NumPy guarantees the raw stream across its versions, and not the generator's methods.
    """
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(bits, kind="stable")
