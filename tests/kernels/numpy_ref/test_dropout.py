"""Plain Python loops judge the reference of dropout, case by case."""

import naive_judge
import pytest


@pytest.mark.parametrize("problem", naive_judge.problems("dropout"), ids=str)
def test_agrees_with_plain_loops(problem):
    naive_judge.judge(problem)
