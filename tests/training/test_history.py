"""The history, and its JSON form."""

import json

import pytest

from fastscratch.errors import DataError
from fastscratch.training import History


@pytest.fixture
def history():
    history = History()
    history.append({"epoch": 1, "train_loss": 0.1 + 0.2, "validation_loss": None, "seconds": 2.0,
                    "validation_seconds": 0.5, "images_per_second": 9.0})  # fmt: skip
    history.append({"epoch": 2, "train_loss": float("nan"), "seconds": 1.0})
    history.implementations = {"dense_forward": {"numpy": 2}}
    history.stopped = "enough"
    return history


def test_access(history):
    assert len(history) == 2 and history.last["epoch"] == 2
    assert history["epoch"] == [1, 2] and history["lr"] == [None, None]
    assert history.seconds == 3.5
    assert history.without_times()[0] == {
        "epoch": 1, "train_loss": 0.1 + 0.2, "validation_loss": None,
    }  # fmt: skip
    assert History().last == {}


def test_round_trip(history, tmp_path):
    path = tmp_path / "history.json"
    history.save(path)
    again = History.load(path)
    assert again.records[0] == history.records[0]  # floats to the last bit
    assert again.implementations == history.implementations
    assert (again.stopped, again.interrupted) == ("enough", False)
    assert [p.name for p in tmp_path.iterdir()] == ["history.json"]


def test_no_nan_in_the_file(history, tmp_path):
    history.save(tmp_path / "history.json")
    text = (tmp_path / "history.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["records"][1]["train_loss"] is None


@pytest.mark.parametrize("content", ["", "[]", '{"records": 3}', "{}", "nonsense"])
def test_foreign_file(tmp_path, content):
    path = tmp_path / "history.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"history\.json holds no history"):
        History.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        History.load(tmp_path / "history.json")
