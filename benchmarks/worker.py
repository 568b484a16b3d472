"""A process that times calls when it is asked to, and waits asleep otherwise.

Measurements that must not disturb each other (two builds of the package, libraries with thread
pools of their own) get a process each; `Worker` is its handle. Questions and answers are lines of
JSON.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.suite.calls import Call, calls_within, seconds_of_call

ROOT = Path(__file__).resolve().parents[1]

Make = Callable[..., Call]
"""What turns a question into the call that is to be timed; NotImplementedError says why not."""


class Worker:
    """A worker process, as the process that asks sees it."""

    def __init__(
        self, make: str, *, python: str = sys.executable, path: str = "", **environment: str
    ) -> None:
        """Start a worker whose calls ``make`` makes: a function, as ``"module:function"``.

        ``path`` stands before this tree where packages are looked for.
        """
        where = os.pathsep.join(filter(None, (path, str(ROOT))))
        variables = {**os.environ, "PYTHONPATH": where, **environment}
        self.process = subprocess.Popen(
            [python, "-P", "-m", "benchmarks.worker", make],
            env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, do: str, **details: Any) -> Any:
        """The worker's answer: a number, or text that says why there is none."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"a worker ended with code {self.process.wait()}, asked {details}")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def closing(*workers: Worker) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.close()


def serve(make: Make) -> None:
    """Answer until the questions end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    calls: dict[str, Call] = {}
    for line in sys.stdin:
        question = json.loads(line)
        do = question.pop("do")
        answer: Any = None
        if do == "prepare":
            calls.clear() if question.pop("alone", True) else None
            answer = prepare(make, calls, **question)
        elif do == "time":
            call = calls[question["key"]]
            call()  # its threads wake up, its data come back to the cache
            answer = seconds_of_call(call, question["calls"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def prepare(
    make: Make,
    calls: dict[str, Call],
    key: str,
    seconds: float,
    longest: float = math.inf,
    **details: Any,
) -> Any:
    """How many calls take about so long; or the reason that there are none.

    A first call that took longer than ``longest`` is all that there will be: its seconds, a float.
    """
    try:
        call = make(**details)
        first = seconds_of_call(call, 1)
        if first > longest:
            return first
        calls[key] = call
        return calls_within(call, seconds)
    except NotImplementedError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"


def main() -> None:
    import importlib

    module, _, function = sys.argv[1].partition(":")
    serve(getattr(importlib.import_module(module), function))


if __name__ == "__main__":
    main()
