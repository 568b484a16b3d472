"""What the gate decides, from ratios that are given; nothing is timed here."""

import random
from typing import Any

import pytest

from benchmarks import __main__ as commands
from benchmarks import gate
from benchmarks.gate import PAIRS, Benchmark, Side, Verdict, decide, race, report
from benchmarks.gate_trial import C_LOOP, slower

KERNEL = Benchmark("relu_forward", "cython", "one", "relu_forward:f32:n1", 1)


class Machine:
    """A worker whose calls take what is said, and longer now and then."""

    def __init__(self, seconds, slow_every=0):
        self.seconds, self.slow_every, self.asked = seconds, slow_every, 0

    def ask(self, do, **details):
        if do == "prepare":
            return 3
        self.asked += 1
        slow = bool(self.slow_every) and self.asked % self.slow_every == 0
        return self.seconds * (5 if slow else 1)


@pytest.mark.parametrize("share", [1.0, 1.15, 0.8])
@pytest.mark.parametrize("slow_every", [(0, 3), (3, 0), (2, 2), (1, 1)])
def test_a_race_gives_the_ratio_whatever_disturbs_its_turns(share, slow_every):
    """One side now and then, or both alike."""
    workers: Any = {"base": Machine(1.0, slow_every[0]), "head": Machine(share, slow_every[1])}
    assert race(workers, KERNEL, random.Random(0), PAIRS) == pytest.approx(share)


def test_a_race_tells_why_there_is_none():
    workers: Any = {"base": Machine(1.0), "head": Machine(1.0)}
    workers["base"].ask = lambda do, **details: "there is no relu_forward yet"
    assert race(workers, KERNEL, random.Random(0), 1) == "base: there is no relu_forward yet"


def test_what_is_planted_is_found_and_noise_is_not():
    rng = random.Random(1)
    for _ in range(200):
        found: list[float] = []
        while decide(found) == "undecided" and len(found) < 25:
            found.append(1.15 * rng.lognormvariate(0, 0.02))
        assert decide(found) == "slower"
        assert decide([1 / ratio for ratio in found]) == "faster"
        found = []
        while decide(found) == "undecided" and len(found) < 25:
            found.append(rng.lognormvariate(0, 0.02))
        assert decide(found) == "unchanged"


@pytest.mark.parametrize(
    ("ratios", "code"), [([1.15] * 9, 1), ([1.0] * 9, 0), ([0.5] * 9, 0), ([], 2)]
)
def test_the_exit_code_says_it(ratios, code, capsys):
    assert report([Verdict(KERNEL, ratios, "" if ratios else "not there")]) == code
    assert "1 " in capsys.readouterr().out


def test_laps_end_when_all_is_decided(monkeypatch, tmp_path, capsys):
    class Process(Machine):
        def close(self):
            pass

    speeds = {"base": 1.0, "head": 1.2}
    monkeypatch.setattr(Side, "start", lambda side: Process(speeds[side.name]))
    base, head = (Side(name, tmp_path) for name in speeds)
    (verdict,) = gate.compare(base, head, [KERNEL], float("inf"))
    assert verdict.word == "slower"
    assert len(verdict.ratios) == 9
    assert "lap 9" in capsys.readouterr().out


def test_a_comparison_is_the_gates_of_two_commits(monkeypatch):
    asked: list[Any] = []

    def compare(*arguments):
        asked.append(arguments)
        return []

    monkeypatch.setattr(gate, "install", lambda name, commit: (name, commit))
    monkeypatch.setattr(gate, "compare", compare)
    assert (
        commands.main(["compare", "v0.1", "main", "relu_forward", "numba", "--threads", "2"]) == 2
    )
    ((base, head, chosen, _),) = asked
    assert (base, head) == (("base", "v0.1"), ("head", "main"))
    assert {(found.implementation, found.threads) for found in chosen} == {("numba", 2)}
    assert all("relu_forward" in found.op for found in chosen)


def test_kernels_and_training_steps_can_be_timed(run_python):
    code = """
from benchmarks import gate
for found in gate.benchmarks([1]):
    if found.implementation == "numpy" and found.shape in ("toy", "mlp"):
        if found.op in ("relu_forward", gate.STEP):
            call = gate.timed_call(found.op, "numpy", found.shape, found.problem, 1)
            call()
            print(found.op)
"""
    done = run_python(code, FASTSCRATCH_BENCHMARKS="toy")
    assert done.stdout.split() == ["relu_forward", gate.STEP]


def test_a_slow_down_is_planted_behind_the_docstring():
    text = 'import a\n\n\ndef f(\n    x, y,\n):\n    """F."""\n    g(x)\n\n\ndef ff(x):\n    pass\n'
    made = slower(text, "f", 7, C_LOOP)
    assert made.startswith("import a\n")
    assert '    """F."""\n    planted(7)\n    g(x)\n' in made
    assert made.count("planted(7)") == 1
    assert made.index("void planted") < made.index("def f(")
