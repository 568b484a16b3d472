"""Runs killed by SIGKILL, while writing too, end bit for bit where an unbroken one does."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastscratch as fs

SCRIPT = Path(__file__).with_name("run_to_kill.py")
LIMIT = 120

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")


def begin(folder: Path, backend: str, where: str = "") -> subprocess.Popen:
    root = Path(fs.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "FASTSCRATCH_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(SCRIPT), str(folder), backend, where]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> int:
    _, text = process.communicate(timeout=LIMIT)
    assert process.returncode in (0, -signal.SIGKILL), text
    return process.returncode


def check_equal(folder: Path, ref: Path) -> None:
    with np.load(folder / "end.npz") as out, np.load(ref / "end.npz") as expected:
        assert out.files == expected.files
        for name in expected.files:
            np.testing.assert_array_equal(out[name], expected[name], err_msg=name)
    # Nothing half-written stays either.
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.npz", "checkpoint.previous.npz", "end.npz",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a run that was left in peace, by backend."""
    folders: dict[str, Path] = {}

    def run(backend: str) -> Path:
        if backend not in folders:
            folders[backend] = tmp_path_factory.mktemp(backend) / "ref"
            assert finish(begin(folders[backend], backend)) == 0
        return folders[backend]

    return run


# A checkpoint is two calls of fsync (file, folder), and three renames: into place beside, the
# newest to the previous one, the new one to the newest. (The first has no newest to rename.)
@pytest.mark.parametrize(
    "where",
    ["fsync:1", "fsync:9", "fsync:10", "replace:2", "replace:12", "replace:13", "replace:14"],
)
def test_killed_in_the_middle_of_writing(tmp_path, unbroken, where):
    folder = tmp_path / "run"
    assert finish(begin(folder, "numpy", where)) == -signal.SIGKILL
    assert not (folder / "end.npz").exists()
    assert finish(begin(folder, "numpy")) == 0
    check_equal(folder, unbroken("numpy"))


@pytest.mark.parametrize("backend", ["numba", "cython"])
def test_killed_before_the_first_epoch_is_kept(tmp_path, unbroken, backend):
    """What ran for a prediction, layer by layer, does not settle how a batch is computed."""
    if backend not in fs.available_backends():
        pytest.skip(f"{backend} is not available here")
    folder = tmp_path / "run"
    assert finish(begin(folder, backend, "fsync:3")) == -signal.SIGKILL
    assert finish(begin(folder, backend)) == 0
    check_equal(folder, unbroken(backend))


def written_at(path: Path) -> int:
    """When a file was written; 0 if it is not there, as between two renames."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_at_random(folder: Path, backend: str, kills: int, seed: int) -> int:
    """Kill a run at random moments, again and again; how often that hit it alive."""
    moments = random.Random(seed)
    newest = folder / "checkpoint.npz"
    hits = 0
    for _ in range(kills):
        before = written_at(newest)
        process = begin(folder, backend)
        # Starting takes a while, in which nothing is written: wait until something is.
        deadline = time.monotonic() + LIMIT
        while process.poll() is None and time.monotonic() < deadline:
            if written_at(newest) not in (0, before):
                break
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        hits += finish(process) == -signal.SIGKILL
        if (folder / "end.npz").exists():
            break
    assert finish(begin(folder, backend)) == 0
    return hits


def test_killed_at_random_moments(tmp_path, unbroken):
    backend = fs.available_backends()[0]
    assert kill_at_random(tmp_path / "run", backend, kills=3, seed=1) >= 1
    check_equal(tmp_path / "run", unbroken(backend))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
def test_killed_at_many_random_moments(tmp_path, unbroken, backend, seed):
    if backend not in fs.available_backends():
        pytest.skip(f"{backend} is not available here")
    kill_at_random(tmp_path / "run", backend, kills=10, seed=seed)
    check_equal(tmp_path / "run", unbroken(backend))
