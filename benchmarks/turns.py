"""BLAS and the compiled kernels taking turns in a training loop: what they cost each other.

    python benchmarks/turns.py              fails where the ratio is above 1.3
    python benchmarks/turns.py --size 256   smaller matrix products between the steps

A `Trainer` trains SimpleConvNet while a callback multiplies two matrices after every step, as one
does who watches something of one's own. Each runs alone, too: the ratio is the time of both in
turns over the sum of the two alone. "held" is what the trainer does, BLAS on one thread while the
loop runs; "let go" is the same loop with BLAS on all threads: two pools that wait for each other,
spinning. Each in a process of its own, the environment's word on BLAS's threads taken out.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

import fastscratch as fs
from fastscratch.dispatch.machine import processor_name, usable_processors
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.models import SimpleConvNet
from fastscratch.optimizers import SGD
from fastscratch.training import Callback, Trainer, trainer

MOST = 1.3
"""The largest ratio that is no collapse: noise, and caches that are filled anew."""
_STEPS = 40
_BATCH = 100


class Watch(Callback):
    """Does some work after every step, and keeps what each step took."""

    def __init__(self, work: Callable[[], Any] | None) -> None:
        self.work = work
        self.ends: list[float] = []

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if self.work:
            self.work()
        self.ends.append(time.perf_counter())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=usable_processors())
    parser.add_argument("--size", type=int, default=512, help="of the square matrices")
    parser.add_argument("--way", choices=("held", "let go"), help="only this one, in this process")
    options = parser.parse_args()
    if options.way:
        return measure(options)

    print(f"{processor_name()}, level {fs.show_config()['compiled level']}, {options.threads} thr")
    environment = {name: os.environ[name] for name in os.environ if "OPENBLAS" not in name}
    codes = []
    for way in ("let go", "held"):
        command = [sys.executable, __file__, "--way", way, "--threads", str(options.threads),
                   "--size", str(options.size)]  # fmt: skip
        codes.append(subprocess.run(command, env=environment, check=False).returncode)
    return codes[-1]


def measure(options: argparse.Namespace) -> int:
    """Time the loop, the products, and both in turns."""
    training: Any = trainer
    if options.way == "let go":
        training.single_blas_thread = nullcontext
    rng = np.random.default_rng(0)
    a = rng.standard_normal((options.size, options.size)).astype(np.float32)
    b, c = a.T.copy(), np.empty_like(a)

    def product() -> None:
        np.matmul(a, b, out=c)

    with fs.threads(options.threads):
        train(product)  # compiles, pages memory in
        with training.single_blas_thread():
            alone = least(product)
        steps, both = (min(train(work) for _ in range(3)) for work in (None, product))
    ratio = both / (steps + alone)
    print(
        f"{options.way:>6}: step {1e3 * steps:.2f} ms, product {1e3 * alone:.2f} ms, "
        f"in turns {1e3 * both:.2f} ms: {ratio:.2f} of the sum",
        flush=True,
    )
    return int(ratio > MOST)


def train(work: Callable[[], Any] | None) -> float:
    """Seconds of a step in the trainer's loop: the median."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((_STEPS * _BATCH, 1, 28, 28)).astype(np.float32)
    watch = Watch(work)
    Trainer(
        SimpleConvNet(), SoftmaxCrossEntropy(), SGD(0.001), batch_size=_BATCH, callbacks=[watch]
    ).fit(x, rng.integers(0, 10, len(x)))
    return float(np.median(np.diff(watch.ends)))


def least(work: Callable[[], Any]) -> float:
    """Seconds of a call: the median of many, after a few."""
    ends = [time.perf_counter()]
    for _ in range(_STEPS):
        work()
        ends.append(time.perf_counter())
    return float(np.median(np.diff(ends[5:])))


if __name__ == "__main__":
    sys.exit(main())
