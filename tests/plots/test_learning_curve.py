"""The learning curve as a picture."""

import sys

import pytest

from fastscratch.errors import MissingExtraError
from fastscratch.plots import learning_curve
from fastscratch.training import History

pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")


@pytest.fixture
def history():
    history = History()
    for epoch in range(1, 6):
        history.append({
            "epoch": epoch, "train_loss": 2 / epoch, "validation_loss": 2.2 / epoch,
            "train_accuracy": 1 - 0.5 / epoch, "validation_accuracy": 1 - 0.6 / epoch,
        })  # fmt: skip
    return history


def test_curves_labels_and_legends(history):
    loss, accuracy = learning_curve(history).axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss")
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy")
    for panel, names in ((loss, "loss"), (accuracy, "accuracy")):
        assert [text.get_text() for text in panel.get_legend().get_texts()] == [
            "training", "validation",
        ]  # fmt: skip
        for line, entry in zip(panel.lines, ("train", "validation"), strict=True):
            assert list(line.get_xdata()) == [1, 2, 3, 4, 5]
            assert list(line.get_ydata()) == history[f"{entry}_{names}"]


def test_picture_is_written(history, tmp_path):
    learning_curve(history, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_regression_without_validation(history):
    for record in history:
        record["train_accuracy"] = record["validation_accuracy"] = record["validation_loss"] = None
    (panel,) = learning_curve(history).axes
    assert [line.get_label() for line in panel.lines] == ["training"]


def test_in_the_caller_s_axes(history):
    from matplotlib.figure import Figure

    figure = Figure()
    panels = figure.subplots(1, 2)
    assert learning_curve(history, ax=panels) is figure
    assert [len(panel.lines) for panel in panels] == [2, 2]
    single = Figure().subplots()
    learning_curve(history, ax=single)
    assert single.get_ylabel() == "loss"


def test_run_without_an_epoch(tmp_path):
    learning_curve(History(), tmp_path / "empty.png")
    assert (tmp_path / "empty.png").exists()


def test_missing_matplotlib_is_named(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastscratch\[plot\]'"):
        learning_curve(history)
