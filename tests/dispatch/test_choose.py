"""The choice itself: the catalogue's order, fall-backs, threads worth waking, fork."""

import importlib
import os

import pytest

import fastscratch as fs
from fastscratch.dispatch.choose import choose, worthwhile_threads
from fastscratch.dispatch.settings import Settings
from fastscratch.errors import FallbackWarning
from fastscratch.kernels.catalogue import BACKENDS, OPS, Implementation
from fastscratch.kernels.problem import parse_problem

module = importlib.import_module("fastscratch.dispatch.choose")  # its function has its name
TINY = parse_problem("dense_forward:f32:n1i2:o2")
LARGE = parse_problem("conv2d_forward:f32:n8c64h56w56:oc64k3p1")


def test_the_first_that_is_there_runs():
    assert choose(TINY, Settings(1)).implementation.name == fs.available_backends()[0]


@pytest.mark.parametrize(
    ("problem", "backend", "threads"),
    [(TINY, "cython", 1), (LARGE, "cython", 64), (TINY, "numba", 1), (LARGE, "numba", 64)],
)
def test_threads_are_woken_where_they_are_worth_it(problem, backend, threads):
    spec = OPS[problem.op]
    implementation = Implementation(spec.name, backend)
    assert worthwhile_threads(spec, problem, implementation, 64) == threads
    assert worthwhile_threads(spec, problem, implementation, 1) == 1


def test_more_work_is_given_more_threads():
    spec, implementation = OPS["dense_forward"], Implementation("dense_forward", "cython")
    given = [
        worthwhile_threads(spec, parse_problem(f"dense_forward:f32:n{n}i64:o64"), implementation, 8)
        for n in (1, 10, 100, 1000, 10000)
    ]
    assert given[0] == 1
    assert given[-1] == 8
    assert given == sorted(given)


def test_a_fall_back_is_told_once_and_says_why(monkeypatch):
    monkeypatch.setitem(BACKENDS, "cython", "fastscratch.kernels.nowhere")
    monkeypatch.setattr("fastscratch.errors._warned", set())
    with pytest.warns(FallbackWarning, match=r"compiled kernels are not available.*No module") as w:
        choice = choose(TINY, Settings(1))
    assert choice.implementation.backend != "cython"
    assert len(w) == 1
    assert w[0].filename == __file__
    choose(LARGE, Settings(1))  # a second warning would be an error here


def test_naming_another_backend_is_no_fall_back(monkeypatch):
    monkeypatch.setitem(BACKENDS, "cython", "fastscratch.kernels.nowhere")
    monkeypatch.setattr("fastscratch.errors._warned", set())
    assert choose(TINY, Settings(1), "numpy").implementation.name == "numpy"
    assert choose(TINY, Settings(1, backend="numpy")).implementation.name == "numpy"


FALL_BACK = """
import warnings
import numpy as np
import fastscratch as fs
from fastscratch.kernels import cython_ext
cython_ext.reason = "nothing was built; to mend it, build it"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for rows in (1, 2, 3):
        fs.ops.dense_forward(np.ones((rows, 2)), np.ones((2, 2)))
for warning in caught:
    print(warning.category.__name__, warning.message, warning.filename, sep="|")
print(fs.available_backends())
print(fs.show_config()["backends"]["cython"])
"""


def test_a_missing_extension_is_told_in_a_real_process(run_python):
    lines = run_python(FALL_BACK).stdout.splitlines()
    assert len(lines) == 3
    kind, text, place = lines[0].split("|")
    assert kind == "FallbackWarning"
    assert "runs instead, which is slower: nothing was built; to mend it, build it" in text
    assert place == "<string>"
    assert "cython" not in lines[1]
    assert lines[2] == "nothing was built; to mend it, build it"


FORK = """
import os, sys, warnings
import numpy as np
import fastscratch as fs

x = np.random.default_rng(0).standard_normal((16, 16, 28, 28)).astype(np.float32)
weight = np.ones((32, 16, 3, 3), np.float32)
with fs.use_backend({backend!r}), fs.threads(2):
    before = fs.ops.conv2d_forward(x, weight)  # opens a parallel region in the parent
    child = os.fork()
    if child == 0:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for extent in (28, 27, 26):
                after = fs.ops.conv2d_forward(x[:, :, :extent], weight)
            whole = fs.ops.conv2d_forward(x, weight)
        told = [str(w.message) for w in caught if w.category.__name__ == "FallbackWarning"]
        right = whole.tobytes() == before.tobytes()
        alone = fs.explain("conv2d_forward", x, weight).num_threads == 1
        os._exit(0 if right and alone and len(told) == 1 and "forked" in told[0] else 1)
    status = os.waitpid(child, 0)[1]
    assert fs.ops.conv2d_forward(x, weight).tobytes() == before.tobytes()
    sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_on_one_thread_and_says_so_once(run_python, backend):
    # Python 3.12 and newer warn of forking a process that has threads: that is the point here.
    run_python(FORK.format(backend=backend), options=())
