"""Plain Python loops judge the reference of convolution, ReLU and max pooling in one."""

import naive_judge
import pytest


@pytest.mark.parametrize("problem", naive_judge.problems("conv2d_pool"), ids=str)
def test_agrees_with_plain_loops(problem):
    naive_judge.judge(problem)
