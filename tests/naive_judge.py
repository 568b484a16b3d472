"""Holds the reference against the naive oracle: the first link of the chain of trust."""

import naive
import numpy as np

from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, make_inputs, reference_outputs, tolerance
from fastscratch.testing.inputs import input_kinds

MOST_PRODUCTS = 300_000
"""Plain loops take about a second for so many; larger cases are left to the others."""


def problems(module):
    """The cases of a module's operations, in float64, that plain loops can do."""
    return [
        problem
        for op, spec in OPS.items() if spec.module == module
        for problem in all_problems(op)
        if problem.dtype == "f64" and spec.flops(problem) <= 2 * MOST_PRODUCTS
    ]  # fmt: skip


def judge(problem):
    """Every kind of inputs whose results do not depend on the order of sums."""
    for kind in input_kinds(problem):
        settled = (
            "max_pool2d_forward", "fractional_max_pool2d_forward", "relu_forward", "relu_backward",
            "add_forward", "add_relu_forward",
        )  # fmt: skip
        if kind == "normal" or (kind == "non-finite" and problem.op not in settled):
            continue
        inputs = make_inputs(problem, kind)
        with np.errstate(all="ignore"):
            ref = getattr(naive, problem.op)(
                problem, **{name: array.tolist() for name, array in inputs.items()}
            )
        out = reference_outputs(problem, inputs)
        assert out.keys() == ref.keys()
        for name in out:
            expected = np.array(ref[name], dtype=out[name].dtype).reshape(out[name].shape)
            if OPS[problem.op].rounds:
                np.testing.assert_allclose(
                    out[name], expected, rtol=1e-12, atol=tolerance(problem), err_msg=name
                )
            else:
                np.testing.assert_array_equal(out[name], expected, err_msg=f"{name}, {kind}")
