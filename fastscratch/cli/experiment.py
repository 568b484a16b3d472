"""``fastscratch experiment``: run the experiments of the book and the lecture."""

import argparse
import sys
from pathlib import Path
from typing import Any

from fastscratch.cli.options import DATA, add_running, positive_int, running_as, seed
from fastscratch.errors import ArgumentError, MissingExtraError


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "experiment",
        help="examine what the book and the lecture claim",
        description="Run an experiment with the settings of its source, over several seeds, and "
        "say whether its claim holds. Numbers (numbers.json), their table (table.csv) and a figure "
        "(figure.png) are written to a folder of its name.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, or all")
    parser.add_argument("--list", action="store_true", help="show the experiments, and end")
    parser.add_argument("--quick", action="store_true",
                        help="few epochs and samples, to see that it runs; nothing is judged"
                        )  # fmt: skip
    parser.add_argument("--data", choices=DATA, default=None,
                        help="data set (default: mnist, as in the sources)")  # fmt: skip
    parser.add_argument("--data-folder", metavar="DIR", help="where its files are (default: "
                        "FASTSCRATCH_DATA, else the cache)")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, metavar="N",
                        help="the first seed (default: 0)")  # fmt: skip
    parser.add_argument("--seeds", type=positive_int, default=None, metavar="N",
                        help="how many seeds (default: 3, or 1 with --quick)")  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("experiments"), metavar="DIR",
                        help="where the folders are made (default: experiments)")  # fmt: skip
    add_running(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, or run one after the other."""
    from fastscratch import experiments

    if options.list:
        width = max(map(len, experiments.EXPERIMENTS))
        for name, experiment in experiments.EXPERIMENTS.items():
            print(f"{name:<{width}}  {experiment.title} ({experiment.source})")
        return 0
    names = list(options.names)
    if not names:
        raise ArgumentError("experiment needs a NAME, all, or --list")
    if names == ["all"]:
        names = list(experiments.EXPERIMENTS)
    unknown = [name for name in names if name not in experiments.EXPERIMENTS]
    if unknown:
        raise ArgumentError(
            f"there is no experiment {unknown[0]!r}; there are {', '.join(experiments.EXPERIMENTS)}"
        )
    count = options.seeds or (1 if options.quick else 3)
    seeds = range(options.seed, options.seed + count)
    with running_as(options.backend, options.threads):
        for name in names:
            _run_one(name, options, seeds)
    return 0


def _run_one(name: str, options: argparse.Namespace, seeds: range) -> None:
    from tqdm import tqdm

    from fastscratch import experiments

    folder = options.output / name
    try:
        folder.mkdir(parents=True, exist_ok=True)  # now, rather than after a long run
    except OSError as error:
        raise ArgumentError(f"--output: {folder} cannot be made: {error.strerror or error}; name "
                            "another folder") from error  # fmt: skip
    hidden = options.quiet or not sys.stderr.isatty()
    with tqdm(desc=name, disable=hidden, dynamic_ncols=True, leave=False) as bar:
        report = experiments.run(
            name, data=options.data or "mnist", folder=options.data_folder, quick=options.quick,
            seeds=seeds, bar=bar, output=folder,
        )  # fmt: skip
    print(report)
    try:
        report.write(folder)
    except MissingExtraError:
        print("  no figure, which needs matplotlib: pip install 'fastscratch[plot]'")
    print(f"  written   {folder}")
