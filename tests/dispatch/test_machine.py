"""The machine: usable processors, container limits, and BLAS held at one thread."""

import os

import numpy as np
import pytest
import threadpoolctl

import fastscratch as fs
from fastscratch.dispatch import machine
from fastscratch.dispatch.machine import (
    _container_limit,
    blas_info,
    default_num_threads,
    single_blas_thread,
    usable_processors,
)
from fastscratch.layers import Dense, Sequential
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.optimizers import SGD
from fastscratch.training import Callback, Trainer


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu.max": ""}, None),
        ({"cpu.max": "200000 0"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, None),
        ({}, None),
    ],
)
def test_container_limits(tmp_path, files, limit):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert _container_limit(tmp_path) == limit


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (3, 3), (100, 8)])
def test_affinity_within_the_limit(monkeypatch, limit, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "_container_limit", lambda: limit)
    assert usable_processors() == expected
    monkeypatch.delenv("FASTSCRATCH_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert default_num_threads() == expected


def test_what_openmp_cannot_read_is_left_alone(monkeypatch):
    monkeypatch.delenv("FASTSCRATCH_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "usable_processors", lambda: 6)
    for text in ("", "many", "0", " "):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert default_num_threads() == 6


def test_blas_is_held_at_one_thread_and_let_go():
    np.ones((2, 2)) @ np.ones((2, 2))
    machine._blas.cache_clear()  # another test may have loaded SciPy's
    before = [library["num_threads"] for library in blas_info()]
    with single_blas_thread():
        assert {library["num_threads"] for library in blas_info()} <= {1}
    assert [library["num_threads"] for library in blas_info()] == before


def test_blas_is_held_in_the_loop_and_by_all_that_is_loaded_by_then(monkeypatch):
    """Whoever computes with NumPy between the steps uses one pool less, not two in turns."""
    seen = []

    class Watch(Callback):
        def on_batch_end(self, trainer, loss):
            np.ones((64, 64)) @ np.ones((64, 64))
            seen.append([library["num_threads"] for library in blas_info()])

    machine._blas.cache_clear()
    before = [library["num_threads"] for library in blas_info()]
    calls = []
    find = threadpoolctl.ThreadpoolController.__init__

    def counted(self):
        calls.append(1)
        find(self)

    monkeypatch.setattr(threadpoolctl.ThreadpoolController, "__init__", counted)
    trainer = Trainer(
        Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(), batch_size=8, callbacks=[Watch()]
    )
    x, t = np.ones((16, 4), np.float32), np.zeros(16, np.int64)
    with fs.threads(1):  # so that it is held without compiled kernels, too
        trainer.fit(x, t, epochs=1)
        assert seen == [[1] * len(before)] * 2
        assert [library["num_threads"] for library in blas_info()] == before
        trainer.fit(x, t, epochs=1)
    assert len(calls) == 2  # looked for anew, each time


def test_processor_has_a_name():
    assert machine.processor_name()
