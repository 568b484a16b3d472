"""The harness that judges a kernel: cases, inputs, tolerances, hostile memory, and the judge.

`check_kernel` is all that most need. The rest is what it is made of, for tests and benchmarks::

    cases        named problems for every operation, and the shapes that speed is about
    inputs       random arrays for a problem, and what the reference makes of them
    tolerances   how far a result may be from the reference
    memory       arrays at unreadable pages, between watched bytes
    check        the judge        report   its verdict
"""

from fastscratch.testing.cases import all_problems, cases_of, find_case, shapes_of
from fastscratch.testing.check import check_kernel
from fastscratch.testing.inputs import make_inputs, reference_outputs
from fastscratch.testing.report import Failure, Report
from fastscratch.testing.tolerances import tolerance

__all__ = [
    "Failure",
    "Report",
    "all_problems",
    "cases_of",
    "check_kernel",
    "find_case",
    "make_inputs",
    "reference_outputs",
    "shapes_of",
    "tolerance",
]
