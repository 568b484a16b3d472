"""Plain Python loops judge the reference of fractional pooling, case by case."""

import naive_judge
import pytest


@pytest.mark.parametrize("problem", naive_judge.problems("fractional_pool2d"), ids=str)
def test_agrees_with_plain_loops(problem):
    naive_judge.judge(problem)
