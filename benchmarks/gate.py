"""Is the working tree slower than a commit? Fails where a kernel is, and noise does not fool it.

    python -m benchmarks.gate main                     all of a default run, one thread
    python -m benchmarks.gate main conv2d numba        what has all of these words in its name
    python -m benchmarks.gate main --threads 1 2       two threads, too
    python -m benchmarks compare v0.1 main             two commits

Both sides are built, each into a folder of its own, and run on the same Python, NumPy and Numba. A
lap starts a fresh process for each side (what memory a process happens to get makes it a few per
cent faster or slower for as long as it lives) and lets the two take turns of some milliseconds. It
gives one ratio for each kernel: the median over pairs of turns, which what disturbs both of a pair
leaves as it is. Laps go on, for what is not decided yet, until sign tests say on which side of the
threshold, and of its inverse, the median of these ratios lies, or the time is over. Training steps
are compared as kernels are.

The exit code is 1 if a kernel is slower, 2 if nothing could be compared, else 0.
"""

import argparse
import itertools
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.suite import grid
from benchmarks.suite.calls import Call, kernel_call
from benchmarks.suite.training import NETWORKS, training_step
from benchmarks.worker import ROOT, Worker, closing

FOLDER = ROOT / "benchmarks/env/gate"

THRESHOLD = 1.06
"""Between nothing and the 15 % that must be found, which are less where memory is slow just now."""

PAIRS = 8
"""Of turns in each of the first laps."""
MORE_PAIRS_EVERY = 5
"""Laps, after which a lap has as many pairs more: the kernels that are left are the noisy ones."""
TURN_SECONDS = 0.004

SURE_CHANGED, SURE_UNCHANGED = 0.002, 0.05
"""What the sign test may err: a change that is none, and a change that is missed."""

STEP = "training_step"


class Benchmark(NamedTuple):
    """One kernel at one shape, or the step of one network, whose problem is empty."""

    op: str
    implementation: str
    shape: str
    problem: str
    threads: int

    def __str__(self) -> str:
        return f"{self.op} {self.implementation} {self.shape}, {self.threads} thr"


class Side(NamedTuple):
    """One of the two that are compared: where it is installed."""

    name: str
    folder: Path

    def start(self) -> Worker:
        """A process that runs this side's kernels."""
        return Worker(
            "benchmarks.gate:timed_call", path=str(self.folder / "site"),
            NUMBA_CACHE_DIR=str(self.folder / "numba"),
            FASTSCRATCH_CACHE=str(self.folder / "cache"),
        )  # fmt: skip


class Verdict(NamedTuple):
    """A kernel's ratios, head over base, one a lap: above 1 the head is slower."""

    benchmark: Benchmark
    ratios: list[float]
    reason: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def word(self) -> str:
        """ "slower", "faster", "unchanged" or "undecided"; "n/a" where a side does not have it."""
        if not self.ratios:
            return "n/a"
        return decide(self.ratios)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("words", nargs="*", help="only what has all of them in its name")
    parser.add_argument("--head", help="a commit in the place of the working tree")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=25.0, help="at most, building included")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    chosen = [
        benchmark for benchmark in benchmarks(options.threads)
        if all(word in str(benchmark) for word in options.words)
    ]  # fmt: skip
    if not chosen:
        print(f"nothing has {' and '.join(options.words)} in its name")
        return 2
    base = install("base", options.base)
    head = install("head", options.head)
    return report(compare(base, head, chosen, end))


def benchmarks(threads: Iterable[int]) -> list[Benchmark]:
    """The kernels and the training steps of a default run."""
    kernels = [
        Benchmark(found.op, implementation, shape, problem, count)
        for found in grid.grids()
        for implementation in found.implementations
        for shape, problem in found.problems.items()
        for count in threads
    ]
    steps = [
        Benchmark(STEP, backend, network, "", count)
        for network in NETWORKS for backend in grid.backends() for count in threads
    ]  # fmt: skip
    return kernels + steps


_kept: list[training_step] = []
"""Their blocks stay open until the process ends."""


def timed_call(op: str, implementation: str, shape: str, text: str, num_threads: int) -> Call:
    """What a worker times for a benchmark."""
    if op != STEP:
        return kernel_call(text, implementation, num_threads)
    _kept.append(training_step())
    return _kept[-1].prepare(shape, implementation, num_threads)


def install(name: str, commit: str | None) -> Side:
    """Build a commit, or the working tree, into a folder of its own."""
    folder = FOLDER / name
    source = folder / "source"
    kept = folder / "build"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    if commit:
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    else:
        copy_tree(source)
    return build(Side(name, folder), source, kept)


def copy_tree(target: Path) -> None:
    """Every file of the working tree that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def build(side: Side, source: Path, kept: Path) -> Side:
    """Install a source tree; objects of an earlier build, or of the tree's own, are used again."""
    if not kept.exists() and (ROOT / "build").exists():
        shutil.copytree(ROOT / "build", kept)
    if kept.exists():
        kept.rename(source / "build")
    site = side.folder / "site"
    shutil.rmtree(site, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-compile", "--target", str(site), str(source)],
        env={**os.environ, "FASTSCRATCH_BUILD": "require"}, check=False,
    )  # fmt: skip
    (source / "build").rename(kept)
    if done.returncode:
        raise SystemExit(f"{side.name} does not build")
    return side


def compare(base: Side, head: Side, chosen: list[Benchmark], end: float) -> list[Verdict]:
    """Laps until every kernel is decided, or the time is over."""
    ratios: dict[Benchmark, list[float]] = {benchmark: [] for benchmark in chosen}
    reasons: dict[Benchmark, str] = {}
    rng = random.Random(0)
    for lap in itertools.count():
        open_ones = [
            benchmark for benchmark in chosen
            if benchmark not in reasons and decide(ratios[benchmark]) == "undecided"
        ]  # fmt: skip
        if not open_ones or time.monotonic() > end:
            break
        print(f"lap {lap + 1}: {len(open_ones)} undecided", flush=True)
        sides = [base, head] if lap % 2 else [head, base]
        workers = {side.name: side.start() for side in sides}  # both at once
        with closing(*workers.values()):
            for benchmark in open_ones:
                if time.monotonic() > end:
                    break
                found = race(workers, benchmark, rng, PAIRS * (1 + lap // MORE_PAIRS_EVERY))
                if isinstance(found, str):
                    reasons[benchmark] = found
                else:
                    ratios[benchmark].append(found)
    return [Verdict(key, found, reasons.get(key, "")) for key, found in ratios.items()]


def race(
    workers: dict[str, Worker], benchmark: Benchmark, rng: random.Random, pairs: int
) -> float | str:
    """Head's time over base's, from pairs of turns in one lap; or why there is none."""
    names = list(workers)
    counts = {}
    for name in names:
        counts[name] = workers[name].ask(
            "prepare", key="it", seconds=TURN_SECONDS, op=benchmark.op, shape=benchmark.shape,
            text=benchmark.problem, implementation=benchmark.implementation,
            num_threads=benchmark.threads,
        )  # fmt: skip
        if isinstance(counts[name], str):
            return f"{name}: {counts[name]}"
    calls = max(counts.values())
    ratios = []
    for _ in range(pairs):
        rng.shuffle(names)
        seconds = {name: workers[name].ask("time", key="it", calls=calls) for name in names}
        ratios.append(seconds["head"] / seconds["base"])
    return statistics.median(ratios)


def decide(ratios: list[float]) -> str:
    """Where the median of the ratios lies, by sign tests against the threshold and its inverse.

    >>> decide([1.15] * 9), decide([0.85] * 9), decide([1.01] * 5)
    ('slower', 'faster', 'unchanged')
    >>> decide([1.15] * 8), decide([0.9, 1.2] * 5)
    ('undecided', 'undecided')
    """
    slower = sum(ratio > THRESHOLD for ratio in ratios)
    faster = sum(ratio < 1 / THRESHOLD for ratio in ratios)
    if chance(slower, len(ratios)) <= SURE_CHANGED:
        return "slower"
    if chance(faster, len(ratios)) <= SURE_CHANGED:
        return "faster"
    if chance(len(ratios) - max(slower, faster), len(ratios)) <= SURE_UNCHANGED:
        return "unchanged"
    return "undecided"


def chance(successes: int, trials: int) -> float:
    """The probability of so many heads or more, of a fair coin.

    >>> chance(7, 7) == 1 / 128, chance(0, 3)
    (True, 1.0)
    """
    return sum(math.comb(trials, k) for k in range(successes, trials + 1)) / 2**trials


def report(verdicts: list[Verdict]) -> int:
    """Print what was found, the slowest first."""
    measured = [verdict for verdict in verdicts if verdict.ratios]
    for verdict in sorted(measured, key=lambda verdict: -verdict.median):
        if verdict.word != "unchanged" or verdict.median > 1.03 or verdict.median < 0.97:
            print(f"{verdict.median:6.3f} x base's time, {len(verdict.ratios):2d} laps, "
                  f"{verdict.word:9} {verdict.benchmark}")  # fmt: skip
    for verdict in verdicts:
        if verdict.reason:
            print(f"   n/a {verdict.benchmark}: {verdict.reason}")
    words = [verdict.word for verdict in verdicts]
    kinds = ("slower", "faster", "unchanged", "undecided", "n/a")
    print(", ".join(f"{words.count(kind)} {kind}" for kind in kinds))
    if not measured:
        return 2
    return 1 if "slower" in words else 0


if __name__ == "__main__":
    sys.exit(main())
