"""``fastscratch evaluate``: how good a trained network is."""

import argparse
from pathlib import Path
from typing import Any

from fastscratch.cli.options import add_data, add_running, load_data, running_as
from fastscratch.cli.run_folder import MODEL, RunFolder
from fastscratch.errors import CheckpointError


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a trained network on the test set",
        description="Measure a trained network on the test set: loss, accuracy, and how often each "
        "class was taken for each.",
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        help="output folder of a training run, or a model or checkpoint file",
    )
    add_data(parser)
    add_running(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print the last line only")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, predict, print."""
    from fastscratch.losses import SoftmaxCrossEntropy
    from fastscratch.training import accuracy, confusion_table

    file, data = _find(Path(options.path), options.data)
    model = load_file(file)
    _, (x, t) = load_data(data, options.data_folder)
    with running_as(options.backend, options.threads):
        scores = model.predict(x)
    if not options.quiet:
        print(f"{file} on {len(x):,} test images of {data}")
        print("rows: the right class; columns: what it was taken for")
        table = confusion_table(scores, t)
        width = max(5, len(str(table.max())) + 1)
        print("     " + "".join(f"{label:>{width}}" for label in range(len(table))))
        for label, row in enumerate(table):
            print(f"{label:>5}" + "".join(f"{count or '.':>{width}}" for count in row))
        print(f"test loss: {SoftmaxCrossEntropy().forward(scores, t):.4f}")
    print(f"test accuracy: {100 * accuracy(scores, t):.2f} %")
    return 0


def load_file(file: Path) -> Any:
    """The network in a model file or a checkpoint."""
    from fastscratch.models import load_model
    from fastscratch.training import load_network
    from fastscratch.training.checkpoint_file import is_checkpoint

    return load_network(file) if is_checkpoint(file) else load_model(file)


def _find(path: Path, data: str | None) -> tuple[Path, str]:
    """The file that a path means, and the data set that its run was trained on."""
    folder = RunFolder(path if path.is_dir() else path.parent)
    trained_on = folder.read_options().get("data", "digits")
    if path.is_dir():
        path = folder.file(MODEL) if folder.file(MODEL).exists() else folder.checkpoint
    elif path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is neither a folder nor a file that could be a network's")
    return path, data or str(trained_on)
