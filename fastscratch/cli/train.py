"""``fastscratch train``: train a network, keep what comes of it, and measure it on the test set."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastscratch.cli.options import (
    add_data,
    add_running,
    load_data,
    positive_float,
    positive_int,
    running_as,
    seed,
)
from fastscratch.cli.report import draw, epoch_lines, report
from fastscratch.cli.run_folder import HISTORY, MODEL, RunFolder
from fastscratch.errors import ArgumentError, CheckpointError

MODELS = (
    "digits_cnn", "simple_conv_net", "deep_conv_net", "mlp", "two_layer_net", "multi_layer_net",
    "multi_layer_net_extend",
)  # fmt: skip
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
SCHEDULES = ("constant", "cosine")

DEFAULTS = {
    "data": "digits",
    "data_folder": None,
    "model": "simple_conv_net",
    "epochs": 12,
    "batch_size": 100,
    "optimizer": "adam",
    "lr": None,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "validation": 0.1,
    "patience": None,
    "seed": 0,
    "backend": None,
    "threads": None,
}
DIGITS_DEFAULTS = {"model": "digits_cnn", "epochs": 20, "batch_size": 32}
"""What suits 1,437 small images better."""


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "train",
        help="train a network and measure it on the test set",
        description="Train a network and measure it on test images that training never sees. "
        "Without options: a convolutional network on the handwritten digits that come with the "
        "package.",
        epilog="A run killed at any moment goes on with --output DIR --resume, and ends as if it "
        "had not been. Ctrl-C ends a run with what was reached (exit code 130).",
    )
    add_data(parser)
    parser.add_argument("--model", choices=MODELS, help="default: digits_cnn for digits, else "
                        "simple_conv_net")  # fmt: skip
    parser.add_argument("--epochs", type=positive_int, metavar="N",
                        help="default: 20 for digits, else 12")  # fmt: skip
    parser.add_argument("--batch-size", type=positive_int, metavar="N",
                        help="default: 32 for digits, else 100")  # fmt: skip
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="default: adam")
    parser.add_argument("--lr", type=positive_float, metavar="RATE",
                        help="learning rate (default: the optimizer's own)")  # fmt: skip
    parser.add_argument("--weight-decay", type=float, metavar="W", help="default: 0")
    parser.add_argument("--schedule", choices=SCHEDULES,
                        help="of the learning rate over the epochs (default: cosine)")  # fmt: skip
    parser.add_argument("--validation", type=float, metavar="SHARE",
                        help="share of the training images that is set aside and only watched, "
                        "0 for none (default: 0.1)")  # fmt: skip
    parser.add_argument("--patience", type=positive_int, metavar="N",
                        help="stop after N epochs without a lower validation loss, and go back to "
                        "the best (default: do not stop)")  # fmt: skip
    parser.add_argument("--seed", type=seed, metavar="N",
                        help="of first weights, order, dropout and split (default: 0)")  # fmt: skip
    add_running(parser)
    parser.add_argument("--output", metavar="DIR", type=Path,
                        help="keep checkpoint, model, history.json and learning_curve.png there"
                        )  # fmt: skip
    parser.add_argument("--checkpoint-every", type=positive_int, metavar="N",
                        help="write a checkpoint after so many batches, besides those after each "
                        "epoch")  # fmt: skip
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true",
                       help="go on with the run in the output folder, as it was begun")  # fmt: skip
    again.add_argument("--overwrite", action="store_true",
                       help="replace the run in the output folder")  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="print the last line only")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check, train, write, measure."""
    folder = _open_folder(options)
    chosen = _settle(options, folder)
    train, test = load_data(chosen["data"], chosen["data_folder"])
    with running_as(chosen["backend"], chosen["threads"]):
        trainer, train, validation = _make_trainer(chosen, train, options, folder)
        if folder is not None and not options.resume:
            folder.clear()
            folder.write_options(chosen)
        try:
            history = trainer.fit(
                *train, epochs=chosen["epochs"], validation=validation, resume=options.resume
            )
        finally:
            # An error or a second Ctrl-C loses nothing of what was reached.
            if folder is not None and trainer.history.records:
                trainer.history.save(folder.file(HISTORY))
        if folder is not None:
            trainer.model.save(folder.file(MODEL))
        from fastscratch.training import accuracy

        share = accuracy(trainer.model.predict(test[0]), test[1])
    picture = "" if folder is None else draw(history, folder)
    if not options.quiet:
        report(history, folder, picture, len(train[0]))
    print(f"test accuracy: {100 * share:.2f} %")
    return 130 if history.interrupted else 0


def _open_folder(options: argparse.Namespace) -> RunFolder | None:
    """The output folder, seen to be usable before anything else takes time."""
    if options.output is None:
        for name in ("resume", "overwrite", "checkpoint_every"):
            if getattr(options, name):
                raise ArgumentError(f"--{name.replace('_', '-')} needs --output DIR")
        return None
    folder = RunFolder(options.output)
    if options.resume and not folder.occupied():
        raise CheckpointError(f"{folder.folder} holds no run to go on with; leave out --resume")
    if folder.occupied() and not options.resume and not options.overwrite:
        raise CheckpointError(
            f"{folder.folder} holds a run already: --resume goes on with it, --overwrite replaces "
            f"it, or name another folder"
        )
    folder.prepare()
    return folder


def _settle(options: argparse.Namespace, folder: RunFolder | None) -> dict[str, Any]:
    """Options given, else those of the run that goes on, else the defaults."""
    before = folder.read_options() if folder is not None and options.resume else {}
    given = {name: getattr(options, name) for name in DEFAULTS}
    known = {**before, **{name: value for name, value in given.items() if value is not None}}
    data = known.get("data", DEFAULTS["data"])
    chosen = {**DEFAULTS, **(DIGITS_DEFAULTS if data == "digits" else {}), **known}
    if not 0 <= chosen["validation"] < 1:
        raise ArgumentError(
            f"--validation must be at least 0 and below 1, got {chosen['validation']}"
        )
    if chosen["patience"] and not chosen["validation"]:
        raise ArgumentError("--patience needs a --validation above 0")
    return chosen


def _make_trainer(
    chosen: Mapping[str, Any], train: Any, options: argparse.Namespace, folder: RunFolder | None
) -> tuple[Any, Any, Any]:
    """The trainer, the images it trains on, and those that are set aside."""
    from fastscratch import models, training
    from fastscratch.data import split_validation
    from fastscratch.losses import SoftmaxCrossEntropy
    from fastscratch.optimizers import make_optimizer
    from fastscratch.schedules import CosineDecay

    validation = None
    if chosen["validation"]:
        x, t = train
        train, validation = split_validation(x, t, chosen["validation"], seed=chosen["seed"])
    callbacks: list[Any] = []
    if chosen["patience"]:
        callbacks.append(training.EarlyStopping(patience=chosen["patience"]))
    rate = {} if chosen["lr"] is None else {"lr": chosen["lr"]}
    optimizer = make_optimizer(chosen["optimizer"], weight_decay=chosen["weight_decay"], **rate)
    if not options.quiet:
        callbacks.append(epoch_lines(chosen["epochs"]))
    trainer = training.Trainer(
        models.build(chosen["model"], train[0].shape[1:], seed=chosen["seed"]),
        SoftmaxCrossEntropy(),
        optimizer,
        batch_size=chosen["batch_size"],
        seed=chosen["seed"],
        schedule=CosineDecay(chosen["epochs"]) if chosen["schedule"] == "cosine" else None,
        callbacks=callbacks,
        checkpoint=None if folder is None else folder.folder,
        checkpoint_every=options.checkpoint_every,
        progress_bar=False if options.quiet else None,
    )
    return trainer, train, validation
