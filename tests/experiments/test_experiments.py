"""The experiments: each runs, writes its numbers, table and figure, and is judged in full runs."""

import csv
import json

import numpy as np
import pytest

from fastscratch import experiments
from fastscratch.errors import ArgumentError, TrainingError
from fastscratch.experiments import EXPERIMENTS, Setup
from fastscratch.experiments.learning import Curve, follow, percent
from fastscratch.layers import Dense, Sequential
from fastscratch.optimizers import SGD

EXACT = ("perceptron", "activations", "numerical-gradient", "optimizer-paths")


class Bar:
    """Counts as tqdm's bars do."""

    def __init__(self):
        self.n, self.total = 0, None

    def reset(self, total=None):
        self.n, self.total = 0, total

    def update(self, steps=1):
        self.n += steps


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_quick_run_writes_everything_and_judges_nothing(name, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    if name == "hyperparameters":
        pytest.importorskip("optuna", reason="the search needs Optuna")
    bar = Bar()
    report = experiments.run(
        name, data="digits", quick=True, seeds=(3,), bar=bar, output=tmp_path / name
    )
    assert report.verdict == "not judged" and bar.n == bar.total
    report.write(tmp_path / name)
    content = json.loads((tmp_path / name / "numbers.json").read_text("utf-8"))
    assert content["name"] == name and content["claim"] and content["measured"]
    assert content["data"] == "digits" and content["seeds"] == [3] and content["quick"]
    assert content["band"] and content["source"] and content["verdict"] == "not judged"
    assert content["note"] == "" and str(report).rstrip().endswith("not judged")
    with (tmp_path / name / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report.findings.rows) > 0
    assert (tmp_path / name / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert report.experiment.claim in str(report)


@pytest.mark.parametrize("name", EXACT)
def test_what_no_chance_is_involved_in_holds(name):
    report = experiments.run(name)
    assert report.verdict == "holds", str(report)


def test_initial_values_do_what_is_claimed():
    report = experiments.run("activation-histograms", seeds=(0, 1))
    assert report.verdict == "holds", str(report)


def test_a_claim_that_fails_is_said_to():
    report = experiments.run("perceptron")
    report.findings.holds = False
    assert report.verdict == "does not hold" and "does not hold" in str(report)


@pytest.mark.parametrize(("data", "quick", "shown"), [
    ("mnist", False, "why"), ("digits", False, ""), ("mnist", True, ""),
])  # fmt: skip
def test_a_note_is_that_of_full_runs_on_the_data_it_speaks_of(data, quick, shown):
    report = experiments.run("perceptron", data=data, quick=quick)
    report.findings.note = "why"
    assert report.note == report.as_dict()["note"] == shown
    assert str(report).endswith("why") is bool(shown)


def test_the_same_seed_gives_the_same_numbers():
    first, second, other = (
        experiments.run("lbfgs", data="digits", quick=True, seeds=(seed,)) for seed in (0, 0, 1)
    )
    assert repr(first.findings.rows) == repr(second.findings.rows) != repr(other.findings.rows)


def test_curves_begin_before_training_and_end_after_it():
    x = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    t = (x[:, 0] > 0.5).astype(np.int64)
    curve = follow(Setup(data="digits"), Sequential(Dense(2)), SGD(1.0), (x, t), (x, t), epochs=3)
    assert [len(values) for values in curve] == [4] * 4
    assert np.isnan(curve.loss[0]) and curve.gap == 0
    assert curve.test_loss[-1] < curve.test_loss[0]
    assert [row["epoch"] for row in curve.rows(seed=1)] == [0, 1, 2, 3]


def test_words_for_several_seeds():
    assert percent([0.5, 0.7]) == "60.0 % (50.0 to 70.0)"
    assert Curve([0.9], [0.75], [0.1], [0.8]).gap == pytest.approx(0.15)


def test_a_network_that_overflows_is_one_that_does_not_learn(monkeypatch):
    from fastscratch.experiments import generalisation

    def fail(*arguments, **options):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr(generalisation, "follow", fail)
    setup = Setup(data="digits", quick=True, seeds=(0,))
    found = generalisation.batch_norm(setup)
    assert all(row["train_accuracy"] == 0.1 for row in found.rows)


def test_what_is_not_there_is_named():
    with pytest.raises(ArgumentError, match=r"no experiment 'mnist'; .* perceptron, .*dropout"):
        experiments.run("mnist")
    with pytest.raises(ArgumentError, match="data must be one of mnist"):
        experiments.run("overfit", data="cifar")
    with pytest.raises(ArgumentError, match="a seed or more"):
        experiments.run("overfit", seeds=())


def test_the_two_layer_log_has_seventeen_lines():
    from fastscratch.experiments.training_runs import PRINTED

    assert len(PRINTED) == 17 and PRINTED[1] == (0.7959, 0.7982) and PRINTED[-1][1] == 0.9462


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["two-layer", "overfit", "weight-decay", "dropout", "batch-norm", "optimizers", "lbfgs"],
)
def test_claims_hold_on_mnist(name):
    """Statistical, over three seeds; the bands are the experiments' own."""
    from fastscratch.data import load_mnist
    from fastscratch.errors import FastscratchError

    try:
        load_mnist()
    except FastscratchError as error:
        pytest.skip(f"MNIST is not here: {error}")
    report = experiments.run(name)
    assert report.verdict == "holds", str(report)
