"""Dropout as an operation: the same mask everywhere, and bits that look random."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch import ops
from fastscratch.errors import ArgumentError, DtypeError, ShapeError
from fastscratch.kernels.numpy_ref.dropout import random_words

ONES = np.ones(100_000, np.float32)


def key(first, second):
    return np.array([first, second], np.int64)


def kept(first, second, ratio=0.5, **options):
    return ops.dropout_forward(ONES, key(first, second), ratio=ratio, **options) != 0


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.999])
def test_every_version_and_number_of_threads_draws_the_same(ratio, backend):
    ref = kept(3, 4, ratio, backend="numpy")
    for threads in (1, 3):
        with fs.threads(threads):
            np.testing.assert_array_equal(kept(3, 4, ratio, backend=backend), ref)
    y = ops.dropout_forward(ONES, key(3, 4), ratio=ratio, backend=backend)
    np.testing.assert_allclose(y[ref], 1 / (1 - ratio), rtol=1e-6)
    dx = ops.dropout_backward(ONES, key(3, 4), ratio=ratio, backend=backend)
    np.testing.assert_array_equal(dx, y)
    assert abs(ref.mean() - (1 - ratio)) < 5 * np.sqrt(ratio * (1 - ratio) / ONES.size) + 1e-9


def test_what_is_dropped_is_zero_whatever_it_was(backend):
    x = np.where(np.arange(1000) % 2, np.inf, np.nan)
    y = ops.dropout_forward(x, key(1, 1), backend=backend)
    dropped = ~kept(1, 1)[:1000]
    assert (y[dropped] == 0).all()
    assert not np.isfinite(y[~dropped]).any()


def test_masks_of_near_keys_have_nothing_to_do_with_each_other():
    masks = [kept(a, b) for a, b in ((0, 0), (1, 0), (0, 1), (1, 1), (2**32 - 1, 0), (4, 4))]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs((one == other).mean() - 0.5) < 0.01


def test_bits_look_random():
    """Each bit is 1 half of the time, also given any other bit, and given its neighbours."""
    words = random_words(1 << 18, key(5, 6))
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    spread = 5 / np.sqrt(len(words))
    signs = 2.0 * bits - 1
    assert np.abs(signs.mean(axis=0)).max() < spread
    together = signs.T @ signs / len(words) - np.eye(32)
    assert np.abs(together).max() < spread
    for distance in (1, 2, 3, 64, 576, 4096):
        shifted = signs[distance:].T @ signs[:-distance] / (len(words) - distance)
        assert np.abs(shifted).max() < 1.2 * spread
    # Runs of the mask: 256 bins of bytes, a chi-square of 255 +- 22.6.
    counts = np.bincount(words >> 24, minlength=256)
    assert abs(((counts - 1024) ** 2 / 1024).sum() - 255) < 5 * 22.6


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match=r"ratio must be in \[0, 1\), got 1"):
        ops.dropout_forward(ONES, key(1, 2), ratio=1)
    with pytest.raises(DtypeError, match="key must be int64, got float64"):
        ops.dropout_forward(ONES, np.ones(2))
    with pytest.raises(ShapeError, match=r"key must have shape \(2,\), got \(3,\)"):
        ops.dropout_backward(ONES, np.ones(3, np.int64))
