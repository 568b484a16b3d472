"""Numbers that are none are named, not compared."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch import layers, optimizers
from fastscratch.arguments import as_count, as_number
from fastscratch.errors import ArgumentError

WRONG = [
    (lambda: layers.Dense(3.5), "Dense: out_features must be a positive int, got 3.5"),
    (lambda: layers.Dense("a"), "Dense: out_features must be a positive int, got 'a'"),
    (lambda: layers.Conv2d(None, 3), "Conv2d: out_channels must be a positive int, got None"),
    (lambda: layers.Conv2d(4, 3, groups=True), "Conv2d: groups must be a positive int, got True"),
    (lambda: layers.Dropout("a"), "Dropout: ratio must be a number, got 'a'"),
    (lambda: layers.DropConnect(3, [0.5]), r"DropConnect: ratio must be a number, got \[0.5\]"),
    (lambda: layers.BatchNorm(eps="a"), "BatchNorm: eps must be a number, got 'a'"),
    (lambda: layers.ELU("a"), "ELU: the slope must be a number, got 'a'"),
    (lambda: optimizers.Adam("a"), "Adam: lr must be a number, got 'a'"),
    (lambda: optimizers.Adam(eps=None), "Adam: eps must be a number, got None"),
    (lambda: fs.set_num_threads("2"), "num_threads must be a positive int, got '2'"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_the_argument_is_named(call, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        call()


def test_numbers_of_numpy_are_numbers():
    count = as_count(np.int64(3), "n")
    assert count == 3 and type(count) is int
    assert as_number(np.float32(0.5), "p") == 0.5
