"""Explanations: the problem that a call poses, what would run, by which rule."""

import inspect

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ArgumentError, BackendUnavailableError, DtypeError, ShapeError
from fastscratch.kernels.catalogue import BACKENDS, OPS
from fastscratch.ops import explain, problem_of
from fastscratch.ops.explain import PROBLEMS

X = np.ones((2, 3, 8, 8), np.float32)
WEIGHT = np.ones((4, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((fs.ops.conv2d_forward, X, WEIGHT), {"padding": "same"},
         "conv2d_forward:f32:n2c3h8w8:oc4k3s1p1"),
        (("conv2d_forward", X, WEIGHT), {"stride": 2, "rounding": "floor"},
         "conv2d_forward:f32:n2c3h8w8:oc4k3s2p0floor"),
        (("conv2d_backward_input", np.ones((2, 4, 3, 3), np.float32), WEIGHT, X.shape),
         {"stride": 2}, "conv2d_backward_input:f32:n2c3h8w8:oc4k3s2p0floor"),
        (("conv2d_backward_weight", np.ones((2, 4, 6, 6), np.float32), X, 3), {},
         "conv2d_backward_weight:f32:n2c3h8w8:oc4k3s1p0"),
        (("max_pool2d_forward", X, 2), {}, "max_pool2d_forward:f32:n2c3h8w8:k2s2p0"),
        (("max_pool2d_backward", X, X.astype(np.uint8), (2, 3, 16, 16), 2), {},
         "max_pool2d_backward:f32:n2c3h16w16:k2s2p0"),
        (("avg_pool2d_forward", X, 2), {"count_include_pad": False},
         "avg_pool2d_forward:f32:n2c3h8w8:k2s2p0nopad"),
        (("avg_pool2d_backward", X, (2, 3, 16, 16), 2), {},
         "avg_pool2d_backward:f32:n2c3h16w16:k2s2p0"),
        (("im2col", X, 3), {"padding": (0, 1, 2, 1)}, "im2col:f32:n2c3h8w8:k3s1p0x1x2x1"),
        (("col2im", np.ones((72, 27)), X.shape, 3), {}, "col2im:f64:n2c3h8w8:k3s1p0"),
        (("dense_forward", np.ones((5, 7)), np.ones((7, 2))), {}, "dense_forward:f64:n5i7:o2"),
        (("dense_backward_input", np.ones((5, 2)), np.ones((7, 2))), {},
         "dense_backward_input:f64:n5i7:o2"),
        (("dense_backward_weight", np.ones((5, 2)), np.ones((5, 7))), {},
         "dense_backward_weight:f64:n5i7:o2"),
    ],
)  # fmt: skip
def test_the_problem_that_a_call_poses(arguments, options, text):
    assert str(problem_of(*arguments, **options)) == text
    assert explain(*arguments, backend="numpy", **options).problem == text


def test_every_operation_can_be_explained():
    assert PROBLEMS.keys() == OPS.keys()
    for op, (function, make_problem) in PROBLEMS.items():
        assert function is getattr(fs.ops, op)
        names = inspect.signature(function).parameters
        assert set(inspect.signature(make_problem).parameters) <= set(names)


def test_says_what_runs_by_which_rule_and_who_else_could():
    report = explain("dense_forward:f32:n100i784:o50", backend="numpy")
    assert (report.implementation, report.rule) == ("numpy", "named by the call")
    assert [name for name, _ in report.candidates] == list(BACKENDS)
    lines = str(report).splitlines()
    assert lines[0] == "dense_forward:f32:n100i784:o50"
    assert lines[1].endswith(": named by the call")
    assert lines[1].startswith("  runs on numpy, ")
    assert lines[-1] == "  * numpy: can run it"
    with fs.use_backend("numpy"):
        assert explain("dense_forward:f32:n1i7:o5").rule == "named by use_backend"
    with fs.use_backend(dense_forward="numpy"):
        found = explain("dense_forward:f32:n1i7:o5")
        assert found.rule == "named by use_backend for this operation"
    assert explain("dense_forward:f32:n1i7:o5").rule == "the order of the catalogue"


def test_says_what_the_call_then_does():
    for name in fs.available_backends():
        with fs.use_backend(name), fs.record_choices() as choices:
            fs.ops.max_pool2d_forward(X, 2)
            assert explain("max_pool2d_forward", X, 2).implementation == name
        assert set(choices["max_pool2d_forward"]) == {name}


def test_errors_are_those_of_the_call():
    with pytest.raises(ShapeError, match="leaves a remainder"):
        explain("max_pool2d_forward", X, 3)
    with pytest.raises(DtypeError):
        explain("max_pool2d_forward", X.astype(int), 2)
    with pytest.raises(BackendUnavailableError, match="no implementation is called 'cuda'"):
        explain("max_pool2d_forward", X, 2, backend="cuda")
    with pytest.raises(ArgumentError, match="missing a required argument: 'kernel_size'"):
        explain("max_pool2d_forward", X)
    with pytest.raises(ArgumentError, match="unexpected keyword argument 'colour'"):
        explain("max_pool2d_forward", X, 2, colour=1)
    with pytest.raises(ArgumentError, match="unknown operation 'conv'"):
        explain("conv", X)
    with pytest.raises(ArgumentError, match="unknown operation '<lambda>'"):
        explain(lambda x: x, X)
    with pytest.raises(ArgumentError, match="takes no further arguments"):
        explain("dense_forward:f32:n1i7:o5", X)
    with pytest.raises(ArgumentError, match="is not of the form"):
        explain("dense_forward:f32:n1i7")
