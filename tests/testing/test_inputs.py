"""Random inputs: they repeat, fit their problem, and are of the kind that was asked for."""

import numpy as np
import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, find_case, make_inputs, reference_outputs
from fastscratch.testing.inputs import KINDS, double_precision, input_kinds


@pytest.mark.parametrize("op", OPS)
def test_inputs_fit_their_problem_and_repeat(op):
    for problem in all_problems(op)[:20]:
        for kind in input_kinds(problem):
            inputs = make_inputs(problem, kind)
            again = make_inputs(problem, kind)
            specs = {name: s for name, s in OPS[op].arrays(problem).items() if s.role != "out"}
            assert inputs.keys() == specs.keys()
            for name, array in inputs.items():
                assert (array.shape, array.dtype) == (specs[name].shape, specs[name].dtype)
                assert array.tobytes() == again[name].tobytes()


def test_another_seed_gives_other_numbers():
    problem = find_case("dense_forward", "small")
    assert not np.array_equal(make_inputs(problem)["x"], make_inputs(problem, seed=1)["x"])


def test_integers_are_small_and_full_of_ties():
    x = make_inputs(find_case("max_pool2d_forward", "pool_3x3_s2"), "integers")["x"]
    assert np.array_equal(x, np.round(x))
    assert np.unique(x).tolist() == [-3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "name", ["nopad_ceil", "ceil_overhang_padded", "pool_3x3", "pad_ge_kernel"]
)
def test_shares_of_an_average_are_integers(name):
    problem = find_case("avg_pool2d_backward", name)
    dx = reference_outputs(problem, make_inputs(problem, "integers"))["dx"]
    assert np.array_equal(dx, np.round(dx))
    assert dx.any()


def test_non_finite_inputs_are_so():
    for op in OPS:
        problem = find_case(op, "batch_1" if "dense" not in op else "small")
        inputs = make_inputs(problem, "non-finite")
        assert any(not np.isfinite(array).all() for array in inputs.values()), op


def test_offsets_point_at_maxima_or_are_bad():
    problem = find_case("max_pool2d_backward", "pool_3x3_s2_padded")
    assert KINDS[-1] in input_kinds(problem)
    assert make_inputs(problem, "integers")["argmax"].max() < 9
    assert make_inputs(problem, "bad argmax")["argmax"].max() >= 9
    wide = find_case("max_pool2d_backward", "window_289_padded")
    bad = np.array([make_inputs(wide, "bad argmax", seed)["argmax"] for seed in range(9)])
    assert bad.min() < 0
    assert bad.max() >= 289


def test_double_precision_keeps_the_values():
    problem = find_case("max_pool2d_backward", "pool_2x2")
    inputs = make_inputs(problem, "normal")
    wide, widened = double_precision(problem, inputs)
    assert wide.dtype == "f64"
    assert widened["argmax"].dtype == np.uint8
    np.testing.assert_array_equal(widened["dout"], inputs["dout"])
