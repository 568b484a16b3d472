"""The blocks that say what may run: deterministic mode, falling back, nesting over threads."""

import threading
from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch import errors
from fastscratch.dispatch import current_settings, machine
from fastscratch.errors import ArgumentError, BackendUnavailableError, FallbackWarning
from fastscratch.kernels.catalogue import BACKENDS

TINY = "dense_forward:f32:n1i2:o2"


@pytest.fixture
def nothing_compiled(monkeypatch):
    monkeypatch.setitem(BACKENDS, "cython", "fastscratch.kernels.nowhere")
    monkeypatch.setattr(errors, "_warned", set())


@pytest.mark.usefixtures("nothing_compiled")
def test_falling_back_can_be_an_error():
    with fs.fallback("error"), pytest.raises(BackendUnavailableError, match="are not available"):
        fs.explain(TINY)
    with fs.fallback("error"), fs.fallback("warn"), pytest.warns(FallbackWarning):
        fs.explain(TINY)
    with fs.fallback("error"), fs.use_backend("numpy"):
        assert fs.explain(TINY).implementation == "numpy"


def test_a_forked_process_can_be_an_error(monkeypatch):
    monkeypatch.setattr(machine, "forked", True)
    with (
        fs.threads(2),
        fs.fallback("error"),
        pytest.raises(BackendUnavailableError, match="forked"),
    ):
        fs.explain(TINY)
    with fs.threads(1), fs.fallback("error"):
        assert fs.explain(TINY).num_threads == 1


def test_fallback_has_two_modes():
    with pytest.raises(ArgumentError, match='"warn" or "error", got \'never\''):
        fs.fallback("never")


def test_the_deterministic_reference_holds_blas_at_one_thread():
    seen = []

    def look(*arguments):
        seen.append({info["num_threads"] for info in machine.blas_info()})

    with machine.blas_threads(2):
        machine.on_one_blas_thread(look)()
        look()
    assert seen[0] == {1}
    assert seen[1] == {2} or len(seen[1]) == 0


def test_deterministic_results_do_not_depend_on_threads(backend):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 700), dtype=np.float32)
    weight = rng.standard_normal((700, 300), dtype=np.float32)
    with fs.deterministic(), fs.use_backend(backend):
        found = []
        for threads in (1, 2):
            with fs.threads(threads), machine.blas_threads(threads):
                found.append(fs.ops.dense_forward(x, weight).tobytes())
    assert found[0] == found[1]


BLOCKS: dict[str, Any] = {
    "threads": (fs.threads, (1, 2, 3)),
    "accuracy": (fs.accuracy, ("default", "fast")),
    "tuning": (fs.tuning, (True, False)),
    "deterministic": (fs.deterministic, (True, False)),
    "fallback": (fs.fallback, ("warn", "error")),
}
FIELDS = {"threads": "num_threads"}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_nest_and_are_taken_back(name):
    block, values = BLOCKS[name]
    field = FIELDS.get(name, name)
    before = current_settings()
    for outer in values:
        for inner in values:
            with block(outer):
                with block(inner):
                    assert getattr(current_settings(), field) == inner
                assert getattr(current_settings(), field) == outer
                with pytest.raises(ZeroDivisionError), block(inner):
                    raise ZeroDivisionError
                assert getattr(current_settings(), field) == outer
    assert current_settings() is before


def test_each_thread_has_blocks_of_its_own():
    gate = threading.Barrier(4)
    wrong = []

    def work(number):
        for _ in range(50):
            with fs.threads(number), fs.deterministic(number % 2 == 0):
                gate.wait()
                settings = current_settings()
                if (settings.num_threads, settings.deterministic) != (number, number % 2 == 0):
                    wrong.append(settings)
                gate.wait()

    workers = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3, 4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
