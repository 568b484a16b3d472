"""Does the gate find what it should, and nothing else? A trial with planted slow-downs.

    python -m benchmarks.gate_trial draw        draw ten kernels, and time them
    python -m benchmarks.gate_trial build       build ten trees, 15 % slower in one kernel each
    python -m benchmarks.gate_trial run         gate them, and the unchanged tree
    python -m benchmarks.gate_trial report      what was recorded, as a table

A slow-down is a loop that is compiled into the kernel, as long as 15 % of its time at the shape
that was drawn. Each run gates that kernel and three of other operations, drawn too. Half of the
planted runs, and as many unchanged ones, have another process copying memory all the time. The
record is kept in ``gate_trial.json``; ``run`` goes on where it ended.
"""

import argparse
import contextlib
import ctypes
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gate import FOLDER, Benchmark, Side, benchmarks, build, compare, copy_tree
from benchmarks.suite.calls import seconds_of_call

RECORD = Path(__file__).with_name("gate_trial.json")
SHARE = 0.15
CASES = 10
OTHERS = 3
UNCHANGED = "unchanged"

C_LOOP = """
cdef extern from *:
    \"\"\"
    static void planted(long steps) {
        volatile double sum = 0;
        for (long i = 0; i < steps; i++) sum = sum + 1.0;
    }
    \"\"\"
    void planted(long steps) nogil

"""
NUMBA_LOOP = """
import numba as _numba


@_numba.njit("float64(int64)")
def planted(steps):
    total = 0.0
    for i in range(steps):
        total = total * 0.999 + 1.0
    return total

"""
LOAD = """
import numpy
source = numpy.ones(16 << 20)
target = numpy.empty_like(source)
while True:
    numpy.copyto(target, source)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("draw", "build", "run", "report"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="start no run after that")
    options = parser.parse_args()
    if options.step == "draw":
        RECORD.write_text(json.dumps({"cases": draw(options.seed), "runs": []}, indent=1) + "\n")
        return 0
    record = json.loads(RECORD.read_text())
    if options.step == "build":
        for number, case in enumerate(record["cases"]):
            plant(f"trial{number}", case)
        plant(UNCHANGED, None)
        plant("trialbase", None)
    elif options.step == "run":
        run(record, options.minutes)
    return report(record)


def draw(seed: int) -> list[dict[str, Any]]:
    """Kernels at random, with their time and the steps of a loop that takes a share of it."""
    rng = random.Random(seed)
    every = [benchmark for benchmark in benchmarks([1]) if benchmark.problem]
    base = Side("head", FOLDER / "head")
    speeds = {"cython": c_step(), "numba": numba_step()}
    cases = []
    for benchmark in rng.sample(every, CASES):
        worker = base.start()
        count = worker.ask(
            "prepare", key="it", seconds=0.02, op=benchmark.op, shape=benchmark.shape,
            text=benchmark.problem, implementation=benchmark.implementation, num_threads=1,
        )  # fmt: skip
        seconds = min(worker.ask("time", key="it", calls=count) for _ in range(15))
        worker.close()
        step = speeds[benchmark.implementation]
        others = rng.sample([other for other in every if other.op != benchmark.op], OTHERS)
        cases.append({
            "planted": list(benchmark), "seconds": seconds, "steps": round(SHARE * seconds / step),
            "others": [list(other) for other in others],
        })  # fmt: skip
        print(benchmark, f"{1e3 * seconds:.4f} ms, {cases[-1]['steps']} steps", flush=True)
    return cases


def c_step() -> float:
    """Seconds of a step of the planted loop in C."""
    code = C_LOOP[C_LOOP.index("static") : C_LOOP.rindex('"""')].replace("static ", "")
    library = FOLDER / "planted.so"
    subprocess.run(["cc", "-O3", "-shared", "-fPIC", "-x", "c", "-", "-o", library],
                   input=code, text=True, check=True)  # fmt: skip
    loop = ctypes.CDLL(str(library)).planted
    loop.argtypes = [ctypes.c_long]
    return min(seconds_of_call(lambda: loop(1_000_000), 1) for _ in range(20)) / 1e6


def numba_step() -> float:
    """The same for Numba's."""
    scope: dict[str, Any] = {}
    exec(compile(NUMBA_LOOP, "planted", "exec"), scope)
    return min(seconds_of_call(lambda: scope["planted"](1_000_000), 1) for _ in range(20)) / 1e6


def plant(name: str, case: dict[str, Any] | None) -> None:
    """The tree that the gate built last as head, slower where the case says."""
    from benchmarks.suite.calls import find_implementation, parse

    side = Side(name, FOLDER / name)
    if (side.folder / "site").exists():
        return
    benchmark = Benchmark(*case["planted"]) if case else None
    if case is None or benchmark is None or benchmark.implementation == "numba":
        shutil.copytree(FOLDER / "head/site", side.folder / "site")
        where, suffix = side.folder / "site/fastscratch/kernels/numba_jit", "py"
    else:  # compiled once more
        copy_tree(side.folder / "source")
        where, suffix = side.folder / "source/src_kernels", "pyx"
    if case and benchmark:
        entry = find_implementation(parse(benchmark.problem), benchmark.implementation)
        function = entry.algorithm.functions[entry.op] if entry.algorithm else entry.op
        path = where / f"{entry.module.rpartition('.')[2]}.{suffix}"
        loop = C_LOOP if suffix == "pyx" else NUMBA_LOOP
        path.write_text(slower(path.read_text(), function, case["steps"], loop))
    if suffix == "pyx":
        build(side, side.folder / "source", side.folder / "build")
    print(f"{name} is built", flush=True)


def slower(text: str, function: str, steps: int, loop: str) -> str:
    """A module whose function begins with a loop of so many steps."""
    head = re.compile(rf'^def {function}\(.*?"""\n', re.DOTALL | re.MULTILINE)
    match = head.search(text)
    assert match, f"there is no def {function}"
    start, end = match.span()
    begun = f"{text[start:end]}    planted({steps})\n"
    return f"{text[:start]}{loop}\n{begun}{text[end:]}"


def run(record: dict[str, Any], minutes: float) -> None:
    """Every run that is not recorded yet, until the time is over."""
    end = time.monotonic() + 60 * minutes
    done = {(found["case"], found["kind"], found["load"]) for found in record["runs"]}
    base = Side("base", FOLDER / "trialbase")
    cases = list(enumerate(record["cases"]))
    plans = [(number, case, "planted", bool(number % 2)) for number, case in cases]
    plans += [(n, case, UNCHANGED, load) for n, case in cases for load in (False, True)]
    for number, case, kind, load in plans:
        chosen = [Benchmark(*text) for text in (case["planted"], *case["others"])]
        if (number, kind, load) in done or time.monotonic() > end:
            continue
        name = f"trial{number}" if kind == "planted" else UNCHANGED
        head = Side("head", FOLDER / name)
        if not (head.folder / "site").exists():
            print(f"{name} is not built yet")
            continue
        begun = time.monotonic()
        with other_process(load):
            verdicts = compare(base, head, chosen, begun + 120)
        record["runs"].append({
            "case": number, "kind": kind, "load": load,
            "seconds": round(time.monotonic() - begun, 1),
            "words": [verdict.word for verdict in verdicts],
            "medians": [round(verdict.median, 3) for verdict in verdicts],
            "laps": [len(verdict.ratios) for verdict in verdicts],
        })  # fmt: skip
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


@contextlib.contextmanager
def other_process(wanted: bool) -> Iterator[None]:
    """Another process that keeps a core and the memory busy."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", LOAD])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def report(record: dict[str, Any]) -> int:
    """How many were found, and how many were flagged without reason."""
    print("| planted into | load | the gate said | ratio, laps | others flagged |")
    print("|---|---|---|---|---|")
    planted = [found for found in record["runs"] if found["kind"] == "planted"]
    unchanged = [found for found in record["runs"] if found["kind"] == UNCHANGED]
    for found in planted:
        benchmark = Benchmark(*record["cases"][found["case"]]["planted"])
        print(f"| {benchmark} | {'on' if found['load'] else 'off'} | {found['words'][0]} "
              f"| {found['medians'][0]:.3f}, {found['laps'][0]} "
              f"| {found['words'][1:].count('slower')} of {OTHERS} |")  # fmt: skip
    print(f"planted: {sum(found['words'][0] == 'slower' for found in planted)} of {len(planted)}")
    for load in (False, True):
        runs = [found for found in unchanged if found["load"] == load]
        flagged = sum("slower" in found["words"] for found in runs)
        undecided = sum(found["words"].count("undecided") for found in runs)
        kernels = sum(len(found["words"]) for found in runs)
        print(f"unchanged, load {'on' if load else 'off'}: {flagged} of {len(runs)} runs flagged, "
              f"{undecided} of {kernels} kernels undecided")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
