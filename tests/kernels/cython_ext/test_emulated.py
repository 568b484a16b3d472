"""Older processors, emulated: which level is loaded there, and what it computes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS

ROOT = Path(__file__).resolve().parents[3]
QEMU = shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        QEMU is None or sys.platform != "linux",
        reason="qemu-x86_64 emulates older processors: install qemu-user",
    ),
]

# QEMU reads 16 bytes where a scalar instruction has an operand of 4 in memory, so pages stay
# readable; every other case, which takes both dtypes in turns, is about a minute.
EVERY_OTHER_CASE = """
from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, memory
from fastscratch.testing.check import check_implementation

memory.guard_reason = lambda: "the emulator reads beyond operands"
print(cython_ext.level)
for op, spec in OPS.items():
    for entry in spec.implementations:
        if entry.backend == "cython":
            print(check_implementation(entry, problems=all_problems(op)[::2], threads=(2,)))
"""


def emulate(processor, *arguments):
    """What Python prints on an emulated processor."""
    variables = {
        key: value for key, value in os.environ.items()
        if not key.startswith(("FASTSCRATCH_", "OPENBLAS_"))
    }  # fmt: skip
    done = subprocess.run(
        [str(QEMU), "-cpu", processor, sys.executable, *arguments],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=2400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("processor", "level"), [("Nehalem", "base"), ("Haswell", "avx2")])
def test_an_older_processor(processor, level, require_backend):
    require_backend("cython")
    if level not in cython_ext.build_info["levels"]:
        pytest.skip(f"{level} was not built")
    info = emulate(processor, "-m", "fastscratch", "info")
    assert f"compiled level {level}" in " ".join(info.split())
    lines = emulate(processor, "-c", EVERY_OTHER_CASE).splitlines()
    assert lines[0] == level
    entries = [entry for spec in OPS.values() for entry in spec.implementations]
    assert len(lines) == 1 + sum(entry.backend == "cython" for entry in entries)
    assert all(": passed " in line for line in lines[1:])
