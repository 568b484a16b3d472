"""Averages of predictions."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.layers import Softmax
from fastscratch.models import MLP, Ensemble

X = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)


def test_the_mean_of_probabilities_not_of_scores():
    members = [MLP((4,), classes=3, seed=seed) for seed in range(4)]
    ref = np.mean([Softmax().forward(member.predict(X)) for member in members], axis=0)
    out = Ensemble(members).predict(X, batch_size=3)
    np.testing.assert_allclose(out, ref, rtol=1e-6)
    assert out.dtype == np.float32 and len(Ensemble(members)) == 4


def test_who_votes_for_different_things_is_refused():
    with pytest.raises(ArgumentError, match=r"one output shape.*\(3,\).*\(4,\)"):
        Ensemble([MLP((4,), classes=3), MLP((4,), classes=4)])
    with pytest.raises(ArgumentError, match="one network or more"):
        Ensemble([])
