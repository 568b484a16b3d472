"""Every benchmark runs once, at toy size; and a run of none is a failure."""

import os
import subprocess
import sys

import pytest
from source_copy import ROOT

from benchmarks import once
from benchmarks.suite import calls
from fastscratch.kernels.catalogue import BACKENDS, OPS, backend_reason


def run_once(*words):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.once", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "FASTSCRATCH_BENCHMARKS": "toy"},
    )  # fmt: skip


def test_every_benchmark_runs():
    done = run_once()
    assert done.returncode == 0, done.stdout + done.stderr
    ran = done.stdout.splitlines()
    assert ran[-1].endswith(" benchmarks ran")
    for op in OPS:
        for backend in BACKENDS:
            if not backend_reason(backend):
                assert f"kernels.{op}.time_call({backend}, toy, 1)" in ran
    if backend_reason("cython"):
        return
    for network in ("mlp", "simple_conv_net", "vgg", "resnet"):
        assert f"training.training_step.time_call({network}, cython, 1)" in ran
    for part in ("overheads.small_call", "overheads.importing", "overheads.compiling",
                 "learning.digits.track_seconds", "learning.digits.track_errors",
                 "peak_memory.peak_memory"):  # fmt: skip
        assert any(line.startswith(part) for line in ran), part
    assert ran[-1] == f"{len(ran) - 1} benchmarks ran"


def test_a_run_of_no_benchmark_fails():
    done = run_once("no benchmark is called so")
    assert done.returncode == 1
    assert done.stdout.strip() == "0 benchmarks ran"


def test_a_function_that_asv_would_take_for_a_benchmark_fails(monkeypatch):
    monkeypatch.setattr(calls, "time_nothing", lambda: None, raising=False)
    with pytest.raises(SystemExit, match="time_nothing"):
        list(once.benchmarks())
