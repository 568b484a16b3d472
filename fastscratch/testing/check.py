"""The judge of kernels: every case, dtype and flag, against the reference, in hostile memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastscratch.errors import ArgumentError, KernelCheckError
from fastscratch.kernels.catalogue import Implementation, Kernel, find_op
from fastscratch.kernels.problem import Problem, parse_problem
from fastscratch.testing.cases import all_problems
from fastscratch.testing.inputs import (
    double_precision,
    input_kinds,
    make_inputs,
    reference_outputs,
    run_kernel,
)
from fastscratch.testing.locate import find_function, place_of
from fastscratch.testing.memory import PLACEMENTS, Placed, guard_reason, place
from fastscratch.testing.report import Failure, Report
from fastscratch.testing.tolerances import tolerance
from fastscratch.types import Array

Outputs = dict[str, Array]


class Rules(NamedTuple):
    """What a kernel is held to."""

    threads: Sequence[int] = (1, 2, 3)
    tolerance_factor: float = 1.0
    exact_integers: bool = True
    spreads_nonfinite: bool = False


def check_kernel(
    op: str,
    function: Kernel | str,
    *,
    problems: Iterable[str | Problem] | None = None,
    supports: Callable[[Problem], bool] | None = None,
    threads: Sequence[int] = (1, 2, 3),
    tolerance_factor: float = 1.0,
    exact_integers: bool = True,
    spreads_nonfinite: bool = False,
    isolated: bool | None = None,
    timeout: float = 60.0,
) -> Report:
    """Judge a kernel against the reference, and against the contract of kernels.

    For every problem it is run on small integers (which must agree to the last bit), on normal
    numbers (within the table of tolerances, and with the same bits whatever the number of threads),
    and on infinities and NaN (which must arrive where the reference has them). Its arrays begin or
    end at an unreadable page, or are aligned to their element only; outputs are filled with NaN
    before, inputs are read-only and compared after. It may return nothing.

    Parameters
    ----------
    op : str
        The operation, such as ``"conv2d_forward"``.
    function : callable or str
        The kernel; ``fastscratch.kernels.catalogue.OPS[op].signature`` shows its arguments. Or the
        place where it is: ``"package.module:function"`` or ``"file.py:function"``.
    problems : iterable of str or Problem, optional
        The problems to try, in their written form; None means every case in both dtypes.
    supports : callable, optional
        Tells from a problem whether the kernel serves it; the others are skipped, and counted.
    threads : sequence of int
        The numbers of threads to try.
    tolerance_factor : float
        How much more than the table says results may differ, for normal numbers.
    exact_integers : bool
        False for an algorithm that rounds small integers; they are then compared like others.
    spreads_nonfinite : bool
        True for an algorithm that may make results non-finite where the reference's are not.
    isolated : bool, optional
        Whether the kernel runs in a process of its own: one that crashes or hangs is a failure
        then, with the case that it failed on. Without it, such a kernel takes this process along.
        None does so wherever another process can find the function. Where not, it is judged on one
        thread in a copy of this process (which only some systems can make) and then here, and the
        report says so.
    timeout : float
        Seconds that one run may take in a process of its own, compilation included. After two
        problems that took longer, the others are left out, and the report says how many.

    Returns
    -------
    Report
        What was tried.

    Raises
    ------
    KernelCheckError
        If anything was wrong; its text is the report, the smallest failing problem first.
    ArgumentError, ShapeError
        If the operation or a problem does not exist, or another process cannot find the kernel
        that is to be isolated.

    Examples
    --------
    >>> def dense(x, weight, bias, y, num_threads):
    ...     y[...] = x @ weight + bias
    >>> report = check_kernel("dense_forward", dense, problems=["dense_forward:f32:n3i4:o5"])
    >>> report.ok, report.runs
    (True, 8)
    """
    spec = find_op(op)
    if not callable(function) and not isinstance(function, str):
        raise ArgumentError(f"check_kernel: function must be callable, got {function!r}")
    chosen = all_problems(op) if problems is None else [_as_problem(op, text) for text in problems]
    rules = Rules(tuple(threads), tolerance_factor, exact_integers, spreads_nonfinite)
    place = function if isinstance(function, str) else place_of(function)
    if isolated and place is None:
        raise ArgumentError(
            f"check_kernel: {_name(function)!r} cannot be found by another process; put it into a "
            f"module under its own name, or leave isolated out"
        )
    report = Report(op, _name(function))
    if guard_reason():
        report.notes.append(f"stray reads cannot be seen: {guard_reason()}")
    every = sorted(chosen, key=spec.nbytes)
    served = [problem for problem in every if supports is None or supports(problem)]
    report.skipped = len(every) - len(served)
    if isolated is not False and place is not None:
        from fastscratch.testing.isolated import judge_isolated  # which needs this file

        judge_isolated(report, place, served, rules, timeout)
    else:
        kernel = find_function(function) if isinstance(function, str) else function
        if isolated is None:
            _judge_first_in_a_copy(report, kernel, served, rules, timeout)
        for problem in served if report.ok else ():
            report.problems += 1
            judge(report, kernel, problem, rules)
    if not report.ok:
        raise KernelCheckError(str(report))
    return report


def check_implementation(
    implementation: Implementation,
    *,
    problems: Iterable[str | Problem] | None = None,
    threads: Sequence[int] = (1, 2, 3),
) -> Report:
    """Judge an implementation on the catalogue, by what its algorithm promises.

    Parameters
    ----------
    implementation : Implementation
        One of ``catalogue.OPS[op].implementations``.
    problems, threads
        As for `check_kernel`; problems that it does not support are skipped, and counted.

    Returns
    -------
    Report
        What was tried.

    Raises
    ------
    KernelCheckError
        If anything was wrong.
    BackendUnavailableError
        If it is not there.

    Examples
    --------
    >>> from fastscratch.kernels.catalogue import OPS
    >>> reference = OPS["im2col"].direct("numpy")
    >>> check_implementation(reference, problems=["im2col:f32:n1c1h3w3:k2s1p0"]).problems
    1
    """
    algorithm = implementation.algorithm
    return check_kernel(
        implementation.op,
        implementation.load(),
        problems=problems,
        supports=implementation.supports,
        threads=threads,
        tolerance_factor=algorithm.tolerance_factor if algorithm else 1.0,
        exact_integers=algorithm is None or algorithm.exact_integers,
        spreads_nonfinite=algorithm is not None,
        isolated=False if implementation.function is None else None,  # ours do not crash
    )


def _judge_first_in_a_copy(
    report: Report, kernel: Kernel, problems: Sequence[Problem], rules: Rules, timeout: float
) -> None:
    """See whether a kernel that no other process can find survives on one thread."""
    from fastscratch.testing.isolated import judge_forked

    # Numba ends a copied process that runs what is parallel.
    parallel = getattr(kernel, "targetoptions", {}).get("parallel", False)
    where = "this process"
    if hasattr(os, "fork") and not parallel:
        judge_forked(report, kernel, problems, rules, timeout)
        where = "a copy of this process, with one thread"
        where += ", and then in this one" if report.ok else ""
    report.notes.append(
        f"judged in {where}; a function in a module is judged in a process of its own, which a "
        "crash cannot take along"
    )


def _name(function: Kernel | str) -> str:
    if isinstance(function, str):
        return function
    return str(getattr(function, "__name__", type(function).__name__))


def judge(
    report: Report, kernel: Kernel, problem: Problem, rules: Rules,
    begins: Callable[[str, str, int], None] = lambda *run: None,
) -> None:  # fmt: skip
    """Run a kernel on one problem in every way, and add what was wrong to the report.

    ``begins`` is told of each run before it begins: inputs, placement and threads.
    """
    for kind in input_kinds(problem):
        inputs = make_inputs(problem, kind)
        if kind == "normal":
            expected = reference_outputs(*double_precision(problem, inputs))
        else:
            expected = reference_outputs(problem, inputs)
        first: Outputs | None = None
        for placement, num_threads in _schedule(kind, rules.threads):
            begins(kind, placement, num_threads)
            outputs, faults = _run(kernel, problem, inputs, placement, num_threads)
            report.runs += 1
            if outputs is not None:
                faults += _compare(problem, kind, outputs, expected, rules)
                if kind == "normal" and first is not None:
                    faults += _same_bits(outputs, first)
                first = first or outputs
            report.failures += [
                Failure(str(problem), kind, placement, num_threads, text) for text in faults
            ]
            if faults:
                break  # one run says what is wrong; the others would say it again


def _as_problem(op: str, text: str | Problem) -> Problem:
    problem = parse_problem(text) if isinstance(text, str) else text
    if problem.op != op:
        raise ArgumentError(f"check_kernel: {problem} is not a problem of {op}")
    return problem


def _schedule(kind: str, threads: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Placements of the arrays and numbers of threads that a kind of inputs is tried with."""
    if kind == "normal":  # same bits: whatever the threads, and from run to run
        yield from (("begin", number) for number in (*threads, threads[-1]))
    elif kind == "non-finite":
        yield "end", threads[-1]
    else:
        yield from ((p, threads[i % len(threads)]) for i, p in enumerate(PLACEMENTS))


def _run(
    kernel: Kernel, problem: Problem, inputs: Outputs, placement: str, num_threads: int
) -> tuple[Outputs | None, list[str]]:
    """Outputs of one run in hostile memory (None if it raised), and what it did wrong with it."""
    spec = find_op(problem.op)
    placed: dict[str, Placed] = {}
    for name, array in spec.arrays(problem).items():
        if array.role == "in":
            placed[name] = place(inputs[name], placement)
        else:
            placed[name] = Placed(array.shape, array.dtype, placement)
        if array.role == "inout":
            placed[name].array[...] = inputs[name]
    read_only = [name for name, one in placed.items() if not one.array.flags.writeable]
    faults, raised = [], False
    try:
        arrays = {name: one.array for name, one in placed.items()}
        returned = run_kernel(kernel, problem, arrays, num_threads)
        if returned is not None:
            faults.append(f"returned {type(returned).__name__}, a kernel returns nothing")
    except Exception as error:
        raised = True
        faults.append(f"raised {type(error).__name__}: {error}")
    for name, one in placed.items():
        if not one.intact():
            faults.append(f"wrote outside of {name}")
        if name in read_only and inputs[name].tobytes() != one.array.tobytes():
            faults.append(f"changed its input {name}")
    if raised:
        return None, faults
    return {name: one.array for name, one in placed.items() if name not in read_only}, faults


def _compare(
    problem: Problem, kind: str, outputs: Outputs, expected: Outputs, rules: Rules
) -> list[str]:
    """What is wrong with the outputs, one text for each."""
    exact = kind in ("integers", "bad argmax") and rules.exact_integers
    exact = exact and not find_op(problem.op).rounds
    allowed = 0.0 if exact else tolerance(problem) * rules.tolerance_factor
    if kind == "integers" and not rules.exact_integers:
        # The table is for factors of variance 1; whole numbers from -3 to 3 have variance 4.
        allowed *= 4
    faults = []
    for name, out in outputs.items():
        ref = expected[name]
        # Moved and compared values are settled to the last bit, NaN and infinities among them.
        settled = ref.dtype.kind != "f" or tolerance(problem) == 0
        if kind == "non-finite" and not settled:
            wrong = _misplaced(out, ref, rules)
            both = np.isfinite(out) & np.isfinite(ref)
            wrong |= both & (_distance(out, ref, both) > allowed)
        else:
            equal = (out == ref) | (np.isnan(out) & np.isnan(ref))
            wrong = ~(equal | (_distance(out, ref, ~equal) <= allowed))
        if wrong.any():
            faults.append(_describe(name, out, ref, wrong, allowed))
    return faults


def _misplaced(out: Array, ref: Array, rules: Rules) -> Array:
    """Where a result is finite and should not be, or (for direct algorithms) the reverse."""
    wrong = np.isfinite(out) & ~np.isfinite(ref)
    return wrong if rules.spreads_nonfinite else wrong | (~np.isfinite(out) & np.isfinite(ref))


def _distance(out: Array, ref: Array, where: Array) -> Array:
    """|out - ref| in float64, 0 where nobody asks."""
    distance = np.zeros(out.shape)
    with np.errstate(all="ignore"):
        np.subtract(out, ref, out=distance, where=where, dtype=np.float64)
    return np.asarray(np.abs(distance))


def _describe(name: str, out: Array, ref: Array, wrong: Array, allowed: float) -> str:
    """Where and by how much an output is wrong: the count, the worst element, the bound."""
    distance = _distance(out, ref, wrong)
    size = np.where(np.isnan(distance), np.inf, distance)
    worst: Any = np.unravel_index(np.argmax(size), out.shape)
    if not wrong[worst]:
        worst = tuple(np.argwhere(wrong)[0])
    place_text = ", ".join(str(int(index)) for index in worst)
    return (
        f"{name} is wrong in {int(wrong.sum())} of {wrong.size} elements, most at [{place_text}]: "
        f"got {out[worst]!s}, expected {ref[worst]!s}, difference {distance[worst]:.3g}, "
        f"allowed {allowed:.3g}"
    )


def _same_bits(outputs: Outputs, first: Outputs) -> list[str]:
    return [
        f"{name} has other bits than in the first run (threads may not change results)"
        for name, out in outputs.items() if out.tobytes() != first[name].tobytes()
    ]  # fmt: skip
