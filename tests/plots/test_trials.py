"""Pictures of a search."""

import pytest

from fastscratch.errors import ArgumentError
from fastscratch.plots import best_trials
from fastscratch.training.search import Trial

pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")


def trial(number, value, **parameters):
    curve = {1: 0.3, 2: 0.5 if value is None else value}
    return Trial(number, parameters, value, curve, "pruned" if value is None else "complete")


FOUND = [trial(n, 0.9 - n / 100, lr=10.0**-n, decay=1e-4 * (n + 1)) for n in range(5)]


def test_all_are_shown_and_the_best_have_curves(tmp_path):
    found = [*FOUND, trial(5, None, lr=1.0, decay=1.0)]
    left, right = best_trials(found, tmp_path / "trials.png", count=3).axes[:2]
    assert (left.get_xlabel(), left.get_ylabel()) == ("lr", "decay")
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")
    assert len(left.collections[0].get_offsets()) == 6 and len(right.lines) == 3
    assert right.get_legend().get_texts()[1].get_text() == "lr 1.0e-01, decay 2.0e-04"
    assert (tmp_path / "trials.png").read_bytes().startswith(b"\x89PNG")


def test_one_parameter_and_words():
    left = best_trials([trial(n, 0.5, width=n + 1, kind="a") for n in range(3)]).axes[0]
    assert (left.get_xlabel(), left.get_ylabel()) == ("width", "last value")
    assert best_trials([trial(0, 0.5, kind="a")]).axes[0].get_xlabel() == "trial"


def test_nothing_to_show():
    with pytest.raises(ArgumentError, match="no trial"):
        best_trials([Trial(0, {"lr": 1.0}, None, {}, "failed")])
