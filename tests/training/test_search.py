"""Random search: what is drawn, going on, several processes, pruning, and failures."""

import subprocess
import sys

import numpy as np
import pytest

from fastscratch.dispatch import get_num_threads
from fastscratch.errors import ArgumentError, TrainingError
from fastscratch.training.search import Choice, LogUniform, Trial, best_range, search

pytest.importorskip("optuna", reason="the search needs Optuna: pip install 'fastscratch[search]'")

SPACE: dict[str, LogUniform | Choice] = {"lr": LogUniform(1e-6, 1e-2), "width": Choice((50, 100))}


def close_to_a_thousandth(parameters, report):
    """At the top of the module, so that other processes find it."""
    assert get_num_threads() == 1, "one thread for each process"
    return -abs(np.log10(parameters["lr"]) + 3)


def fails(parameters, report):
    raise ValueError("the objective is broken")


def test_samples_are_uniform_on_the_logarithm(tmp_path):
    found = search(close_to_a_thousandth, SPACE, trials=60, storage=tmp_path / "a.log")
    exponents = np.log10([trial.parameters["lr"] for trial in found])
    assert len(found) == 60 and exponents.min() >= -6 and exponents.max() <= -2
    counts, _ = np.histogram(exponents, bins=4, range=(-6, -2))
    assert counts.min() > 5, "each power of ten has its share"
    assert {trial.parameters["width"] for trial in found} == {50, 100}
    values = [float(trial.value or 0) for trial in found]
    assert values == sorted(values, reverse=True), "the best first"


def test_a_search_goes_on_where_it_stopped_and_draws_anew(tmp_path):
    first = search(close_to_a_thousandth, SPACE, trials=5, storage=tmp_path / "a.log", seed=1)
    told: list[int] = []
    both = search(
        close_to_a_thousandth, SPACE, trials=12, storage=tmp_path / "a.log", seed=1,
        progress=told.append,
    )  # fmt: skip
    assert len(both) == 12 and told == list(range(6, 13))
    numbers = {trial.number: trial.parameters["lr"] for trial in both}
    for trial in first:
        assert numbers[trial.number] == trial.parameters["lr"]
    assert len(set(numbers.values())) == 12
    again = search(fails, SPACE, trials=12, storage=tmp_path / "a.log")
    assert again == both, "nothing is left to do"
    apart = search(close_to_a_thousandth, SPACE, trials=3, storage=tmp_path / "a.log", name="b")
    assert len(apart) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Optuna's own lock, which it gives up in time")
def test_a_search_goes_on_after_a_kill_at_any_moment(tmp_path, monkeypatch):
    """With its file locked, and named as most people name it."""
    monkeypatch.chdir(tmp_path)
    search(close_to_a_thousandth, SPACE, trials=2, storage="a.log")
    killed = subprocess.run(
        [sys.executable, "-c", "import os, signal\n"
         "from fastscratch.training.search import JournalLock\n"
         "assert JournalLock('a.log').acquire()\nos.kill(os.getpid(), signal.SIGKILL)"],
        check=False,
    )  # fmt: skip
    assert killed.returncode == -9
    assert len(search(close_to_a_thousandth, SPACE, trials=3, storage="a.log")) == 3


def test_one_process_repeats_itself(tmp_path):
    runs = [
        search(close_to_a_thousandth, SPACE, trials=6, storage=tmp_path / f"{n}.log", seed=s)
        for n, s in enumerate((4, 4, 5))
    ]
    assert runs[0] == runs[1] != runs[2]


def test_several_processes_share_a_search(tmp_path):
    found = search(close_to_a_thousandth, SPACE, trials=8, storage=tmp_path / "a.log", processes=2)
    assert [trial.state for trial in found] == ["complete"] * 8, "no more than were asked for"
    assert len({trial.parameters["lr"] for trial in found}) == 8


def test_trials_that_fall_behind_are_pruned(tmp_path):
    def slow_start(parameters, report):
        for epoch in range(1, 20):
            report(epoch, np.log10(parameters["lr"]))
        return np.log10(parameters["lr"])

    found = search(slow_start, SPACE, trials=40, storage=tmp_path / "a.log")
    pruned = [trial for trial in found if trial.state == "pruned"]
    assert 5 < len(pruned) < 30 and all(trial.value is None for trial in pruned)
    assert all(len(trial.curve) < 19 for trial in pruned)
    assert found[0].curve[19] == found[0].value
    kept = search(slow_start, SPACE, trials=15, storage=tmp_path / "b.log", prune=False)
    assert {trial.state for trial in kept} == {"complete"}


def test_an_error_ends_the_search_and_keeps_what_there_was(tmp_path):
    search(close_to_a_thousandth, SPACE, trials=3, storage=tmp_path / "a.log")
    with pytest.raises(ValueError, match="broken"):
        search(fails, SPACE, trials=5, storage=tmp_path / "a.log")
    assert len(search(fails, SPACE, trials=3, storage=tmp_path / "a.log")) == 3


@pytest.mark.slow
def test_an_error_in_another_process_is_told(tmp_path):
    with pytest.raises(TrainingError, match="exit code"):
        search(fails, SPACE, trials=5, storage=tmp_path / "a.log", processes=2)


def test_impossible_arguments(tmp_path):
    for make in (lambda: LogUniform(0, 1), lambda: LogUniform(2, 1), lambda: Choice(())):
        with pytest.raises(ArgumentError):
            make()
    for trials, processes in ((0, 1), (3, 0)):
        with pytest.raises(ArgumentError, match="1 or more"):
            search(fails, SPACE, trials=trials, storage=tmp_path / "a.log", processes=processes)
    with pytest.raises(ArgumentError, match="a parameter or more"):
        search(fails, {}, trials=1, storage=tmp_path / "a.log")
    with pytest.raises(ArgumentError, match="no trial is complete"):
        best_range([Trial(0, {"lr": 1.0}, None, {}, "pruned")], "lr")
