"""How good is the choice? The time of what is chosen against the best candidate's.

    python -m benchmarks.choices                      shapes of real networks, and 200 random ones
    python -m benchmarks.choices --random 40 --seed 1 fewer, others
    python -m benchmarks.choices --part 2/10          a part of them, for machines that are shared
    python -m benchmarks.choices --json out.json      every time that was measured; parts are added

Each problem is measured twice, every implementation and every algorithm of the default accuracy, in
turns. The second measurement judges: the untuned choice is the catalogue's, the tuned one is what
the first measurement found. "slower" is the time of the choice over that of the best candidate. At
several threads a candidate of another backend than the untuned choice's is called in turns with it,
and pays for what the two pools of threads lose by that (`fastscratch.dispatch.measure`).
"""

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import fastscratch as fs
from fastscratch.dispatch.choose import candidates, choose, pick, worthwhile_threads
from fastscratch.dispatch.machine import processor_name, usable_processors
from fastscratch.dispatch.measure import Candidate, measure
from fastscratch.dispatch.settings import Settings
from fastscratch.errors import FastscratchError
from fastscratch.kernels.catalogue import OPS, Implementation, OpSpec
from fastscratch.kernels.problem import (
    AVG_POOL_OPS,
    CONV_OPS,
    DENSE_OPS,
    MAX_POOL_OPS,
    Problem,
    parse_problem,
)
from fastscratch.testing.cases import find_case, shapes_of

JUDGED = CONV_OPS + MAX_POOL_OPS + AVG_POOL_OPS + DENSE_OPS
_LARGEST = 2e9
"""Operations of a random problem, so that the reference takes no more than seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=200, help="how many random problems")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-random", action="store_true")
    parser.add_argument("--op", default="", help="only operations whose name holds this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, usable_processors()])
    parser.add_argument("--seconds", type=float, default=0.1, help="for one measurement")
    parser.add_argument("--part", default="1/1", help="only the I-th of N parts of the problems")
    parser.add_argument("--json", type=Path, help="write every time here")
    options = parser.parse_args()

    print(f"{processor_name()}, level {fs.show_config()['compiled level']}")
    problems = [] if options.only_random else [
        find_case(op, name) for op in JUDGED for name in shapes_of(op)
    ]  # fmt: skip
    problems += random_problems(options.random, options.seed)
    problems = [problem for problem in problems if options.op in problem.op]
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    part, parts = map(int, options.part.split("/"))
    work = [(problem, threads) for problem in problems[part - 1 :: parts]
            for threads in options.threads]  # fmt: skip
    for problem, threads in tqdm(work, disable=None):
        rows.append(judge(problem, threads, options.seconds))
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    for threads in options.threads:
        report(f"threads {threads}", [row for row in rows if row["threads"] == threads])
    return 0


def random_problems(count: int, seed: int) -> list[Problem]:
    """Problems of all sizes and flags that a network could pose."""
    rng = np.random.default_rng(seed)
    found: list[Problem] = []
    while len(found) < count:
        op = str(rng.choice(JUDGED))
        try:
            problem = parse_problem(f"{op}:f32:{_random_shape(op, rng)}")
            if OPS[op].flops(problem) <= _LARGEST and OPS[op].nbytes(problem) < 2**28:
                found.append(problem)
        except FastscratchError:
            continue  # a window that does not fit
    return found


def _random_shape(op: str, rng: np.random.Generator) -> str:
    def size(low: int, high: int) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high))))

    n = size(1, 128)
    if op in DENSE_OPS:
        return f"n{n}i{size(4, 4096)}:o{size(4, 2048)}"
    c, extent = size(1, 512), size(4, 112)
    image = f"n{n}c{c}h{extent}w{extent + int(rng.integers(-2, 3))}"
    stride = int(rng.choice([1, 1, 2]))
    if op not in CONV_OPS:
        return f"{image}:k{int(rng.choice([2, 2, 3]))}s{int(rng.choice([1, 2, 2, 3]))}p0floor"
    k = int(rng.choice([1, 3, 3, 3, 5, 7]))
    depthwise = rng.random() < 0.1
    rest = f"g{c}" if depthwise else ""
    return f"{image}:oc{c if depthwise else size(1, 512)}k{k}s{stride}p{k // 2}{rest}floor"


def judge(problem: Problem, threads: int, seconds: float) -> dict[str, Any]:
    """The choices for a problem, untuned and tuned, and how they compare with the best."""
    settings = Settings(threads, deterministic=True)  # whatever was measured before
    spec = OPS[problem.op]
    first = choose(problem, settings).implementation
    able = [entry for entry, reason in candidates(problem)
            if not reason and entry.accuracy == "default"]  # fmt: skip
    entries = sorted(able, key=lambda entry: entry != first)
    before = measure(problem, timed(spec, problem, entries, threads), seconds)
    # What is far behind stays there; the reference of a large problem takes seconds.
    near = [entry for entry in entries
            if entry == first or before[entry.name] <= 3 * min(before.values())]  # fmt: skip
    times = before | measure(problem, timed(spec, problem, near, threads), seconds)
    tuned = pick(near, before)
    best = min(times.values())
    return {
        "problem": str(problem), "threads": threads, "times": times, "before": before,
        "untuned": first.name, "untuned slower": times[first.name] / best,
        "tuned": tuned.name, "tuned slower": times[tuned.name] / best,
    }  # fmt: skip


def timed(
    spec: OpSpec, problem: Problem, entries: list[Implementation], threads: int
) -> list[Candidate]:
    """What is to be measured, with the threads that dispatch gives it."""
    return [
        Candidate(entry.name, entry.load(), worthwhile_threads(spec, problem, entry, threads))
        for entry in entries
    ]


def report(title: str, rows: list[dict[str, Any]]) -> None:
    """Shares, means, and the worst cases."""
    print(f"\n{title}: {len(rows)} problems")
    for kind in ("untuned", "tuned"):
        slower = sorted(row[f"{kind} slower"] for row in rows)
        within = sum(ratio <= 1.1 for ratio in slower) / len(slower)
        mean = statistics.geometric_mean(slower)
        print(f"  {kind:<8} within 10 % of the best in {100 * within:.1f} %, geometric mean "
              f"{mean:.3f}, worst {slower[-1]:.2f}")  # fmt: skip
    print("  where the untuned choice is slowest:")
    for row in sorted(rows, key=lambda row: -row["untuned slower"])[:15]:
        best = min(row["times"], key=row["times"].get)
        print(f"    {row['untuned slower']:5.2f}  {row['problem']}: {row['untuned']} "
              f"{1e3 * row['times'][row['untuned']]:.3f} ms, {best} "
              f"{1e3 * row['times'][best]:.3f} ms")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
