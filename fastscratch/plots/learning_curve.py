"""The learning curve: loss and accuracy, training and validation, over the epochs."""

import os
from typing import Any

import numpy as np

from fastscratch.errors import require_extra
from fastscratch.training.history import History

_SERIES = (("train", "training", "o"), ("validation", "validation", "s"))
"""Entry of the history, its label, its marker (as in the book: o and s)."""


def learning_curve(
    history: History, path: str | os.PathLike[str] | None = None, *, ax: Any = None
) -> Any:
    """Draw how the loss, and the accuracy if there is one, went over the epochs.

    Parameters
    ----------
    history : History
        As `Trainer.fit` returned it.
    path : path-like, optional
        Write the picture there; the ending (``.png``, ``.svg``, ``.pdf``) tells the format.
    ax : matplotlib Axes, or two of them, optional
        Draw the loss (and the accuracy) there instead of in a new figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> history = History()
    >>> history.append({"epoch": 1, "train_loss": 0.9, "validation_loss": 1.1})
    >>> history.append({"epoch": 2, "train_loss": 0.4, "validation_loss": 0.7})
    >>> learning_curve(history).axes[0].get_ylabel()
    'loss'
    """
    figures = require_extra("matplotlib.figure", "plot")
    with_accuracy = any(value is not None for _, _, value in _points(history, "accuracy"))
    if ax is None:
        # Without pyplot: no window system is asked for, and no figure stays open.
        panels = 2 if with_accuracy else 1
        figure = figures.Figure(figsize=(5.2 * panels, 3.8), layout="constrained")
        axes = list(figure.subplots(1, panels, squeeze=False)[0])
    else:
        axes = list(np.atleast_1d(ax))
        figure = axes[0].figure
    for quantity, panel in zip(("loss", "accuracy"), axes, strict=False):
        _draw(history, quantity, panel)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _points(history: History, quantity: str) -> list[tuple[str, float, float | None]]:
    """(entry, epoch, value) of every record."""
    return [
        (entry, float(record["epoch"] or 0), record.get(f"{entry}_{quantity}"))
        for entry, _, _ in _SERIES
        for record in history
    ]


def _draw(history: History, quantity: str, panel: Any) -> None:
    points = _points(history, quantity)
    many = len(history) > 25
    for entry, label, marker in _SERIES:
        curve = [(x, y) for name, x, y in points if name == entry and y is not None]
        if curve:
            epochs, values = zip(*curve, strict=True)
            panel.plot(
                epochs,
                values,
                marker=marker,
                markersize=4,
                markevery=max(1, len(history) // 20) if many else 1,
                label=label,
            )
    panel.set_xlabel("epoch")
    panel.set_ylabel(quantity)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)
    if quantity == "loss":
        panel.set_ylim(bottom=0)
    elif panel.lines:
        low = min(float(np.min(line.get_ydata())) for line in panel.lines)
        panel.set_ylim(max(0.0, low - 0.05), 1.005)
    if panel.lines:
        panel.legend(loc="upper right" if quantity == "loss" else "lower right")
