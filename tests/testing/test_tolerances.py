"""The table of tolerances: zero where values are moved, growing with the number of terms."""

import numpy as np
import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, find_case, make_inputs, reference_outputs, tolerance
from fastscratch.testing.inputs import double_precision


@pytest.mark.parametrize("op", ["max_pool2d_forward", "im2col"])
def test_moved_values_have_none(op):
    assert all(tolerance(problem) == 0 for problem in all_problems(op))


def test_grows_with_the_terms_and_with_eps():
    few, many = find_case("dense_forward", "small"), find_case("dense_forward", "many_terms")
    assert 0 < tolerance(few) < tolerance(many)
    assert tolerance(find_case("dense_forward", "small", "f64")) < 1e-7 * tolerance(few)


@pytest.mark.parametrize(
    "op", [op for op, spec in OPS.items() if spec.terms(find_case(op, "batch_1"))]
)
def test_is_neither_too_tight_nor_too_loose(op):
    """The reference in float32 stays well inside; float16 inputs are far outside."""
    inside, outside = [], []
    for problem in all_problems(op):
        inputs = make_inputs(problem)
        if problem.dtype != "f32" or ":n0" in str(problem):
            continue
        truth = reference_outputs(*double_precision(problem, inputs))
        out = reference_outputs(problem, inputs)
        rough = {
            name: array.astype(np.float16).astype(array.dtype) if array.dtype.kind == "f" else array
            for name, array in inputs.items()
        }
        coarse = reference_outputs(problem, rough)
        for name in out:
            inside.append(np.abs(out[name] - truth[name]).max() / tolerance(problem))
            outside.append(np.abs(coarse[name] - truth[name]).max() / tolerance(problem))
    assert max(inside) < 0.7
    assert np.median(outside) > 20
