"""Plain Python loops judge the reference of im2col and col2im, case by case, to the last bit."""

import naive_judge
import pytest


@pytest.mark.parametrize("problem", naive_judge.problems("im2col"), ids=str)
def test_agrees_with_plain_loops(problem):
    naive_judge.judge(problem)
