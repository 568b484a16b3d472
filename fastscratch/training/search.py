"""Search for hyper-parameters: random samples on logarithmic scales, in several processes.

It stands on Optuna (the extra ``search``): its journal file holds every trial, so that a search
that was stopped goes on, and several processes, each with one kernel thread, share one. A trial
that falls behind the median of the others at the same epoch is pruned.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastscratch.dispatch import threads
from fastscratch.errors import ArgumentError, TrainingError, require_extra

try:
    import fcntl
except ImportError:  # not a POSIX system: Optuna's own lock serves there
    fcntl = None  # type: ignore[assignment]

Report = Callable[[int, float], None]
"""Called by an objective with an epoch and the value so far; it ends a trial that is pruned."""

Objective = Callable[[Mapping[str, Any], Report], float]
"""From parameters to the value that is to be as large as can be, such as an accuracy."""


@dataclass(frozen=True)
class LogUniform:
    """A number whose logarithm is uniform: each power of ten is as likely as another.

    Parameters
    ----------
    low, high : float
        Above 0.

    Examples
    --------
    >>> LogUniform(1e-6, 1e-2).high
    0.01
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < float("inf"):
            raise ArgumentError(
                f"LogUniform: 0 < low < high is needed, got low={self.low!r}, high={self.high!r}"
            )


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Parameters
    ----------
    *options : str, int, float or bool

    Examples
    --------
    >>> Choice((50, 100)).options
    (50, 100)
    """

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ArgumentError("Choice: there must be one option or more")


Space = Mapping[str, LogUniform | Choice]


@dataclass(frozen=True)
class Trial:
    """One run of the objective.

    Attributes
    ----------
    number : int
        Counted from 0, in the order in which they began.
    parameters : dict
    value : float or None
        None if it was pruned or failed.
    curve : dict of int to float
        What it reported, by epoch.
    state : {"complete", "pruned", "failed"}
    """

    number: int
    parameters: dict[str, Any]
    value: float | None
    curve: dict[int, float]
    state: str


def search(
    objective: Objective,
    space: Space,
    *,
    trials: int,
    storage: str | os.PathLike[str],
    name: str = "search",
    seed: int = 0,
    processes: int = 1,
    prune: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[Trial]:
    """Try random parameters until there are so many trials, those of earlier calls among them.

    Parameters
    ----------
    objective : callable
        With several processes a function at the top of a module, or a `functools.partial` of one:
        each process imports it. Each runs its kernels on one thread.
    space : mapping of str to LogUniform or Choice
        What to try.
    trials : int
        How many there are at the end.
    storage : path
        The file that holds them; a search that finds some there goes on.
    name : str
        Several searches may share a file.
    seed : int
        Of the samples; a search in one process repeats itself.
    processes : int
        How many work at once.
    prune : bool
        Whether a trial ends that is below the median of the others at the same epoch, after ten
        trials and a fifth of the longest one's epochs.
    progress : callable, optional
        Is told how many trials are finished.

    Returns
    -------
    list of Trial
        The best first; then those without a value.

    Raises
    ------
    ArgumentError
        If a count is below 1, or the space is empty.
    TrainingError
        If a process ends with an error.
    MissingExtraError
        If Optuna is not installed.

    Examples
    --------
    >>> import tempfile
    >>> def objective(parameters, report):
    ...     return -abs(parameters["lr"] - 0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = search(objective, {"lr": LogUniform(1e-4, 1.0)}, trials=40,
    ...                    storage=f"{folder}/trials.log")
    >>> len(found), 0.003 < found[0].parameters["lr"] < 0.03
    (40, True)
    """
    if trials < 1 or processes < 1:
        raise ArgumentError(
            f"search: trials and processes must be 1 or more, got {trials!r} and {processes!r}"
        )
    if not space:
        raise ArgumentError("search: there must be a parameter or more to try")
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    job = _Job(objective, dict(space), trials, path, name, seed, prune)
    study = _open(job, 0)
    _abandon_unfinished(study)
    if processes == 1:
        _work(job, 0, progress)
    else:
        _share_out(job, processes, progress, study)
    found = [_as_trial(trial) for trial in study.get_trials(deepcopy=False)]
    found = [trial for trial in found if trial.state != "failed" or trial.curve]
    return sorted(
        found, key=lambda trial: (trial.value is None, -(trial.value or 0.0), trial.number)
    )


@dataclass(frozen=True)
class _Job:
    """What each process is told."""

    objective: Objective
    space: dict[str, Any]
    trials: int
    path: Path
    name: str
    seed: int
    prune: bool


class JournalLock:
    """Optuna's lock of its file, as the system's own, which goes with the process that holds it.

    Optuna's is a link beside the file. A process that is killed at the wrong moment leaves it, and
    those that go on wait for it.

    Parameters
    ----------
    path : path-like
        The file, which is made if it is not there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lock = JournalLock(f"{folder}/trials.log")
    ...     held = lock.acquire()
    ...     lock.release()
    >>> held
    True
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: Any = None

    def acquire(self) -> bool:
        """Wait for it."""
        self._file = self.path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


def _open(job: _Job, worker: int) -> Any:
    """The study in the file, with a sampler of a worker's own."""
    optuna = require_extra("optuna", "search")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = optuna.storages.journal
    lock = None if fcntl is None else JournalLock(job.path)
    storage = optuna.storages.JournalStorage(
        journal.JournalFileBackend(str(job.path.resolve()), lock_obj=lock)
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=10) if job.prune else None
    study = optuna.create_study(
        storage=storage, study_name=job.name, direction="maximize", load_if_exists=True,
        pruner=pruner or optuna.pruners.NopPruner(),
    )  # fmt: skip
    # A worker that takes a search up must not draw what was drawn before.
    drawn = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.RandomSampler(seed=(job.seed * 1009 + worker) * 9973 + drawn)
    return study


def _abandon_unfinished(study: Any) -> None:
    """Trials of processes that were killed would count as running for ever."""
    optuna = require_extra("optuna", "search")
    for trial in study.get_trials(deepcopy=False):
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _finished(study: Any) -> int:
    optuna = require_extra("optuna", "search")
    done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return len(study.get_trials(deepcopy=False, states=done))


def _work(job: _Job, worker: int, progress: Callable[[int], None] | None = None) -> None:
    """Run trials until as many have begun as there are to be."""
    optuna = require_extra("optuna", "search")
    states, study = optuna.trial.TrialState, _open(job, worker)
    parent = multiprocessing.parent_process()
    # A worker whose search was killed is nobody's.
    while parent is None or parent.is_alive():
        trial = study.ask()
        begun = [
            other for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and other.state != states.FAIL
        ]  # fmt: skip
        if len(begun) >= job.trials:
            study.tell(trial, state=states.FAIL)
            return
        try:
            with threads(1):
                value = _run(job, trial)
        except optuna.TrialPruned:
            study.tell(trial, state=states.PRUNED)
        except Exception:
            study.tell(trial, state=states.FAIL)
            raise
        else:
            study.tell(trial, value)
        if progress is not None:
            progress(_finished(study))


def _run(job: _Job, trial: Any) -> float:
    """The objective's value for parameters that are drawn."""
    optuna = require_extra("optuna", "search")
    parameters = {name: _suggest(trial, name, kind) for name, kind in job.space.items()}

    def report(epoch: int, value: float) -> None:
        trial.report(value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return job.objective(parameters, report)


def _suggest(trial: Any, name: str, kind: LogUniform | Choice) -> Any:
    if isinstance(kind, LogUniform):
        return trial.suggest_float(name, kind.low, kind.high, log=True)
    return trial.suggest_categorical(name, list(kind.options))


def _share_out(
    job: _Job, processes: int, progress: Callable[[int], None] | None, study: Any
) -> None:
    """Processes of their own: a forked one could not use threads that this one has started."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(job, number)) for number in range(processes)]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.2)
            if progress is not None:
                progress(min(job.trials, _finished(study)))
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()
    codes = [worker.exitcode for worker in workers]
    if any(codes):
        raise TrainingError(
            f"search: a process ended with exit code {next(filter(None, codes))}; its error stands "
            "above. What was finished is kept, and the same call goes on with it"
        )


def _as_trial(trial: Any) -> Trial:
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    value = trial.value if state == "complete" else None
    return Trial(trial.number, dict(trial.params), value, dict(trial.intermediate_values), state)


def best_range(trials: Sequence[Trial], parameter: str, count: int = 10) -> tuple[float, float]:
    """The least and the largest value of a parameter among the best trials.

    Parameters
    ----------
    trials : sequence of Trial
        From `search`: the best first.
    parameter : str
    count : int
        How many of them.

    Returns
    -------
    (float, float)

    Examples
    --------
    >>> found = [Trial(n, {"lr": lr}, -n, {}, "complete") for n, lr in enumerate((0.2, 0.1, 9.0))]
    >>> best_range(found, "lr", count=2)
    (0.1, 0.2)
    """
    values = [trial.parameters[parameter] for trial in trials if trial.value is not None][:count]
    if not values:
        raise ArgumentError("best_range: no trial is complete")
    return min(values), max(values)
