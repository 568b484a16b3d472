"""``fastscratch search``: find a learning rate and a weight decay by random trials."""

import argparse
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from fastscratch.cli.options import add_data, load_data, positive_float, positive_int, seed
from fastscratch.cli.train import MODELS, OPTIMIZERS
from fastscratch.errors import ArgumentError, MissingExtraError


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "search",
        help="find a learning rate and a weight decay by random trials",
        description="Train a network with random learning rates and weight decays, for a few "
        "epochs each, and tell which did best on images that are set aside. Each process runs "
        "one trial at a time on one thread; trials that fall behind are given up.",
        epilog="The trials are kept in a file: the same command goes on where it was stopped, and "
        "more --trials are added to those that are there.",
    )
    add_data(parser)
    parser.add_argument("--model", choices=MODELS, default="mlp", help="default: mlp")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="default: sgd")
    parser.add_argument("--lr", type=positive_float, nargs=2, default=(1e-5, 1.0),
                        metavar=("LOW", "HIGH"), help="range of rates (default: 1e-5 1)"
                        )  # fmt: skip
    parser.add_argument("--weight-decay", type=positive_float, nargs=2, default=(1e-8, 1e-1),
                        metavar=("LOW", "HIGH"), help="range of decays (default: 1e-8 0.1)"
                        )  # fmt: skip
    parser.add_argument("--trials", type=positive_int, default=50, metavar="N",
                        help="in all (default: 50)")  # fmt: skip
    parser.add_argument("--epochs", type=positive_int, default=10, metavar="N",
                        help="of a trial (default: 10)")  # fmt: skip
    parser.add_argument("--samples", type=positive_int, metavar="N",
                        help="use the first N training images only (default: all)")  # fmt: skip
    parser.add_argument("--batch-size", type=positive_int, default=100, metavar="N",
                        help="default: 100")  # fmt: skip
    parser.add_argument("--validation", type=float, default=0.2, metavar="SHARE",
                        help="share of the training images set aside (default: 0.2)")  # fmt: skip
    parser.add_argument("--processes", type=positive_int, default=1, metavar="N",
                        help="how many work at once (default: 1)")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="default: 0")
    parser.add_argument("--output", type=Path, default=Path("search"), metavar="DIR",
                        help="folder of trials.log and trials.png (default: search)")  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Search, tell the best, draw."""
    from tqdm import tqdm

    from fastscratch.plots import best_trials
    from fastscratch.training.search import LogUniform, best_range, search

    if not 0 < options.validation < 1:
        raise ArgumentError(f"--validation must be between 0 and 1, got {options.validation}")
    settings = {
        "data": options.data or "digits", "folder": options.data_folder,
        "samples": options.samples, "validation": options.validation, "model": options.model,
        "optimizer": options.optimizer, "batch_size": options.batch_size,
        "epochs": options.epochs, "seed": options.seed,
    }  # fmt: skip
    _split(settings["data"], settings["folder"], options.samples, options.validation, options.seed)
    space = {"lr": LogUniform(*options.lr), "weight_decay": LogUniform(*options.weight_decay)}
    hidden = options.quiet or not sys.stderr.isatty()
    with tqdm(total=options.trials, desc="trials", disable=hidden, dynamic_ncols=True) as bar:
        found = search(
            partial(train_and_validate, **settings), space, trials=options.trials,
            storage=options.output / "trials.log", name=repr(sorted({
                **settings, "lr": options.lr, "weight_decay": options.weight_decay,
            }.items())), seed=options.seed, processes=options.processes,
            progress=lambda count: bar.update(count - bar.n),
        )  # fmt: skip
    complete = [trial for trial in found if trial.value is not None]
    print(f"{len(found)} trials, {len(found) - len(complete)} of them given up early")
    print("accuracy  learning rate  weight decay")
    for trial in complete[:10]:
        rate, decay = trial.parameters["lr"], trial.parameters["weight_decay"]
        print(f"{100 * (trial.value or 0):7.2f} %  {rate:13.2e}  {decay:12.2e}")
    for name in space:
        low, high = best_range(found, name)
        print(f"ten best: {name} {low:.1e} to {high:.1e}")
    if not any(trial.curve for trial in found):  # all of them overflowed at once
        return 0
    try:
        best_trials(found, options.output / "trials.png")
    except MissingExtraError:
        print("no picture, which needs matplotlib: pip install 'fastscratch[plot]'")
    return 0


def train_and_validate(
    parameters: Mapping[str, Any], report: Any, *, data: str, folder: str | None,
    samples: int | None, validation: float, model: str, optimizer: str, batch_size: int,
    epochs: int, seed: int,
) -> float:  # fmt: skip
    """One trial: the accuracy on the images that are set aside."""
    from fastscratch import models
    from fastscratch.errors import TrainingError
    from fastscratch.losses import SoftmaxCrossEntropy
    from fastscratch.optimizers import make_optimizer
    from fastscratch.training import Callback, Trainer

    class Tell(Callback):
        def on_epoch_end(self, trainer: Any, record: Any) -> None:
            report(record["epoch"], float(record["validation_accuracy"]))

    train, aside = _split(data, folder, samples, validation, seed)
    network = models.build(model, train[0].shape[1:], seed=seed)
    trainer = Trainer(
        network, SoftmaxCrossEntropy(), make_optimizer(optimizer, **parameters),
        batch_size=batch_size, seed=seed, callbacks=[Tell()], progress_bar=False,
    )  # fmt: skip
    try:
        history = trainer.fit(*train, epochs=epochs, validation=aside)
    except TrainingError:  # a rate that makes numbers overflow is a bad one, and no error here
        return 0.0
    return float(history.last["validation_accuracy"] or 0.0)


@cache
def _split(data: str, folder: str | None, samples: int | None, validation: float, seed: int) -> Any:
    """Read once in each process."""
    from fastscratch.data import split_validation

    (x, t), _ = load_data(data, folder)
    return split_validation(x[:samples], t[:samples], validation, seed=seed)
