"""The Numba kernels with the compiler off: the same sources, run as plain Python.

What Numba makes of a mistake (a wrapped index, a type that it coerces) is an error in Python; and a
kernel can be stepped through in a debugger only as long as this works.
"""

import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems

MOST_PRODUCTS = 2_500
"""Plain Python takes its time."""

RUN = """
import sys
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing.check import check_implementation
import numba
op, *problems = sys.argv[1:]
assert numba.config.DISABLE_JIT
for entry in OPS[op].implementations:
    if entry.backend == "numba":
        print(check_implementation(entry, problems=problems, threads=(1, 2)))
"""


@pytest.mark.parametrize("op", OPS)
def test_plain_python_agrees_with_the_reference(op, run_python, require_backend):
    require_backend("numba")
    spec = OPS[op]
    small = [p for p in all_problems(op) if p.dtype == "f32" and spec.flops(p) <= MOST_PRODUCTS]
    # The largest of the small, which reach more branches than single elements do.
    problems = list(dict.fromkeys(str(problem) for problem in small[:2] + small[-10:]))
    done = run_python(RUN, arguments=[op, *problems], NUMBA_DISABLE_JIT="1")
    assert f"passed {len(problems)} problems" in done.stdout
