"""Kernels from outside: registered, named, judged, replaced, and taken off again."""

from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ArgumentError, BackendUnavailableError
from fastscratch.kernels.catalogue import BACKENDS, OPS
from fastscratch.ops import dense_forward

X, WEIGHT = np.ones((2, 3)), np.ones((3, 4))


def sevens(x, weight, bias, y, num_threads):
    y[...] = 7


@pytest.fixture(autouse=True)
def clean():
    yield
    for name in ("mine", "mine:fast"):
        fs.unregister_kernel("dense_forward", name)
    assert [entry.name for entry in OPS["dense_forward"].implementations] == list(BACKENDS)


def test_runs_when_it_is_named_and_not_before():
    before = dense_forward(X, WEIGHT)
    fs.register_kernel("dense_forward", sevens, name="mine")
    np.testing.assert_array_equal(dense_forward(X, WEIGHT), before)
    assert (dense_forward(X, WEIGHT, backend="mine") == 7).all()
    with fs.use_backend("mine"):
        assert (dense_forward(X, WEIGHT) == 7).all()
    with fs.use_backend(dense_forward="mine"):
        assert (dense_forward(X, WEIGHT) == 7).all()
    assert fs.available_backends()[-1] == "mine"


def test_an_algorithm_of_ones_own_backend():
    fs.register_kernel("dense_forward", sevens, name="mine:fast")
    assert (dense_forward(X, WEIGHT, backend="mine") == 7).all()
    assert (dense_forward(X, WEIGHT, backend="mine:fast") == 7).all()
    assert "mine" in fs.available_backends()


def test_registering_anew_replaces_it_at_once():
    def eights(x, weight, bias, y, num_threads):
        y[...] = 8

    fs.register_kernel("dense_forward", sevens, name="mine")
    assert (dense_forward(X, WEIGHT, backend="mine") == 7).all()
    fs.register_kernel("dense_forward", eights, name="mine")
    assert (dense_forward(X, WEIGHT, backend="mine") == 8).all()


def test_unregistering_forgets_it_at_once():
    fs.register_kernel("dense_forward", sevens, name="mine")
    dense_forward(X, WEIGHT, backend="mine")
    fs.unregister_kernel("dense_forward", "mine")
    with pytest.raises(BackendUnavailableError, match="called 'mine'"):
        dense_forward(X, WEIGHT, backend="mine")
    fs.unregister_kernel("dense_forward", "mine")
    assert "mine" not in fs.available_backends()


def test_is_asked_whether_it_supports_a_problem():
    fs.register_kernel("dense_forward", sevens, name="mine", supports=lambda p: ":n2" in str(p))
    assert (dense_forward(X, WEIGHT, backend="mine") == 7).all()
    with pytest.raises(BackendUnavailableError, match="does not support the problem dense_forward"):
        dense_forward(X[:1], WEIGHT, backend="mine")
    report = fs.explain("dense_forward", X[:1], WEIGHT)
    assert dict(report.candidates)["mine"] == "does not support this problem"


@pytest.mark.parametrize(("name", "op"), [("numpy", "dense_forward"), ("mine", "dense")])
def test_what_cannot_be_registered(name, op):
    with pytest.raises(ArgumentError):
        fs.register_kernel(op, sevens, name=name)


def test_is_given_what_the_contract_says():
    seen: dict[str, Any] = {}

    def look(x, weight, bias, y, num_threads):
        seen.update(x=x, weight=weight, bias=bias, y=y, num_threads=num_threads)
        y[...] = 0

    fs.register_kernel("dense_forward", look, name="mine")
    dense_forward(X.T.copy().T, WEIGHT[:, ::-1], backend="mine")
    for name in ("x", "weight", "bias", "y"):
        assert seen[name].flags.c_contiguous
        assert seen[name].flags.aligned
        assert type(seen[name]) is np.ndarray
    assert seen["bias"].tolist() == [0, 0, 0, 0]
    assert type(seen["num_threads"]) is int


def test_the_ways_of_the_readme():
    """Swap a kernel in for a block of code, after the harness has judged it."""

    def mine(x, weight, bias, y, num_threads):
        np.matmul(x, weight, out=y)
        y += bias

    assert fs.testing.check_kernel("dense_forward", mine).ok
    fs.register_kernel("dense_forward", mine, name="mine")
    with fs.use_backend(dense_forward="mine"), fs.record_choices() as choices:
        dense_forward(X, WEIGHT)
    assert choices == {"dense_forward": {"mine": 1}}
