"""PyTorch judges every implementation from outside, on small integers: to the last bit."""

import numpy as np
import pytest
import torch_ops

from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, make_inputs
from fastscratch.testing.inputs import run_kernel

PROBLEMS = [
    problem for op in OPS for problem in all_problems(op) if not torch_ops.unsupported(problem)
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_agrees_with_pytorch(backend, problem):
    spec = OPS[problem.op]
    inputs = make_inputs(problem, "integers")
    ref = torch_ops.run(problem, inputs)
    out = {
        name: np.empty(array.shape, array.dtype)
        for name, array in spec.arrays(problem).items()
        if array.role == "out"
    }
    run_kernel(spec.direct(backend).load(), problem, inputs | out, 1)
    for name in out:
        np.testing.assert_array_equal(out[name], ref[name], err_msg=name)


def test_most_cases_can_be_posed_to_pytorch():
    every = sum(len(all_problems(op)) for op in OPS)
    assert len(PROBLEMS) > 0.9 * every
