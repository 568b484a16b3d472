"""The cases: every one can be read, is small, and together they reach what they are there for."""

import pytest

from fastscratch.errors import ArgumentError
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import all_problems, cases_of, find_case, shapes_of

STYLE = (
    "pointwise", "first_layer", "same_3x3", "channel_tail", "strided_tail", "dilated", "grouped",
    "depthwise", "pad_ge_kernel", "single_pixel", "batch_1",
)  # fmt: skip


@pytest.mark.parametrize("op", OPS)
def test_every_case_is_a_problem_of_its_own(op):
    problems = [str(problem) for problem in all_problems(op)]
    assert len(problems) == len(set(problems)) == 2 * len(cases_of(op))
    assert all(str(parse_problem(text)) == text for text in problems)


@pytest.mark.parametrize("op", OPS)
def test_cases_are_small_and_the_smallest_comes_first(op):
    sizes = [OPS[op].nbytes(problem) for problem in all_problems(op)]
    assert sizes == sorted(sizes)
    assert sizes[-1] < 300_000
    assert max(OPS[op].flops(problem) for problem in all_problems(op)) < 4_000_000


@pytest.mark.parametrize("op", OPS)
def test_every_shape_is_a_problem(op):
    for name in shapes_of(op):
        problem = find_case(op, name)
        assert problem.dtype == "f32"
        assert OPS[op].nbytes(problem) > 0


@pytest.mark.parametrize("op", OPS)
def test_a_name_is_a_case_or_a_shape(op):
    assert not cases_of(op).keys() & shapes_of(op).keys()


@pytest.mark.parametrize("name", STYLE)
def test_convolutions_have_the_cases_that_every_project_names(name):
    assert name in cases_of("conv2d_forward")


@pytest.mark.parametrize(
    ("op", "reached"),
    [
        ("conv2d_forward", lambda p: p.rounding == "ceil"),
        ("conv2d_forward", lambda p: p.rounding == "floor"),
        ("conv2d_forward", lambda p: p.N == 0),
        ("conv2d_forward", lambda p: p.stride[0] != p.stride[1]),
        ("conv2d_forward", lambda p: p.dilation[0] != p.dilation[1]),
        ("conv2d_forward", lambda p: p.padding[0] != p.padding[1]),
        ("conv2d_forward", lambda p: p.padding[0] >= p.kernel_size[0]),
        ("conv2d_forward", lambda p: p.kernel_size[0] > p.H),
        ("conv2d_forward", lambda p: p.stride[0] > p.kernel_size[0]),
        ("conv2d_forward", lambda p: 1 < p.groups < p.C),
        ("conv2d_forward", lambda p: 1 < p.groups == p.C < p.OC),
        ("conv2d_forward", lambda p: p.groups > 1 and p.rounding == "ceil"),
        ("max_pool2d_forward", lambda p: p.kernel_size[0] * p.kernel_size[1] == 256),
        ("max_pool2d_forward", lambda p: p.kernel_size[0] * p.kernel_size[1] > 256),
        ("max_pool2d_backward", lambda p: p.dilation != (1, 1)),
        ("avg_pool2d_forward", lambda p: not p.count_include_pad and p.rounding == "ceil"),
        ("avg_pool2d_backward", lambda p: not p.count_include_pad and any(p.padding)),
        ("dense_forward", lambda p: p.N == 0),
        ("im2col", lambda p: p.rounding == "floor"),
    ],
)
def test_some_case_reaches(op, reached):
    assert any(reached(problem) for problem in all_problems(op))


def test_an_unknown_case_is_an_error_that_lists_the_known():
    with pytest.raises(ArgumentError, match=r"no case 'nope'; there are .*pointwise"):
        find_case("conv2d_forward", "nope")
