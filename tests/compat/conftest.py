"""A small data set in MNIST's format, and a way to start scripts of the book's on it."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parent / "scripts"
collect_ignore = ["scripts"]  # programs, which would run when they are looked through for tests

TRAIN, TEST = 400, 200


def write_digits(folder):
    """Ten patterns with noise on them, which networks tell apart after a few epochs."""
    rng = np.random.default_rng(0)
    patterns = np.kron(rng.random((10, 7, 7)) > 0.5, np.ones((4, 4)))
    for prefix, count in (("train", TRAIN), ("t10k", TEST)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        noise = rng.random((count, 28, 28))
        images = (255 * np.clip(0.8 * patterns[labels] * noise + 0.1 * noise, 0, 1)).astype("u1")
        for name, header, values in (
            ("images-idx3", struct.pack(">4I", 2051, count, 28, 28), images),
            ("labels-idx1", struct.pack(">2I", 2049, count), labels),
        ):
            path = folder / f"{prefix}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=1))


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """The folder of that data set, as FASTSCRATCH_DATA names it."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


@pytest.fixture(scope="session")
def seeded(tmp_path_factory):
    """A folder whose module Python imports as it starts: the scripts draw, and set no seed."""
    folder = tmp_path_factory.mktemp("seeded")
    (folder / "sitecustomize.py").write_text("import numpy\n\nnumpy.random.seed(0)\n")
    return folder


@pytest.fixture(scope="session")
def run_book(digits_folder, seeded):
    """Run a script as a user does: ``run_book(script, *arguments, cwd=..., options=...)``."""

    def run(script, *arguments, cwd, options=(), check=True, python=(), **environment):
        variables = {
            key: value for key, value in os.environ.items()
            if not key.startswith(("FASTSCRATCH_", "MPL", "DISPLAY", "WAYLAND"))
            or key == "FASTSCRATCH_CACHE"
        }  # fmt: skip
        variables |= {"FASTSCRATCH_DATA": str(digits_folder), "PYTHONPATH": str(seeded)}
        variables |= environment
        done = subprocess.run(
            [
                sys.executable, *python, "-m", "fastscratch.compat.book", *options,
                str(SCRIPTS / script), *arguments,
            ],
            env=variables, cwd=cwd, timeout=300, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run
