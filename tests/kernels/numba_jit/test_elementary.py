"""The elementary functions against NumPy's in float64, under the options that kernels have."""

import numba
import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import dropout, elementary

pytestmark = pytest.mark.skipif(not compiling.JIT, reason="an intrinsic needs the JIT")


@numba.njit(fastmath=compiling.FASTMATH)
def run(x, powers, tangents):
    """Both in one loop."""
    for i in range(x.size):
        powers[i] = elementary.falling_exp(-abs(x[i]))
        tangents[i] = elementary.hyperbolic_tangent(x[i])


def computed(x):
    powers, tangents = np.empty_like(x), np.empty_like(x)
    run(x, powers, tangents)
    return powers, tangents


def test_within_two_units_in_the_last_place():
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-8, 2.2, 200_000)
    x = (scale * rng.choice([-1, 1], scale.size)).astype(np.float32)
    exact = x.astype(np.float64)
    for out, ref in zip(computed(x), (np.exp(-abs(exact)), np.tanh(exact)), strict=True):
        unit = np.spacing(abs(ref).astype(np.float32)).astype(np.float64)
        assert (abs(out - ref) / unit).max() <= 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_the_ends(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e30], dtype)
    powers, tangents = computed(x)
    np.testing.assert_array_equal(powers, [1, 1, 0, 0, np.nan, 1, 1, 0])
    np.testing.assert_array_equal(tangents, np.array([0, 0, 1, -1, np.nan, x[5], x[6], 1], dtype))


@numba.njit(fastmath=compiling.FASTMATH)
def largest_and_sum(x):
    largest, total = x[0], 0.0
    for i in range(x.size):
        largest = elementary.larger(largest, x[i])
        total = elementary.add_up(total, x[i] if x[i] > 0 else x.dtype.type(0))
    return largest, total


@pytest.mark.parametrize("size", [1, 15, 16, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_largest_and_sum(size, dtype):
    x = np.random.default_rng(size).integers(-90, 90, size).astype(dtype)
    assert largest_and_sum(x) == (x.max(), x[x > 0].sum())
    x[-1] = -np.inf
    assert largest_and_sum(x) == (x.max(), x[x > 0].sum())
    x[0] = np.inf
    assert largest_and_sum(x) == (np.inf, np.inf)


@numba.njit
def bits(places, first, second, threshold, reached):
    for i in range(places.size):
        reached[i] = dropout.bits_reach(places[i], first, second, threshold)


@pytest.mark.parametrize("threshold", [0, 1, 2**31, 2**32 - 1, 2**32])
def test_bits_of_dropout(threshold):
    places = np.r_[0:100, 2**31 - 3 : 2**31 + 3, 2**32 - 3 : 2**32]
    reached = np.empty(places.size, bool)
    bits(places, 0x9E3779B9, 2**31 + 5, threshold, reached)
    ref = [
        dropout.plain_bits_reach(int(place), 0x9E3779B9, 2**31 + 5, threshold) for place in places
    ]
    np.testing.assert_array_equal(reached, ref)
