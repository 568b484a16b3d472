"""Starts a script of the book's as ``python SCRIPT`` would, with our modules in place."""

import argparse
import os
import sys
import types
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from fastscratch.compat.book.modules import PACKAGES, StandIns
from fastscratch.dispatch import record_choices, reuse_buffers, single_blas_thread
from fastscratch.errors import ArgumentError

_BACKEND = "module://fastscratch.compat.book.figures"
_FOLDER_VARIABLE = "FASTSCRATCH_FIGURES"  # as figures.py reads it, which needs matplotlib
_NO_FILE = 2

_EPILOG = """\
The script runs as "python SCRIPT" would run it: its folder comes first on sys.path, the working
folder stays, its arguments, exit code and traceback are its own. The modules common.functions,
gradient, layers, optimizer, trainer, multi_layer_net, multi_layer_net_extend and util, and
dataset.mnist are this library's, even where the script's own tree has files of these names; --own
takes those instead. MNIST comes from the folder in FASTSCRATCH_DATA, from dataset/ in the script's
own tree, or from a mirror.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script that the command line names; what it raises comes out of here.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of the process.
    """
    options = _parser().parse_args(arguments)
    try:
        stand_ins = StandIns(options.own)
    except ArgumentError as error:
        _parser().error(str(error))
    script = Path(options.script)
    if not script.is_file():
        # What Python itself says, and its exit code.
        problem = "No such file or directory" if not script.exists() else "is no file"
        sys.stderr.write(f"fastscratch: can't open file {str(script.absolute())!r}: {problem}\n")
        raise SystemExit(_NO_FILE)
    _choose_figures(options.figures)
    sys.meta_path.insert(0, stand_ins)
    # "python -m" puts the working folder first, where "python SCRIPT" puts the script's.
    sys.path[: 0 if sys.flags.safe_path else 1] = [str(script.resolve().parent)]
    for package in PACKAGES:
        sys.modules.pop(package, None)
    sys.argv = [options.script, *options.arguments]
    _trim_tracebacks(str(script.absolute()))
    with ExitStack() as stack:
        choices = stack.enter_context(record_choices()) if options.choices else None
        stack.enter_context(reuse_buffers())
        # Scripts multiply small matrices by NumPy between our operations, whose threads would wait
        # for those of BLAS, spinning.
        stack.enter_context(single_blas_thread())
        try:
            _run(script)
        finally:
            _report(stand_ins, choices)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastscratch.compat.book",
        description='Run a script written for the code of "Deep Learning from Scratch", unchanged, '
        "on this library's operations.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--figures", metavar="DIR",
        help="save what plt.show() shows as PNG files there; without a screen that is done anyway, "
        "in the folder figures",
    )  # fmt: skip
    parser.add_argument(
        "--own", metavar="MODULE", action="append", default=[],
        help="take this module from the script's own tree; may be given several times; "
        "common or dataset for all of it",
    )  # fmt: skip
    parser.add_argument(
        "--choices", action="store_true", help="tell in the end which implementations ran"
    )
    parser.add_argument("script", metavar="SCRIPT", help="the script to run")
    parser.add_argument(
        "arguments", metavar="...", nargs=argparse.REMAINDER, help="arguments of the script"
    )
    return parser


class _MainLoader(SourceFileLoader):
    """Python's loader of source files, without the cache that a main module never has."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _run(script: Path) -> None:
    main_module = types.ModuleType("__main__")
    main_module.__file__ = str(script.absolute())
    main_module.__loader__ = loader = _MainLoader("__main__", main_module.__file__)
    sys.modules["__main__"] = main_module
    loader.exec_module(main_module)


def _choose_figures(folder: str | None) -> None:
    """Save figures where that is asked for, or where there is nothing to show them on."""
    no_screen = sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if folder is not None or (no_screen and "MPLBACKEND" not in os.environ):
        os.environ["MPLBACKEND"] = _BACKEND
    if folder is not None:
        # Absolute: a script may change the working folder.
        os.environ[_FOLDER_VARIABLE] = os.path.abspath(folder)


def _trim_tracebacks(file: str) -> None:
    """Begin tracebacks with the script, as Python does: nobody's error is in how it was started."""
    show = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> Any:
        entry = traceback
        while entry is not None and entry.tb_frame.f_code.co_filename != file:
            entry = entry.tb_next
        # Without the script in it, it is a SyntaxError of the script's, which shows the line.
        if entry is not None or isinstance(error, SyntaxError):
            error.__traceback__ = traceback = entry
        return show(kind, error, traceback)

    sys.excepthook = hook


def _report(stand_ins: StandIns, choices: dict[str, dict[str, int]] | None) -> None:
    if stand_ins.shadowed:
        files = "\n  ".join(sorted(stand_ins.shadowed))
        sys.stderr.write(
            "fastscratch: its own modules ran in place of these files (--own MODULE takes them "
            f"instead):\n  {files}\n"
        )
    if choices is not None:
        sys.stderr.write("fastscratch: which implementation ran:\n")
        for op, names in sorted(choices.items()):
            sys.stderr.write(f"  {op:<32}{', '.join(names)}\n")
