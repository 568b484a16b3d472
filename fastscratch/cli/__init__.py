"""The command line: ``fastscratch train | evaluate | experiment | info | kernels |
search | tune``.

Each command is a module with ``add(commands)``, which describes its options, and ``run(options)``,
which does its work and returns the exit code; what costs time to import is imported by ``run``.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from fastscratch import __version__
from fastscratch.cli import evaluate, experiment, info, kernels, search, train, tune
from fastscratch.errors import ArgumentError, FastscratchError

OK, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

_EPILOG = """\
examples:
  fastscratch train                                   a network for handwritten digits, in seconds
  fastscratch train --data mnist --output runs/first  keeps checkpoint, model, history and picture
  fastscratch evaluate runs/first                     how good the network is on the test set
  fastscratch experiment overfit                      examines a claim of the book, draws a figure
  fastscratch kernels conv2d_forward                  every version of an operation, timed here
  fastscratch tune simple_conv_net                    remembers which version is the fastest

environment:
  FASTSCRATCH_BACKEND      numpy, numba or cython; or operation=backend, separated by commas
  FASTSCRATCH_NUM_THREADS  threads that kernels may use
  FASTSCRATCH_TUNING=1     measures whatever comes up for the first time
  FASTSCRATCH_CONFIG       configuration file, instead of config.toml in the user's folder
  FASTSCRATCH_DATA         folder with mnist/ and fashion_mnist/ in it
  FASTSCRATCH_CACHE        where downloads and measured times are kept
  FASTSCRATCH_DEBUG=1      shows where an error arose

exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="fastscratch",
        description="Deep learning from scratch, at the speed of the machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastscratch {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (train, evaluate, experiment, search, info, kernels, tune):
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of the process.

    Returns
    -------
    int
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A folder's name that the terminal's encoding does not have must not end a training.
            stream.reconfigure(errors="backslashreplace")
    parser = make_parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # argparse has said what is wrong, or has shown the help
        return end.code if isinstance(end.code, int) else USAGE
    try:
        code: int = options.run(options)
        if sys.stdout is not None:  # it is, where a process begins with its output closed
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\nfastscratch: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Who reads the output has seen enough; Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except (FastscratchError, OSError, MemoryError) as error:
        if os.environ.get("FASTSCRATCH_DEBUG"):
            raise
        print(f"fastscratch: {error or 'there is not enough memory'}", file=sys.stderr)
        return USAGE if isinstance(error, ArgumentError) else FAILURE
