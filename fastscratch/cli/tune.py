"""``fastscratch tune``: measure what a network needs ahead, and show what was measured."""

import argparse
import logging
from pathlib import Path
from typing import Any

from fastscratch.cli.options import positive_int
from fastscratch.errors import ArgumentError

MODELS = ("digits_cnn", "simple_conv_net", "mlp")
_EXTENTS = {"digits_cnn": (1, 8, 8)}
_MNIST = (1, 28, 28)


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "tune",
        help="measure which implementation is the fastest for each operation of a network",
        description="Run a training step and a prediction of a network, and measure every "
        "implementation of each operation that comes up. What was measured is kept in the user's "
        "cache, and decides from then on which implementation runs on this machine.",
        epilog="A table of times holds for one processor and one set of versions; elsewhere it "
        "is refused.",
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help=f"{', '.join(MODELS)}, or a model file or checkpoint",
    )
    parser.add_argument(
        "--input", metavar="CxHxW", help="extents of one image (default: 1x8x8 for digits_cnn, "
        "1x28x28 else; a file knows its own)"
    )  # fmt: skip
    parser.add_argument("--batch-size", type=positive_int, default=100, metavar="N",
                        help="default: 100")  # fmt: skip
    parser.add_argument("--threads", type=positive_int, nargs="+", metavar="N",
                        help="thread settings to measure (default: the one in force)")  # fmt: skip
    parser.add_argument("--accuracy", choices=("default", "fast"), default="default",
                        help="fast: measure the algorithms that it allows, too")  # fmt: skip
    parser.add_argument("--again", action="store_true",
                        help="forget what was measured before, of all models")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print the table of times")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the table to a file")
    parser.add_argument("--import", type=Path, metavar="FILE", dest="imported",
                        help="take over the times in a file")  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Import, measure, show, export: what was asked for, in this order."""
    from fastscratch.dispatch.tuning_table import own_table, read_table, write_table

    if not (options.model or options.show or options.export or options.imported or options.again):
        raise ArgumentError("name a MODEL to measure, or --show, --export, --import or --again")
    table = own_table()
    if options.again:
        table.clear()
    if options.imported:
        times = read_table(options.imported)
        table.update(times)
        print(f"{len(times)} problems taken over from {options.imported}")
    if options.model:
        _measure(options)
    if options.show:
        _show(table.times)
    if options.export:
        write_table(options.export, table.lasting())
        print(f"{len(table.times)} problems written to {options.export}")
    return 0


def _measure(options: argparse.Namespace) -> None:
    import fastscratch as fs

    model = _make_model(options)
    printer = logging.StreamHandler()
    printer.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("fastscratch.dispatch.tuning")
    level = log.level
    log.addHandler(printer)
    log.setLevel(logging.INFO)
    try:
        for threads in options.threads or [fs.get_num_threads()]:
            with fs.threads(threads), fs.accuracy(options.accuracy), fs.tuning():
                _step(model, options.batch_size)
    finally:
        log.setLevel(level)
        log.removeHandler(printer)


def _make_model(options: argparse.Namespace) -> Any:
    from fastscratch import models
    from fastscratch.cli.evaluate import load_file

    if options.model not in MODELS:
        path = Path(options.model)
        if not path.exists():
            raise ArgumentError(
                f"there is no model {options.model!r}: neither one of {', '.join(MODELS)} nor a "
                f"file"
            )
        return load_file(path)
    extents = _EXTENTS.get(options.model, _MNIST)
    if options.input:
        words = options.input.split("x")
        if len(words) != 3 or not all(word.isdecimal() and int(word) for word in words):
            raise ArgumentError(f"--input must be CxHxW, such as 3x32x32, got {options.input!r}")
        extents = (int(words[0]), int(words[1]), int(words[2]))
    return models.build(options.model, extents)


def _step(model: Any, batch_size: int) -> None:
    """One training step and one prediction, on random images."""
    import numpy as np

    from fastscratch.layers.flat_parameters import FlatParameters
    from fastscratch.losses import SoftmaxCrossEntropy
    from fastscratch.optimizers import Adam
    from fastscratch.training.step import update

    rng = np.random.default_rng(0)
    x = rng.random((batch_size, *model.input_shape), dtype=model.dtype.type)
    t = rng.integers(0, model.output_shape[-1], batch_size)
    update(model, SoftmaxCrossEntropy(), Adam(), FlatParameters(model), x, t)
    model.predict(x)


def _show(times: Any) -> None:
    """The table, the fastest of each problem first."""
    if not times:
        print("nothing was measured yet; fastscratch tune MODEL does it")
    for problem in sorted(times):
        for threads in sorted(times[problem], key=int):
            print(f"{problem}, {threads} thread{'s' * (threads != '1')}")
            found = times[problem][threads]
            for name in sorted(found, key=found.__getitem__):
                print(f"  {name:<20} {1e3 * found[name]:>10.4f} ms")
