"""Builds that look at every access: with checks of their own, with the compiler's sanitizers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source_copy import copy_sources, run

from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS

pytestmark = pytest.mark.slow

CHECK_EVERY_CASE = """
from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing.check import check_implementation

assert cython_ext.build_info["checks"], cython_ext.reason
for op, spec in OPS.items():
    for entry in spec.implementations:
        if entry.backend == "cython":
            print(check_implementation(entry))
"""


def build(folder, **environment):
    """A copy of the sources, its kernels built in place."""
    checkout = copy_sources(folder)
    run(
        sys.executable, "setup.py", "build_ext", "--inplace",
        cwd=checkout, FASTSCRATCH_BUILD="require", **environment,
    )  # fmt: skip
    return checkout


def test_a_build_with_checks_passes_every_case(tmp_path):
    """An access that the pointer code finds outside of its memory ends the process."""
    checkout = build(tmp_path / "checks", FASTSCRATCH_CHECKS="1")
    done = run(sys.executable, "-c", CHECK_EVERY_CASE, cwd=checkout)
    entries = [entry for spec in OPS.values() for entry in spec.implementations]
    assert done.stdout.count("passed") == sum(entry.backend == "cython" for entry in entries)


# Whether results are right is asked elsewhere. On the heap each array lies between zones that
# the sanitizer watches; in the checker's memory, at pages that nobody may read.
RUN_EVERY_CASE = """
import numpy as np
from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, make_inputs
from fastscratch.testing.inputs import input_kinds, run_kernel
from fastscratch.testing.memory import PLACEMENTS, Placed, place

assert cython_ext.build_info["sanitized"], cython_ext.reason
runs = 0
for op, spec in OPS.items():
    for entry in spec.implementations:
        if entry.backend != "cython":
            continue
        for problem in all_problems(op):
            if entry.supports is not None and not entry.supports(problem):
                continue
            outputs = {name: a for name, a in spec.arrays(problem).items() if a.role == "out"}
            for kind in input_kinds(problem):
                inputs = make_inputs(problem, kind)
                heap = {name: array.copy() for name, array in inputs.items()}
                heap |= {name: np.empty(a.shape, a.dtype) for name, a in outputs.items()}
                for threads in (1, 2, 3):
                    run_kernel(entry.load(), problem, heap, threads)
                    runs += 1
            for placement in PLACEMENTS:
                memory = {name: place(array, placement) for name, array in inputs.items()}
                memory |= {name: Placed(a.shape, a.dtype, placement) for name, a in outputs.items()}
                arrays = {name: placed.array for name, placed in memory.items()}
                run_kernel(entry.load(), problem, arrays, 2)
                runs += 1
print(cython_ext.level, runs, "runs")
"""

ONE_BIAS_TOO_FEW = """
import numpy as np
from fastscratch.kernels.cython_ext.dense import dense_forward

x, weight, y = np.ones((9, 8)), np.ones((8, 40)), np.ones((9, 40))
dense_forward(x, weight, np.ones(39), y, 1)
"""

ONE_ROW_TOO_FEW = ONE_BIAS_TOO_FEW.replace("np.ones(39), y", "np.ones(40), y[:8].copy()")


@pytest.fixture(scope="module")
def sanitizers():
    """The environment that a sanitized module needs around it, if the compiler is GCC."""
    gcc = shutil.which("gcc")
    if gcc is None or sys.platform != "linux":
        pytest.skip("the sanitizers are run on Linux, with GCC")
    said = subprocess.run([gcc, "-print-file-name=libasan.so"], capture_output=True, text=True)
    library = Path(said.stdout.strip())
    if not library.is_absolute():
        pytest.skip(f"{gcc} came without libasan")
    # Python leaves its own memory to the system; its allocator would hide what lies where.
    return {
        "CC": gcc,
        "LD_PRELOAD": str(library),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }


@pytest.fixture(scope="module", params=["", "64"], ids=["own_width", "64_bytes"])
def sanitized(request, sanitizers, tmp_path_factory):
    """A sanitized build; the second has the vectors and tiles of AVX-512 at every level."""
    folder = tmp_path_factory.mktemp("sanitized") / "checkout"
    return build(
        folder, CC=sanitizers["CC"], FASTSCRATCH_SANITIZE="1",
        FASTSCRATCH_VECTOR_BYTES=request.param,
    )  # fmt: skip


@pytest.mark.parametrize("level", cython_ext.LEVELS)
def test_sanitizers_find_nothing_in_any_case(level, sanitized, sanitizers):
    if cython_ext.LEVELS.index(level) > cython_ext.LEVELS.index(cython_ext.level or "base"):
        pytest.skip(f"this processor does not have {level}")
    done = run(
        sys.executable, "-c", RUN_EVERY_CASE, cwd=sanitized, FASTSCRATCH_ISA=level, **sanitizers
    )
    assert done.stdout.startswith(level)
    assert int(done.stdout.split()[1]) > 1000


@pytest.mark.parametrize("code", [ONE_BIAS_TOO_FEW, ONE_ROW_TOO_FEW], ids=["read", "write"])
def test_sanitizers_find_an_access_beyond_an_array(code, sanitized, sanitizers):
    done = run(sys.executable, "-c", code, cwd=sanitized, check=False, **sanitizers)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
