"""``fastscratch kernels``: every operation, its versions, and how fast each is here."""

import argparse
from typing import Any

from fastscratch.cli.options import positive_int

SHAPES = {"conv2d": "mnist_c1", "pool2d": "mnist_pool", "dense": "cnn_hidden", "im2col": "mnist_c1",
          "activations": "mnist_map", "losses": "mnist_scores", "optimizers": "cnn",
          "batch_norm": "mnist_map", "dropout": "cnn_hidden"}  # fmt: skip
"""The shape at which an operation is timed unless a problem is given, by the operation's file."""

_SECONDS = 0.2
_QUICK_SECONDS = 0.02


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "kernels",
        help="list every operation with its versions, and time them side by side",
        description="List every operation with its versions, and time them side by side on this "
        "machine: the median of calls that take turns, after a first that compiles and warms up.",
        epilog="A problem is written OPERATION:DTYPE:INPUT:WINDOW, such as "
        "conv2d_forward:f32:n8c64h56w56:oc128k3s1p1 or dense_forward:f32:n100i784:o50.",
    )
    parser.add_argument(
        "operation",
        nargs="?",
        metavar="OPERATION|PROBLEM",
        help="only this operation, at all the shapes that its speed is judged by, or only this "
        "problem (default: every operation at one shape)",
    )
    parser.add_argument("--list", action="store_true", help="list the versions without timing them")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="threads that kernels may use (default: all processors)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from fastscratch.dispatch import get_num_threads
    from fastscratch.kernels.catalogue import BACKENDS, backend_reason

    threads = options.threads or get_num_threads()
    missing = {name: reason for name in BACKENDS if (reason := backend_reason(name))}
    for name, reason in missing.items():
        print(f"{name} is not available: {reason}")
    problems = _problems(options.operation)
    if options.list:
        for op in dict.fromkeys(problem.op for problem in problems):
            print(f"{op:<24} {', '.join(_names(op))}")
        return 0
    print(f"milliseconds a call, {threads} thread{'s' if threads > 1 else ''}; in brackets: how "
          f"many times as fast as the NumPy reference\n")  # fmt: skip
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    for problem in problems:
        print(problem)
        times = time_versions(problem, threads, seconds)
        reference = times.get("numpy")
        for name, found in times.items():
            if isinstance(found, str):
                print(f"  {name:<20} {found}")
            else:
                ratio = f"({reference / found:.1f}x)" if isinstance(reference, float) else ""
                print(f"  {name:<20} {1e3 * found:>10.3f}  {ratio}", flush=True)
    return 0


def _problems(text: str | None) -> list[Any]:
    """The problems that an argument means."""
    from fastscratch.kernels.catalogue import OPS, find_op
    from fastscratch.kernels.problem import parse_problem
    from fastscratch.testing import find_case, shapes_of

    if text is None:
        return [find_case(op, _shape(spec.module, shapes_of(op))) for op, spec in OPS.items()]
    if ":" in text:
        return [parse_problem(text)]
    return [find_case(find_op(text).name, shape) for shape in shapes_of(text)]


def _shape(module: str, shapes: dict[str, str]) -> str:
    return SHAPES[module] if SHAPES[module] in shapes else next(iter(shapes))


def _names(op: str) -> list[str]:
    from fastscratch.kernels.catalogue import OPS

    return [entry.name for entry in OPS[op].implementations]


def time_versions(problem: Any, threads: int, seconds: float) -> dict[str, float | str]:
    """Seconds of a call of each version of an operation, or why it has none."""
    from fastscratch.dispatch.choose import candidates, worthwhile_threads
    from fastscratch.dispatch.measure import Candidate, measure
    from fastscratch.kernels.catalogue import backend_reason, find_op

    spec = find_op(problem.op)
    found: dict[str, float | str] = {}
    timed = []
    for entry, reason in candidates(problem):
        missing = bool(backend_reason(entry.backend))  # told above, once
        found[entry.name] = "not available" if missing else reason
        if not reason:
            count = worthwhile_threads(spec, problem, entry, threads)
            timed.append(Candidate(entry.name, entry.load(), count))
    return found | measure(problem, timed, seconds)
