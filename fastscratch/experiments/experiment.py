"""What an experiment is: a claim, a run, and what was found; and how that is written down."""

import csv
import io
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import fastscratch
from fastscratch.data import load_digits, load_fashion_mnist, load_mnist
from fastscratch.errors import ArgumentError, require_extra
from fastscratch.files import written_whole
from fastscratch.types import Array

Data = tuple[tuple[Array, Array], tuple[Array, Array]]
Row = Mapping[str, Any]

DATA_SETS = ("mnist", "fashion_mnist", "digits")


@dataclass
class Setup:
    """What a run is given.

    Attributes
    ----------
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
    output : Path, optional
        Where a run that can be taken up again keeps what it has; a temporary folder if None.
    """

    data: str = "mnist"
    folder: str | os.PathLike[str] | None = None
    quick: bool = False
    seeds: Sequence[int] = (0, 1, 2)
    bar: Any = None
    output: Path | None = None

    def __post_init__(self) -> None:
        if self.data not in DATA_SETS:
            raise ArgumentError(f"data must be one of {', '.join(DATA_SETS)}, got {self.data!r}")
        if not self.seeds:
            raise ArgumentError("an experiment needs a seed or more")

    @cached_property
    def images(self) -> Data:
        """Training and test set as images."""
        if self.data == "digits":
            return load_digits()
        loader = load_mnist if self.data == "mnist" else load_fashion_mnist
        return loader(self.folder)

    @cached_property
    def flat(self) -> Data:
        """The same as rows of pixels."""
        (x, t), (x_test, t_test) = self.images
        return (x.reshape(len(x), -1), t), (x_test.reshape(len(x_test), -1), t_test)

    def pick(self, full: int, quick: int) -> int:
        """A number for a full run, or for a quick one."""
        return quick if self.quick else full

    def expect(self, steps: int) -> None:
        """Tell how many steps the run has."""
        if self.bar is not None:
            self.bar.reset(total=steps)

    def reach(self, steps: int) -> None:
        """Tell that so many are done in all."""
        if self.bar is not None:
            self.bar.update(steps - self.bar.n)

    def advance(self, steps: int = 1) -> None:
        """Tell that some are done."""
        if self.bar is not None:
            self.bar.update(steps)


@dataclass
class Findings:
    """What a run found.

    Attributes
    ----------
    rows : list of mapping
        The table: one row a line of the CSV file.
    numbers : dict
        What the verdict rests on.
    measured : str
        The same in a sentence.
    holds : bool
        Whether the claim does.
    draw : callable
        Draws the figure into a matplotlib Figure.
    note : str
        Why it does not hold, or what differs from the source.
    """

    rows: list[Row]
    numbers: dict[str, Any]
    measured: str
    holds: bool
    draw: Callable[[Any], None]
    note: str = ""


@dataclass(frozen=True)
class Experiment:
    """A claim of the sources, and the run that examines it.

    Attributes
    ----------
    name, title : str
        For the command line, and for people.
    source : str
        Where the claim is made.
    claim : str
        What is claimed.
    band : str
        When it is said to hold, and why the bounds are what they are.
    run : callable
        From a `Setup` to `Findings`.
    settings : dict
        What the run is made with, for the record.
    """

    name: str
    title: str
    source: str
    claim: str
    band: str
    run: Callable[[Setup], Findings]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """An experiment that was run: its numbers, its table, its figure, its verdict."""

    experiment: Experiment
    setup: Setup
    findings: Findings
    seconds: float
    commit: str | None

    @property
    def verdict(self) -> str:
        """``"holds"``, ``"does not hold"``, or ``"not judged"`` after a quick run."""
        if self.setup.quick:
            return "not judged"
        return "holds" if self.findings.holds else "does not hold"

    @property
    def note(self) -> str:
        """What explains the verdict: of full runs on MNIST, as it may not be true of others."""
        explains = self.setup.data == "mnist" and not self.setup.quick
        return self.findings.note if explains else ""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the table and the figure, as JSON can hold it."""
        e, f = self.experiment, self.findings
        return {
            "name": e.name, "title": e.title, "source": e.source, "claim": e.claim,
            "band": e.band, "measured": f.measured, "verdict": self.verdict, "note": self.note,
            "settings": e.settings, "data": self.setup.data, "seeds": list(self.setup.seeds),
            "quick": self.setup.quick, "numbers": _plain(f.numbers),
            "seconds": round(self.seconds, 1), "fastscratch": fastscratch.__version__,
            "commit": self.commit, "numpy": np.__version__, "python": platform.python_version(),
        }  # fmt: skip

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``numbers.json``, ``table.csv`` and, where matplotlib is, ``figure.png``."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        contents = {"numbers.json": text.encode(), "table.csv": _csv(self.findings.rows).encode()}
        for name, content in contents.items():
            with written_whole(place / name) as file:
                file.write(content)
        self.figure().savefig(place / "figure.png", dpi=120)
        return [place / name for name in (*contents, "figure.png")]

    def figure(self) -> Any:
        """The figure; raises MissingExtraError without matplotlib."""
        # Without pyplot: no window system is asked for, and no figure stays open.
        figure = require_extra("matplotlib.figure", "plot").Figure(
            figsize=(7.2, 4.6), layout="constrained"
        )
        self.findings.draw(figure)
        return figure

    def __str__(self) -> str:
        e, f = self.experiment, self.findings
        seeds = ", ".join(map(str, self.setup.seeds))
        lines = [
            f"{e.name}: {e.title}", f"  claim     {e.claim} ({e.source})",
            f"  measured  {f.measured} ({self.setup.data}, seeds {seeds}, {self.seconds:.1f} s)",
            f"  verdict   {self.verdict}" + (f": {self.note}" if self.note else ""),
        ]  # fmt: skip
        return "\n".join(lines)


def run_experiment(experiment: Experiment, setup: Setup) -> Report:
    """Run an experiment; nothing is written."""
    commit, begun = _commit(), time.perf_counter()
    findings = experiment.run(setup)
    return Report(experiment, setup, findings, time.perf_counter() - begun, commit)


def _csv(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain(row) for row in rows)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _commit() -> str | None:
    """The commit of the source tree, where the package runs from one."""
    root = Path(fastscratch.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10,
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
