"""Tuning: what is measured, when, and what then runs."""

import importlib
import logging
import threading

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.dispatch import measure as measuring
from fastscratch.dispatch import tuning_table
from fastscratch.dispatch.measure import Candidate, measure, operands
from fastscratch.dispatch.settings import current_settings, forget_plans
from fastscratch.dispatch.tuning_table import TuningTable
from fastscratch.kernels.catalogue import BACKENDS, OPS, backend_reason
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import all_problems

choosing = importlib.import_module("fastscratch.dispatch.choose")  # its function has its name
X, WEIGHT = np.ones((4, 3), np.float32), np.ones((3, 2), np.float32)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """An empty table of times."""
    found = TuningTable(tmp_path / "times.json")
    monkeypatch.setattr(tuning_table, "_own", found)
    forget_plans()
    yield found
    forget_plans()


@pytest.fixture
def measured(monkeypatch):
    """The problems that are measured, by a stopwatch that says what the test wants."""
    times = {"numpy": 1e-3, "cython": 2e-3, "numba": 3e-3}
    calls = []

    def stand_in(problem, candidates):
        calls.append(str(problem))
        return {name: times.get(name, 5e-3) for name, _, _ in candidates}

    monkeypatch.setattr(choosing, "measure", stand_in)
    return calls, times


def runs(**options):
    report = fs.explain("dense_forward", X, WEIGHT, **options)
    return report.implementation, report.rule


def test_what_was_measured_decides_inside_and_afterwards(table, measured):
    calls, _ = measured
    before = runs()
    assert before[1] == "the order of the catalogue"
    fs.ops.dense_forward(X, WEIGHT)  # this plan must not live on
    with fs.tuning(), fs.threads(1), fs.record_choices() as choices:
        for _ in range(3):
            fs.ops.dense_forward(X, WEIGHT)
    assert calls == ["dense_forward:f32:n4i3:o2"]
    assert choices == {"dense_forward": {"numpy": 1}}
    with fs.threads(1), fs.record_choices() as choices:
        assert runs() == ("numpy", "the fastest measured here")
        fs.ops.dense_forward(X, WEIGHT)
    assert choices == {"dense_forward": {"numpy": 1}}
    assert TuningTable(table.path).times == table.times


def test_plans_made_before_are_forgotten(table, measured):
    with fs.threads(1):
        fs.ops.dense_forward(X, WEIGHT)
        with fs.tuning():
            fs.ops.dense_forward(X, WEIGHT)
        with fs.deterministic():
            assert runs()[1] == "the order of the catalogue"
        assert not current_settings().plans
        assert runs()[0] == "numpy"


def test_a_last_smaller_batch_is_not_measured(table, measured):
    calls, _ = measured
    with fs.tuning():
        for rows in range(1, 129):
            fs.ops.dense_forward(np.ones((rows, 3), np.float32), WEIGHT)
    assert len(calls) == 8  # 1, 2, 4 ... 128


def test_explaining_measures_nothing(table, measured):
    calls, _ = measured
    with fs.tuning():
        runs()
    assert calls == []


def test_names_count_more_and_leave_the_algorithm_open(table, measured):
    x, weight = np.ones((2, 16, 8, 8), np.float32), np.ones((16, 16, 3, 3), np.float32)
    _, times = measured
    backend = next(name for name in BACKENDS if not backend_reason(name))
    if backend == "numpy":
        pytest.skip("the reference has one algorithm")
    times |= {f"{backend}:direct": 1e-4, f"{backend}:winograd2": 2e-4}
    with fs.tuning():
        with fs.use_backend(backend), fs.record_choices() as choices:
            fs.ops.conv2d_forward(x, weight)
        assert choices == {"conv2d_forward": {f"{backend}:direct": 1}}
        with fs.use_backend(f"{backend}:winograd2"), fs.record_choices() as choices:
            fs.ops.conv2d_forward(x, weight)
        assert choices == {"conv2d_forward": {f"{backend}:winograd2": 1}}
    with fs.use_backend(backend):
        report = fs.explain("conv2d_forward", x, weight)
    assert report.rule == "named by use_backend, the fastest of its algorithms"
    assert f"{backend}:direct: can run it, 0.100 ms" in str(report)


def test_inexact_algorithms_need_permission_however_fast_they_are(table, measured, require_backend):
    require_backend("cython")
    _, times = measured
    times["cython:winograd4"] = 1e-6
    x, weight = np.ones((2, 16, 16, 16), np.float32), np.ones((16, 16, 3, 3), np.float32)
    for level, expected in (("default", False), ("fast", True)):
        with fs.tuning(), fs.accuracy(level), fs.record_choices() as choices:
            fs.ops.conv2d_forward(x, weight)
        assert ("cython:winograd4" in choices["conv2d_forward"]) is expected


def test_kernels_from_outside_win_by_measuring(table, measured):
    _, times = measured

    def quick(x, weight, bias, y, num_threads):
        y[...] = 7

    times["quick"] = 1e-6
    fs.register_kernel("dense_forward", quick, name="quick")
    try:
        assert (fs.ops.dense_forward(X, WEIGHT) == 3).all()  # not without being measured
        with fs.tuning(), fs.threads(1):
            assert (fs.ops.dense_forward(X, WEIGHT) == 7).all()
        with fs.threads(1):
            assert runs()[0] == "quick"
            fs.register_kernel("dense_forward", quick, name="quick")  # perhaps another one
            assert runs()[0] == "numpy"
    finally:
        fs.unregister_kernel("dense_forward", "quick")


def test_threads_that_meet_a_new_problem_measure_it_once(table, measured):
    calls, _ = measured
    gate = threading.Barrier(8)

    def work():
        gate.wait()
        with fs.tuning():
            fs.ops.dense_forward(X, WEIGHT)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(calls) == 1


def test_the_log_tells_of_measurements_and_choices(table, measured, caplog):
    with caplog.at_level(logging.DEBUG, "fastscratch.dispatch"), fs.tuning(), fs.threads(1):
        for _ in range(3):
            fs.ops.dense_forward(X, WEIGHT)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert texts[0].startswith("dense_forward:f32:n4i3:o2, threads 1: numpy 1.000 ms")
    assert texts[1] == "dense_forward:f32:n4i3:o2: numpy, threads 1: the fastest measured here"


@pytest.mark.parametrize("op", OPS)
def test_every_kernel_takes_the_operands(op, recwarn):
    """Valid ones: nothing is out of range, nothing becomes NaN."""
    problem = all_problems(op)[-1]
    arrays = operands(problem)
    reference = OPS[op].direct("numpy").load()
    reference(*arrays, *OPS[op].arguments(problem), 1)
    for array in arrays:
        assert np.isfinite(array).all()
    assert not recwarn.list


class Clock:
    """A clock that only the kernels of a test move: what is measured is then exact."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(measuring, "_clock", lambda: self.now)

    def kernel(self, *seconds):
        return TimedKernel(self, seconds)


class TimedKernel:
    """Its calls take so many seconds each: one after the other, and then always the last."""

    def __init__(self, clock, seconds):
        self.clock = clock
        self.seconds = seconds
        self.count = 0

    def __call__(self, *arguments):
        self.clock.now += self.seconds[min(self.count, len(self.seconds) - 1)]
        self.count += 1


def test_another_pool_of_threads_is_charged_for(monkeypatch):
    """What both lose by taking turns is the other's to pay."""
    clock = Clock(monkeypatch)
    problem = parse_problem("dense_forward:f32:n1i1:o1")
    last: list[str] = []

    def kernel(name, seconds):
        def call(*arguments):
            disturbed = last[-1:] not in ([], [name]) and arguments[-1] > 1
            clock.now += seconds + 3e-4 * disturbed
            last.append(name)

        return call

    for threads, expected in ((1, 9e-4), (2, 9e-4 + 2 * 3e-4)):
        found = measure(problem, [
            Candidate("cython", kernel("main", 1e-3), threads),
            Candidate("numba:direct", kernel("other", 9e-4), threads),
            Candidate("cython:direct", kernel("main", 2e-3), threads),
        ])  # fmt: skip
        assert found == pytest.approx({
            "cython": 1e-3, "cython:direct": 2e-3, "numba:direct": expected,
        })  # fmt: skip


def test_what_a_kernel_takes_is_measured(monkeypatch):
    clock = Clock(monkeypatch)
    problem = parse_problem("dense_forward:f32:n1i1:o1")
    found = measure(problem, [
        Candidate("slow", clock.kernel(4e-3), 1), Candidate("quick", clock.kernel(1e-4), 1),
        Candidate("near", clock.kernel(2e-4), 1),
    ])  # fmt: skip
    assert found == pytest.approx({"slow": 4e-3, "quick": 1e-4, "near": 2e-4})


def test_a_busy_moment_does_not_count(monkeypatch):
    clock = Clock(monkeypatch)
    problem = parse_problem("dense_forward:f32:n1i1:o1")
    # Compiling is slow, so is one of the first calls, and one of the later ones.
    interrupted = clock.kernel(1.0, 5e-2, *[1e-2] * 3, 9e-2, 1e-2)
    found = measure(
        problem, [Candidate("mine", interrupted, 1), Candidate("other", clock.kernel(2e-2), 1)], 1.0
    )
    assert found == pytest.approx({"mine": 1e-2, "other": 2e-2})


def test_a_hopeless_candidate_is_called_twice(monkeypatch):
    clock = Clock(monkeypatch)
    problem = parse_problem("dense_forward:f32:n1i1:o1")
    slow, quick = clock.kernel(0.02), clock.kernel(1e-5)
    measure(problem, [Candidate("slow", slow, 1), Candidate("quick", quick, 1)])
    assert slow.count == 2
    assert quick.count > 2


def test_measuring_ends_in_time(monkeypatch):
    clock = Clock(monkeypatch)
    problem = parse_problem("dense_forward:f32:n1i1:o1")
    kernel = clock.kernel(0.3)
    measure(problem, [Candidate("mine", kernel, 1)], 1.0)
    # Two first ones, and rounds of two until a second is over.
    assert kernel.count == 6


def test_the_environment_turns_tuning_on(run_python, tmp_path):
    code = """
import numpy as np, fastscratch as fs
x, weight = np.ones((4, 3), np.float32), np.ones((3, 2), np.float32)
fs.ops.dense_forward(x, weight, backend=None)
print(fs.explain("dense_forward", x, weight).rule)
with fs.tuning(False):
    fs.ops.dense_forward(x[:1], weight)
    print(fs.explain("dense_forward", x[:1], weight).rule)
"""
    done = run_python(code, FASTSCRATCH_TUNING="1", FASTSCRATCH_CACHE=str(tmp_path))
    assert done.stdout.splitlines() == ["the fastest measured here", "the order of the catalogue"]
    done = run_python(code, FASTSCRATCH_TUNING="yes", check=False)
    assert "FASTSCRATCH_TUNING must be 0 or 1, got 'yes'" in done.stderr
