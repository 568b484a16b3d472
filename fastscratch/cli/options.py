"""Options that several commands share, and what they stand for."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from fastscratch.errors import ArgumentError

DATA = ("digits", "mnist", "fashion_mnist")


def positive_int(text: str) -> int:
    """An option's value that counts something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


def positive_float(text: str) -> float:
    """An option's value above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def seed(text: str) -> int:
    """An option's value that seeds a random stream."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return value


# argparse names the type in its message about a text that is no number.
positive_int.__name__ = seed.__name__ = "whole number"
positive_float.__name__ = "number"


def add_data(parser: argparse.ArgumentParser) -> None:
    """``--data`` and ``--data-folder``."""
    parser.add_argument(
        "--data", choices=DATA, help="data set (default: digits, which come with the package)"
    )
    parser.add_argument(
        "--data-folder",
        metavar="DIR",
        help="where the files of mnist or fashion_mnist are (default: FASTSCRATCH_DATA, else the "
        "cache, into which they are downloaded)",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """``--backend`` and ``--threads``."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        action="append",
        help="numpy, numba or cython; or OPERATION=NAME, for one operation; may be repeated "
        "(default: the best that is there)",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="threads that kernels may use (default: all processors)",
    )


def load_data(name: str, folder: str | None) -> Any:
    """``(x_train, t_train), (x_test, t_test)`` of a data set by name."""
    from fastscratch import data

    if name == "digits":
        if folder is not None:
            raise ArgumentError("--data-folder is for mnist and fashion_mnist")
        return data.load_digits()
    return {"mnist": data.load_mnist, "fashion_mnist": data.load_fashion_mnist}[name](folder)


def running_as(backend: Sequence[str] | None, num_threads: int | None) -> ExitStack:
    """The context in which ``--backend`` and ``--threads`` hold."""
    from fastscratch.dispatch import threads, use_backend

    stack = ExitStack()
    name, per_op = None, {}
    for word in backend or ():
        op, equals, choice = word.partition("=")
        if equals:
            per_op[op] = choice
        else:
            name = word
    if name is not None or per_op:
        stack.enter_context(use_backend(name, **per_op))
    if num_threads is not None:
        stack.enter_context(threads(num_threads))
    return stack
