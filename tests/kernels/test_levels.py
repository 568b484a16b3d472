"""Every compiled level that this processor has, not only the best, judged in its own process."""

import pytest

from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS

RUN = """
from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems
from fastscratch.testing.check import check_implementation
print(cython_ext.level)
for op, spec in OPS.items():
    problems = [problem for problem in all_problems(op) if problem.dtype == "f32"]
    for entry in spec.implementations:
        if entry.backend == "cython":
            print(check_implementation(entry, problems=problems, threads=(2,)))
"""


@pytest.mark.parametrize("level", cython_ext.LEVELS)
def test_a_level_below_the_best(level, run_python, require_backend):
    require_backend("cython")
    if cython_ext.LEVELS.index(level) >= cython_ext.LEVELS.index(cython_ext.level):
        pytest.skip(f"the best level here is {cython_ext.level}, which the other tests judge")
    if level not in cython_ext.build_info["levels"]:
        pytest.skip(f"{level} was not built")
    lines = run_python(RUN, FASTSCRATCH_ISA=level).stdout.splitlines()
    assert lines[0] == level
    assert len(lines) == 1 + sum(
        entry.backend == "cython" for spec in OPS.values() for entry in spec.implementations
    )
    assert all(": passed " in line for line in lines[1:])
