"""The tests' own promise: a missing backend is told, and is a failure where it is required."""

import pytest

from fastscratch.kernels.catalogue import BACKENDS


def test_a_backend_that_is_there_is_neither_skipped_nor_failed(require_backend):
    assert require_backend("numpy") is None


def test_a_missing_backend_skips_with_its_reason(require_backend, monkeypatch):
    monkeypatch.setitem(BACKENDS, "cython", "fastscratch.kernels.nowhere")
    monkeypatch.setenv("FASTSCRATCH_REQUIRE_BACKENDS", "numba")
    with pytest.raises(pytest.skip.Exception, match="'cython' is not available: No module named"):
        require_backend("cython")


def test_a_missing_backend_fails_where_it_is_required(require_backend, monkeypatch):
    monkeypatch.setitem(BACKENDS, "cython", "fastscratch.kernels.nowhere")
    monkeypatch.setenv("FASTSCRATCH_REQUIRE_BACKENDS", "numba, cython")
    with pytest.raises(pytest.fail.Exception, match="'cython' is required and not available: No"):
        require_backend("cython")
