"""fastscratch beside other libraries, on every shape, in one run.

    python -m benchmarks.peers --install             an environment for each library that needs one
    python -m benchmarks.peers                       measure everything (a quarter of an hour)
    python -m benchmarks.peers --op dense            measure some operations, keep the other rows
    python -m benchmarks.peers --render              only write table, plot and README again

Each library runs in a process of its own, as each brings threads of its own, which wait spinning.
Rounds are interleaved: every process takes a turn while the others sleep, and medians count. The
numbers go to ``peers.json``, and from there to ``peers.md``, ``roofline.png`` and the README.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peer_calls import TRAINING
from benchmarks.peers_report import README, write_report
from benchmarks.worker import ROOT, Worker, closing

HERE = Path(__file__).resolve().parent
NUMBERS = HERE / "peers.json"
ENVIRONMENTS = HERE / "env/peers"

ROUNDS = 5
TURN_SECONDS = 0.01
LONGEST = 2.0
"""A library whose first call takes longer is measured by that call, unless it compiles in it."""


class Peer(NamedTuple):
    """A library: what makes its calls, and what its environment holds (empty: it is this one's)."""

    make: str
    requirements: tuple[str, ...] = ()
    backend: str = ""
    distribution: str = ""
    compiles: bool = False


PEERS = {
    "cython": Peer("fastscratch", backend="cython"),
    "numba": Peer("fastscratch", backend="numba", compiles=True),
    "numpy": Peer("fastscratch", backend="numpy"),
    "PyTorch": Peer("torch", distribution="torch"),
    "ONNX Runtime": Peer("onnxruntime", ("onnxruntime==1.32.0", "onnx==1.23.2")),
    "JAX": Peer("jax", ("jax[cpu]==0.10.2",), compiles=True),
    "PyDyNet": Peer("pydynet", ("pydynet==1.1",)),
    "neuralnetlib": Peer("neuralnetlib", ("neuralnetlib==5.0.0",)),
    "newton-vision": Peer("newton_vision", ("newton-vision==1.1.4",)),
}
"""By their names in the table."""

OPS = (
    "conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight", TRAINING,
    "max_pool2d_forward", "max_pool2d_backward", "avg_pool2d_forward", "avg_pool2d_backward",
    "dense_forward", "dense_backward_input", "dense_backward_weight",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true", help="make the environments, and end")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--op", default="", help="only operations whose name holds this")
    parser.add_argument("--shape", default="", help="only shapes whose name holds this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args(arguments)
    if options.install:
        install()
        return 0
    if not options.render and not measure(options):
        print("nothing was measured: no operation and shape has these words in its name")
        return 1
    write_report(json.loads(NUMBERS.read_text()), HERE, ROOT / README)
    return 0


def python_of(name: str) -> str:
    """The interpreter of a library's environment."""
    if not PEERS[name].requirements:
        return sys.executable
    return str(ENVIRONMENTS / PEERS[name].make / "bin/python")


def install() -> None:
    for name, peer in PEERS.items():
        python = Path(python_of(name))
        if not peer.requirements or python.exists():
            continue
        print(f"{name}: {' '.join(peer.requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        # newton-vision compiles a part for graphics cards wherever it finds that compiler.
        environment = {**os.environ, "CMAKE_ARGS": "-DCMAKE_CUDA_COMPILER=NOTFOUND"}
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "numpy", *peer.requirements],
            env=environment, check=False,
        )  # fmt: skip
        if done.returncode:
            print(f"{name} could not be installed: its column will say so")


def missing(name: str) -> str:
    """Why a library cannot be measured at all; empty if it can."""
    peer = PEERS[name]
    if peer.requirements and not Path(python_of(name)).exists():
        return "not installed: python -m benchmarks.peers --install"
    if peer.distribution:
        try:
            importlib.metadata.version(peer.distribution)
        except importlib.metadata.PackageNotFoundError:
            return f"not installed: pip install {peer.distribution}"
    return ""


def measure(options: argparse.Namespace) -> int:
    """Measure what was asked for into the file of numbers; the number of rows."""
    from benchmarks.limits import measure as measure_limits
    from fastscratch.dispatch.machine import processor_name
    from fastscratch.kernels import cython_ext
    from fastscratch.testing.cases import shapes_of

    work = [
        (op, shape, case)
        for op in OPS if options.op in op
        for shape, case in shapes_of(op if op != TRAINING else "conv2d_forward").items()
        if options.shape in shape
    ]  # fmt: skip
    if not work:
        return 0
    kept = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {"rows": [], "limits": {}}
    rows = {(row["op"], row["shape"], row["threads"]): row for row in kept["rows"]}
    level = cython_ext.level or "base"
    for threads in options.threads:
        limits = measure_limits(level, threads)
        kept["limits"][str(threads)] = limits._asdict()
        reasons = {name: reason for name in PEERS if (reason := missing(name))}
        workers = {name: start(name, threads) for name in PEERS if name not in reasons}
        with closing(*workers.values()):
            for op, shape, case in work:
                row = race(workers, f"{op}:f32:{case}", threads)
                row["reasons"] |= reasons
                rows[op, shape, threads] = {"op": op, "shape": shape, "threads": threads, **row}
                print(line(rows[op, shape, threads]), flush=True)
    order = {op: i for i, op in enumerate(OPS)}
    kept |= {
        "processor": f"{processor_name()}, {level}",
        "versions": {name: version(name) for name in PEERS},
        "rows": sorted(rows.values(), key=lambda row: (order[row["op"]], row["threads"])),
    }
    NUMBERS.write_text(json.dumps(kept, indent=None, separators=(",", ":")).replace("},{", "},\n{"))
    return len(work)


def start(name: str, threads: int) -> Worker:
    """A worker for a library, whose thread pools are told how many threads to have."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    return Worker(
        f"benchmarks.peer_calls:{PEERS[name].make}", python=python_of(name),
        **{key: str(value) for key, value in counts.items()},
    )  # fmt: skip


def race(workers: dict[str, Worker], problem: str, threads: int) -> dict[str, Any]:
    """Median seconds of each library, and the reasons of those that cannot."""
    calls: dict[str, int] = {}
    once: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, worker in workers.items():
        backend = {"backend": PEERS[name].backend} if PEERS[name].backend else {}
        longest = {} if PEERS[name].compiles else {"longest": LONGEST}
        found = worker.ask("prepare", key="it", seconds=TURN_SECONDS, text=problem,
                           num_threads=threads, **backend, **longest)  # fmt: skip
        if isinstance(found, str):
            reasons[name] = found
        elif isinstance(found, float):
            once[name] = found
        else:
            calls[name] = found
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    seconds |= {name: [value] for name, value in once.items()}
    begun = time.monotonic()
    for round_ in range(ROUNDS):
        for name in calls if round_ % 2 else reversed(calls):
            time.sleep(0.002)  # the pool of the last one stops spinning
            slow = round_ >= 3 and statistics.median(seconds[name]) > 0.2
            if not slow:
                found = workers[name].ask("time", key="it", calls=calls[name])
                seconds[name].append(found)
        if time.monotonic() - begun > 20 and round_ >= 2:
            break
    return {
        "problem": problem,
        "seconds": {name: float(f"{statistics.median(v):.4g}") for name, v in seconds.items()},
        "reasons": reasons,
        **work_of(problem),
    }


def work_of(problem: str) -> dict[str, int]:
    """Operations and bytes of a problem: where it stands on the roofline."""
    from fastscratch.kernels.catalogue import OPS as CATALOGUE
    from fastscratch.kernels.problem import parse_problem

    op, _, rest = problem.partition(":")
    if op == TRAINING:
        parts = [
            work_of(f"conv2d_{part}:{rest}")
            for part in ("forward", "backward_input", "backward_weight")
        ]
        return {key: sum(part[key] for part in parts) for key in ("flops", "bytes")}
    parsed = parse_problem(problem)
    return {"flops": CATALOGUE[op].flops(parsed), "bytes": CATALOGUE[op].nbytes(parsed)}


def version(name: str) -> str:
    """The version of what ran."""
    peer = PEERS[name]
    if peer.requirements:
        return peer.requirements[0].partition("==")[2]
    return importlib.metadata.version(peer.distribution or "fastscratch")


def line(row: dict[str, Any]) -> str:
    times = ", ".join(f"{name} {1e3 * value:.3f}" for name, value in row["seconds"].items())
    return f"{row['op']} {row['shape']} {row['threads']} thr, ms: {times}"


if __name__ == "__main__":
    sys.exit(main())
