import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastscratch.errors import ArgumentError
from fastscratch.schedules import (
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    StepDecay,
)

ALL = [
    ConstantRate(),
    StepDecay(3),
    ExponentialDecay(0.1),
    InverseTimeDecay(0.1),
    CosineDecay(20, 0.1),
]


def test_constant():
    assert {ConstantRate()(time) for time in (0, 0.5, 1e6)} == {1.0}


def test_step():
    schedule = StepDecay(every=30, factor=0.1)
    assert [schedule(time) for time in (0, 29.9, 30, 59, 60)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )


def test_exponential():
    schedule = ExponentialDecay(rate=0.5)
    assert schedule(2) == pytest.approx(math.exp(-1)) and schedule(0) == 1


def test_inverse_time():
    schedule = InverseTimeDecay(rate=1.0)
    assert [schedule(time) for time in (0, 1, 3)] == [1.0, 0.5, 0.25]


def test_cosine():
    schedule = CosineDecay(total=8, floor=0.2)
    assert [schedule(time) for time in (0, 2, 4, 8, 100)] == pytest.approx(
        [1, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2, 0.2]
    )


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@given(first=st.floats(0, 100), second=st.floats(0, 100))
def test_they_start_at_one_and_never_rise(schedule, first, second):
    early, late = sorted((first, second))
    assert schedule(0) == 1
    assert 0 < schedule(late) <= schedule(early) <= 1


@pytest.mark.parametrize(
    "make",
    [lambda: StepDecay(0), lambda: StepDecay(5, factor=0), lambda: ExponentialDecay(-1),
     lambda: InverseTimeDecay(float("inf")), lambda: CosineDecay(0), lambda: CosineDecay(5, 1.5),
     lambda: CosineDecay(float("nan"))],
)  # fmt: skip
def test_impossible_settings(make):
    with pytest.raises(ArgumentError):
        make()
