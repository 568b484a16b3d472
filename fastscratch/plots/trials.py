"""The trials of a search: where they lie, and how the best ones learn."""

import os
from collections.abc import Sequence
from typing import Any

from fastscratch.errors import ArgumentError, require_extra
from fastscratch.training.search import Trial


def best_trials(
    trials: Sequence[Trial],
    path: str | os.PathLike[str] | None = None,
    *,
    count: int = 20,
) -> Any:
    """Draw all trials of a search over two parameters or one, and the curves of the best.

    Parameters
    ----------
    trials : sequence of Trial
        From `fastscratch.training.search.search`: the best first.
    path : path-like, optional
        Write the picture there; the ending (``.png``, ``.svg``, ``.pdf``) tells the format.
    count : int
        How many curves.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ArgumentError
        If no trial has reported anything.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> found = [Trial(n, {"lr": 10.0**-n, "decay": 0.1}, 0.9, {1: 0.5, 2: 0.9}, "complete")
    ...          for n in (1, 2)]
    >>> [axes.get_xlabel() for axes in best_trials(found).axes[:2]]
    ['lr', 'epoch']
    """
    figures = require_extra("matplotlib.figure", "plot")
    seen = [trial for trial in trials if trial.curve]
    if not seen:
        raise ArgumentError("best_trials: no trial has reported a value")
    figure = figures.Figure(figsize=(12.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [
        name for name, value in seen[0].parameters.items() if isinstance(value, int | float)
    ][:2]  # fmt: skip
    last = [list(trial.curve.values())[-1] for trial in seen]
    first = [trial.parameters[names[0]] for trial in seen] if names else range(len(seen))
    second = [trial.parameters[names[1]] for trial in seen] if len(names) > 1 else last
    points = left.scatter(first, second, c=last, s=16)
    figure.colorbar(points, ax=left, label="last value")
    left.set(
        xlabel=names[0] if names else "trial", ylabel=names[1] if len(names) > 1 else "last value",
        title=f"{len(seen)} trials",
    )  # fmt: skip
    for axis, name in zip(("x", "y"), names, strict=False):
        values = [trial.parameters[name] for trial in seen]
        if min(values) > 0 and max(values) > 20 * min(values):
            left.set(**{f"{axis}scale": "log"})
    for trial in [trial for trial in seen if trial.value is not None][:count]:
        label = ", ".join(
            f"{name} {value:.1e}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial.parameters.items()
        )
        right.plot(list(trial.curve), list(trial.curve.values()), linewidth=1, label=label)
    right.set(xlabel="epoch", ylabel="value", title=f"the {count} best")
    right.grid(alpha=0.3)
    if right.lines:
        right.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.02, 0.5))
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
