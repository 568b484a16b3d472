"""Judge a kernel in a process of its own, so that one that crashes or hangs is named, and no more.

The child tells of each run before it begins, one JSON object a line. When it ends too early, or
says nothing for too long, the run that it told of last is what the kernel failed on, and another
child goes on with the next problem.
"""

import faulthandler
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import IO, Any

from fastscratch.errors import KernelCheckError
from fastscratch.kernels.catalogue import Kernel
from fastscratch.kernels.problem import Problem, parse_problem
from fastscratch.testing.check import Rules, judge
from fastscratch.testing.locate import find_function
from fastscratch.testing.report import Failure, Report

_MOST_CRASHES = 5
_MOST_HANGS = 2
"""Each takes the whole timeout."""
_HANGS = "did not return within"
_STARTING_SECONDS = 120.0
"""Until a child's first word: it imports NumPy, and what the kernel's module needs."""


def judge_isolated(
    report: Report, kernel: str, problems: Sequence[Problem], rules: Rules, timeout: float
) -> None:
    """Judge a kernel on problems in child processes, and add what was found to the report.

    Parameters
    ----------
    report : Report
        Gets the numbers of problems and runs, and the failures.
    kernel : str
        The place where it is.
    problems : sequence of Problem
        In the order in which they are tried.
    rules : Rules
        What the kernel is held to.
    timeout : float
        Seconds that one run may take.
    """

    def start(todo: list[str]) -> subprocess.Popen[str]:
        task = {"kernel": kernel, "problems": todo, "rules": rules._asdict(), "path": sys.path}
        child = subprocess.Popen(
            [sys.executable, "-c", "from fastscratch.testing.isolated import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(task) + "\n")
            child.stdin.close()
        except BrokenPipeError:  # it has ended already; who reads from it finds out how
            pass
        return child

    _judge_in_children(report, start, problems, timeout)


def judge_forked(
    report: Report, kernel: Kernel, problems: Sequence[Problem], rules: Rules, timeout: float
) -> None:
    """Judge a kernel that no other process can find, on one thread, in copies of this process.

    A copy has none of the threads that were started before, so that it can use no more.

    Parameters
    ----------
    report, problems, rules, timeout
        As for `judge_isolated`; but the report gets nothing unless the kernel ends or stops a copy.
    kernel : callable
        The kernel itself.
    """
    one_thread = rules._replace(threads=(1,))
    found = Report(report.op, report.kernel)
    if _judge_in_children(found, lambda todo: _Copy(kernel, todo, one_thread), problems, timeout):
        vars(report).update(vars(found))


class _Copy:
    """A copy of this process that judges a kernel; what is used here of `subprocess.Popen`."""

    def __init__(self, kernel: Kernel, problems: list[str], rules: Rules) -> None:
        ends = [os.pipe(), os.pipe()]
        self.pid = os.fork()
        if not self.pid:
            try:
                faulthandler.disable()  # it would report to the parent's output
                (_, out), (_, err) = ends
                os.dup2(err, 1)
                os.dup2(err, 2)
                _judge_all(kernel, problems, rules, os.fdopen(out, "w", buffering=1))
            finally:
                os._exit(0)  # nothing of what the parent does at its end
        for _, write in ends:
            os.close(write)
        self.stdout, self.stderr = (os.fdopen(read, "r") for read, _ in ends)
        self.returncode = 0

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _judge_in_children(
    report: Report, start: Callable[[list[str]], Any], problems: Sequence[Problem], timeout: float
) -> int:
    """How many children did not end by themselves."""
    crashes = hangs = 0
    todo = [str(problem) for problem in problems]
    while todo:
        done, end = _one_child(report, start(todo), todo, timeout)
        todo = todo[done:]
        if end is None:
            continue
        report.failures.append(end)
        crashes += 1
        hangs += end.text.startswith(_HANGS)
        if todo and (crashes == _MOST_CRASHES or hangs == _MOST_HANGS):
            report.notes.append(f"{len(todo)} problems were left out after {crashes} such ends")
            todo = []
    return crashes


def _one_child(
    report: Report, child: Any, problems: list[str], timeout: float
) -> tuple[int, Failure | None]:
    """How many problems a child has dealt with, and how it ended if that was not by itself."""
    lines: queue.Queue[str | None] = queue.Queue()
    said: list[str] = []
    readers = [
        threading.Thread(target=_read_lines, args=(child.stdout, lines.put), daemon=True),
        threading.Thread(target=_read_lines, args=(child.stderr, said.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    begun = 0
    run = ("", "", 0)
    wait = max(timeout, _STARTING_SECONDS)
    try:
        while True:
            try:
                line = lines.get(timeout=wait)
            except queue.Empty:
                return begun, Failure(
                    problems[max(begun - 1, 0)], *run, f"{_HANGS} {wait:g} seconds"
                )
            if line is None:
                break
            event = json.loads(line)
            if "run" in event:
                run = tuple(event["run"])
                report.runs += 1
                wait = timeout
            elif "problem" in event:
                begun += 1
                report.problems += 1
            elif "failures" in event:
                report.failures += [Failure(**failure) for failure in event["failures"]]
            elif "error" in event:
                raise KernelCheckError(event["error"])
            else:
                return begun, None
    finally:
        child.kill()
        child.wait()
        for reader in readers:
            reader.join()
        child.stdout.close()
        child.stderr.close()
    code = child.returncode
    how = f"exit code {code}" if code >= 0 else _signal_name(-code)
    last = "".join(text for text in said if text).strip().splitlines()[-1:]
    if not begun:
        raise KernelCheckError(f"the checking process did not start: {how}; {' '.join(last)}")
    return begun, Failure(problems[begun - 1], *run, " ".join([f"ended the process: {how}", *last]))


def _read_lines(stream: IO[str], give: Any) -> None:
    for line in stream:
        give(line)
    give(None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def main() -> None:
    """What the child does: read a task from its input, and tell what happens on its output."""
    # What the kernel prints must not come between the lines.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    task = json.loads(sys.stdin.readline())
    sys.path[:] = task["path"]

    try:
        kernel = find_function(task["kernel"])
    except Exception as error:
        text = f"the kernel cannot be loaded: {type(error).__name__}: {error}"
        channel.write(json.dumps({"error": text}) + "\n")
        return
    _judge_all(kernel, task["problems"], Rules(**task["rules"]), channel)


def _judge_all(kernel: Kernel, problems: list[str], rules: Rules, channel: IO[str]) -> None:
    def tell(**event: Any) -> None:
        channel.write(json.dumps(event) + "\n")

    for text in problems:
        problem = parse_problem(text)
        tell(problem=text)
        found = Report(problem.op, "")

        def begins(*run: Any, found: Report = found) -> None:
            # What is known must be told before the next run, which may be the last.
            tell(failures=[asdict(failure) for failure in found.failures])
            found.failures.clear()
            tell(run=run)

        judge(found, kernel, problem, rules, begins)
        tell(failures=[asdict(failure) for failure in found.failures])
    tell(done=True)
