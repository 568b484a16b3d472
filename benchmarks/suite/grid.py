"""What is measured: operations, implementations and shapes, read from the catalogue of this tree.

Kernels of installed packages are in it; the environments that asv builds have none.

The catalogue of the tree that the suite stands in counts, whichever commit is installed: so a
benchmark means the same for every commit, and what a commit does not have yet is "n/a" there.
``FASTSCRATCH_BENCHMARKS`` says how much: "default", "full", or "toy", which the tests run.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

SIZES = ("default", "full", "toy")

DEFAULT_SHAPES = (
    "mnist_c1", "res_28", "res_s2", "stem7", "pw_56", "depthwise_28", "tiny",
    "mnist_pool", "stem_pool", "mlp_hidden", "cnn_hidden", "square",
    "mnist_map", "mnist_scores", "cnn",
)  # fmt: skip
"""The shapes of a default run; an operation that has none of them is measured at its first."""

DOUBLE_SHAPES = ("res_28", "square", "mnist_pool")
"""Those that a default run measures in float64, too: half the numbers a vector, twice the bytes."""

_QUESTION = """
import json
from fastscratch.dispatch.outside import register_installed
from fastscratch.kernels.catalogue import BACKENDS, OPS
from fastscratch.testing.cases import cases_of, shapes_of
register_installed()
print(json.dumps({
    "backends": list(BACKENDS),
    "ops": {
        op: {
            "implementations": [entry.name for entry in spec.implementations],
            "shapes": shapes_of(op),
            "toy": cases_of(op)["batch_1"],
        }
        for op, spec in OPS.items()
    },
}))
"""


class Grid(NamedTuple):
    """One operation's benchmarks: labels, and the problem that each label of a shape means."""

    op: str
    implementations: list[str]
    problems: dict[str, str]
    threads: list[int]


def size() -> str:
    """How much is to be measured."""
    chosen = os.environ.get("FASTSCRATCH_BENCHMARKS", "") or "default"
    if chosen not in SIZES:
        raise SystemExit(f"FASTSCRATCH_BENCHMARKS={chosen!r}: expected one of {', '.join(SIZES)}")
    return chosen


def backends() -> list[str]:
    """The backends that a run measures: the reference, which seldom changes, only in a full one."""
    every: list[str] = _catalogue()["backends"]
    return every if size() != "default" else [name for name in every if name != "numpy"]


def threads() -> list[int]:
    """One thread, and two: the same numbers on every machine, so that curves do not break."""
    return [1] if size() == "toy" else [1, 2]


def grids() -> list[Grid]:
    """What to measure of each operation."""
    return [_grid(op, found) for op, found in _catalogue()["ops"].items()]


def _grid(op: str, found: dict[str, Any]) -> Grid:
    built_in = _catalogue()["backends"]
    outside = [
        name for name in found["implementations"] if name.partition(":")[0] not in built_in
    ]  # of installed packages
    if size() == "toy":
        return Grid(op, backends() + outside, {"toy": f"{op}:f32:{found['toy']}"}, threads())
    shapes = found["shapes"]
    if size() == "full":
        names = list(shapes)
        algorithms = [
            name for name in found["implementations"] if ":" in name and name not in outside
        ]
        doubles = names
    else:
        names = [name for name in shapes if name in DEFAULT_SHAPES] or list(shapes)[:1]
        algorithms = []
        doubles = [name for name in names if name in DOUBLE_SHAPES]
    problems = {f"{name} {shapes[name]}": f"{op}:f32:{shapes[name]}" for name in names}
    problems |= {f"{name} {shapes[name]} f64": f"{op}:f64:{shapes[name]}" for name in doubles}
    return Grid(op, backends() + algorithms + outside, problems, threads())


@functools.cache
def _catalogue() -> Any:
    """The catalogue of this tree, asked in a process of its own and kept for the next."""
    package = ROOT / "fastscratch"
    state = hashlib.sha256(_QUESTION.encode())
    for entry in entry_points(group="fastscratch.kernels"):
        state.update(f"{entry} {entry.dist and entry.dist.version}".encode())
    for path in sorted([*(package / "kernels").glob("*.py"), package / "testing/cases.py"]):
        state.update(path.read_bytes())
    name = f"fastscratch-grid-{os.getuid()}-{state.hexdigest()[:16]}.json"
    kept = Path(tempfile.gettempdir(), name)
    if not kept.exists():
        where = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": where}
        answer = subprocess.run(
            [sys.executable, "-c", _QUESTION], cwd=ROOT, env=environment,
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
        json.loads(answer)
        mine = kept.with_suffix(f".{os.getpid()}")
        mine.write_text(answer)
        mine.replace(kept)
    return json.loads(kept.read_text())
