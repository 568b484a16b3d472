"""Plain Python loops judge the reference of pooling, case by case, to the last bit."""

import naive_judge
import pytest


@pytest.mark.parametrize("problem", naive_judge.problems("pool2d"), ids=str)
def test_agrees_with_plain_loops(problem):
    naive_judge.judge(problem)
