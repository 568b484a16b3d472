"""A small problem that a small network learns in milliseconds."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.layers import BatchNorm, Dense, Dropout, ReLU, Sequential


@pytest.fixture(autouse=True)
def on_numpy():
    """The loop is what is tested here, not the kernels."""
    with fs.use_backend("numpy"), fs.threads(1):
        yield


@pytest.fixture
def points():
    """Three clouds of points in a plane: (x, t), 50 of them."""
    rng = np.random.default_rng(0)
    t = np.arange(50) % 3
    centres = np.array([[2, 0], [-2, 1], [0, -3]])
    x = (centres[t] + rng.standard_normal((50, 2))).astype(np.float32)
    return x, t


@pytest.fixture
def make_model():
    """A network with all kinds of state: parameters, running statistics, a dropout counter."""

    def make(seed: int = 3, hidden: int = 8) -> Sequential:
        return Sequential(
            ("hidden", Dense(hidden)),
            ("norm", BatchNorm()),
            ("relu", ReLU()),
            ("dropout", Dropout(0.3)),
            ("scores", Dense(3)),
            seed=seed,
        )

    return make
