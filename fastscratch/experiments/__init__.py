"""The experiments of the book and the lecture: each a claim, a run over several seeds, a verdict.

::

    from fastscratch import experiments
    report = experiments.run("overfit", seeds=(0, 1, 2))
    print(report)                    # the claim, what was measured, whether it holds
    report.write("runs/overfit")     # numbers.json, table.csv, figure.png
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastscratch.errors import ArgumentError
from fastscratch.experiments import basics, generalisation, search, training_runs
from fastscratch.experiments.experiment import (
    Experiment,
    Findings,
    Report,
    Setup,
    run_experiment,
)

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for module in (basics, training_runs, generalisation, search)
    for experiment in module.EXPERIMENTS
}
"""The experiments by name, in the order of the book."""

__all__ = ["EXPERIMENTS", "Experiment", "Findings", "Report", "Setup", "run"]


def run(
    name: str,
    *,
    data: str = "mnist",
    folder: str | os.PathLike[str] | None = None,
    quick: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
    bar: Any = None,
    output: str | os.PathLike[str] | None = None,
) -> Report:
    """Run an experiment by name.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    data : {"mnist", "fashion_mnist", "digits"}
        The data set; the sources use MNIST.
    folder : path-like, optional
        Where its files are.
    quick : bool
        Few epochs and samples, to see that it runs; nothing is judged then.
    seeds : sequence of int
        One run each.
    bar : object, optional
        A progress bar, as tqdm's are.
    output : path-like, optional
        A folder in which a search keeps its trials, so that it can be taken up again.

    Returns
    -------
    Report

    Raises
    ------
    ArgumentError
        If there is none of that name, or no such data set.

    Examples
    --------
    >>> run("perceptron").verdict
    'holds'
    """
    if name not in EXPERIMENTS:
        raise ArgumentError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    kept = None if output is None else Path(output)
    setup = Setup(data, folder, quick, tuple(seeds), bar, kept)
    return run_experiment(EXPERIMENTS[name], setup)
