"""The gates of chapter 2, and what a single perceptron cannot do."""

import itertools

import pytest

from fastscratch.errors import ShapeError
from fastscratch.models.perceptron import GATES, INPUTS, Perceptron

TABLES = {"AND": [0, 0, 0, 1], "NAND": [1, 1, 1, 0], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}


@pytest.mark.parametrize("name", TABLES)
def test_truth_tables(name):
    assert [GATES[name](*inputs) for inputs in INPUTS] == TABLES[name]


def test_a_threshold_is_a_bias_of_the_other_sign():
    gate = Perceptron.from_threshold((0.5, 0.5), 0.7)
    assert [gate(*inputs) for inputs in INPUTS] == TABLES["AND"]


def test_no_single_perceptron_is_xor():
    steps = [number / 2 for number in range(-4, 5)]
    for w1, w2, bias in itertools.product(steps, repeat=3):
        gate = Perceptron((w1, w2), bias)
        assert [gate(*inputs) for inputs in INPUTS] != TABLES["XOR"]


def test_inputs_are_counted():
    with pytest.raises(ShapeError, match="2 inputs got 3"):
        GATES["OR"](1, 0, 1)
