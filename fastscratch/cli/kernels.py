"""``fastscratch kernels``: every operation's versions; time, explain and check them."""

import argparse
from collections.abc import Callable
from typing import Any

from fastscratch.cli.options import positive_float, positive_int
from fastscratch.errors import ArgumentError, KernelCheckError

SHAPES = {"conv2d": "mnist_c1", "conv2d_pool": "mnist_c1", "pool2d": "mnist_pool",
          "dense": "cnn_hidden", "im2col": "mnist_c1",
          "activations": "mnist_map", "losses": "mnist_scores", "optimizers": "cnn",
          "batch_norm": "mnist_map", "dropout": "cnn_hidden", "rectifiers": "mnist_map",
          "fractional_pool2d": "mnist_pool"}  # fmt: skip
"""The shape at which an operation is timed unless a problem is given, by the operation's file."""

ACTIONS = ("time", "check")
_SECONDS = 0.2
_QUICK_SECONDS = 0.02

_EPILOG = """\
A problem is written OPERATION:DTYPE:INPUT:WINDOW, such as dense_forward:f32:n100i784:o50 or
conv2d_forward:f32:n8c64h56w56:oc128k3s1p1. A kernel of your own is named MODULE:FUNCTION or
FILE.py:FUNCTION.

examples:
  fastscratch kernels                                      every operation, at one shape
  fastscratch kernels conv2d_forward                       at all the shapes its speed is judged by
  fastscratch kernels --explain conv2d_forward             what would run there, and why
  fastscratch kernels time mine.py:conv --op conv2d_forward    your kernel beside the others
  fastscratch kernels check mine.py:conv --op conv2d_forward   is it right? in a process of its own
"""


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "kernels",
        help="list every operation with its versions, time them side by side, check your own",
        description="List every operation with its versions, and time them side by side on this "
        "machine: the median of calls that take turns, after a first that compiles and warms up.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[time|check] [OPERATION|PROBLEM|KERNEL]",
        help="only this operation, at all the shapes that its speed is judged by; only this "
        "problem; or a kernel of your own",
    )
    parser.add_argument("--op", metavar="OPERATION", help="what a kernel of your own computes")
    parser.add_argument("--problem", action="append", metavar="PROBLEM",
                        help="time or check a kernel on this problem; may be repeated (default: "
                        "the operation's shapes, and every case of the tests)")  # fmt: skip
    parser.add_argument("--supports", metavar="FUNCTION",
                        help="a function beside your kernel that tells from a problem whether the "
                        "kernel serves it (default: what its package registers, else all)"
                        )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the versions without timing them")
    parser.add_argument("--explain", action="store_true",
                        help="tell which version would run, and why, without timing")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--threads", type=positive_int, metavar="N",
                        help="threads that kernels may use (default: all processors)")  # fmt: skip
    parser.add_argument("--timeout", type=positive_float, metavar="SECONDS", default=60.0,
                        help="what one run of a kernel that is checked may take (default: 60)"
                        )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do what the words say."""
    from fastscratch.dispatch.outside import register_installed

    words = list(options.words)
    action = words.pop(0) if words and words[0] in ACTIONS else "time"
    if len(words) > 1:
        raise ArgumentError(f"kernels: one operation, problem or kernel, got {' '.join(words)}")
    subject = words[0] if words else None
    own = subject is not None and _is_place(subject)
    if own and not options.op:
        raise ArgumentError(f"kernels: say with --op what {subject} computes")
    if (options.op or options.problem or options.supports) and not own:
        raise ArgumentError(
            "kernels: --op, --problem and --supports belong to a kernel, MODULE:FUNCTION"
        )
    register_installed()
    if action == "check":
        return _check(options, subject, own)
    if own:
        return _time_own(options, str(subject))
    problems = _problems(subject)
    if options.list:
        for op in dict.fromkeys(problem.op for problem in problems):
            print(f"{op:<24} {', '.join(_names(op))}")
    elif options.explain:
        _explain(problems, options.threads)
    else:
        _time(problems, options)
    return 0


def _is_place(text: str) -> bool:
    """Whether a text names a function rather than an operation or one of its problems."""
    from fastscratch.kernels.catalogue import OPS

    head, colon, _ = text.partition(":")
    return bool(colon) and head not in OPS


def _explain(problems: list[Any], threads: int | None) -> None:
    from fastscratch.cli.options import running_as
    from fastscratch.dispatch import explain_problem

    with running_as(None, threads):
        for problem in problems:
            print(explain_problem(problem), end="\n\n")


def _check(options: argparse.Namespace, subject: str | None, own: bool) -> int:
    """Judge a kernel, or the versions that are there, and print the verdict."""
    from fastscratch.kernels.catalogue import OPS, backend_reason, find_op
    from fastscratch.kernels.problem import parse_problem
    from fastscratch.testing import check_kernel
    from fastscratch.testing.check import check_implementation

    threads = (options.threads,) if options.threads else (1, 2, 3)
    if own:
        find_op(options.op)
        try:
            print(check_kernel(options.op, str(subject), problems=options.problem, threads=threads,
                               supports=_supports(options, str(subject)),
                               timeout=options.timeout))  # fmt: skip
        except KernelCheckError as error:
            print(error)
            return 1
        return 0
    chosen = None
    ops = list(OPS)
    if subject is not None:
        problem = parse_problem(subject) if ":" in subject else None
        chosen = None if problem is None else [problem]
        ops = [problem.op if problem else find_op(subject).name]
    code = 0
    for op in ops:
        for entry in OPS[op].implementations:
            if backend_reason(entry.backend):
                continue
            print(f"{entry.name}: ", end="", flush=True)
            try:
                print(check_implementation(entry, problems=chosen, threads=threads))
            except KernelCheckError as error:
                print(error)
                code = 1
    return code


def _supports(options: argparse.Namespace, place: str) -> Callable[[Any], bool] | None:
    """What tells which problems a kernel serves: as given, or as an installed package has it."""
    from fastscratch.kernels.catalogue import find_op
    from fastscratch.testing.locate import find_function, place_of

    if options.supports:
        return find_function(f"{place.rpartition(':')[0]}:{options.supports}")
    for entry in find_op(options.op).implementations:
        if entry.function is not None and place_of(entry.function) == place:
            return entry.supports
    return None


def _time_own(options: argparse.Namespace, place: str) -> int:
    """Time a kernel beside the versions that are there."""
    from fastscratch.dispatch import register_kernel, unregister_kernel
    from fastscratch.kernels.problem import parse_problem
    from fastscratch.testing.locate import find_function

    register_kernel(options.op, find_function(place), name=place.rpartition(":")[2],
                    supports=_supports(options, place))  # fmt: skip
    try:
        given = [parse_problem(text) for text in options.problem or ()]
        _time(given or _problems(options.op), options)
    finally:
        unregister_kernel(options.op, place.rpartition(":")[2])
    return 0


def _time(problems: list[Any], options: argparse.Namespace) -> None:
    from fastscratch.dispatch import get_num_threads
    from fastscratch.kernels.catalogue import BACKENDS, backend_reason

    threads = options.threads or get_num_threads()
    for name in BACKENDS:
        if reason := backend_reason(name):
            print(f"{name} is not available: {reason}")
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
