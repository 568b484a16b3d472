"""Numbers that are none are named, not compared."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch import layers, optimizers
from fastscratch.arguments import as_count, as_number
from fastscratch.errors import ArgumentError

WRONG: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (layers.Dense, (3.5,), {}, "Dense: out_features must be a positive int, got 3.5"),
    (layers.Dense, ("a",), {}, "Dense: out_features must be a positive int, got 'a'"),
    (layers.Conv2d, (None, 3), {}, "Conv2d: out_channels must be a positive int, got None"),
    (layers.Conv2d, (4, 3), {"groups": True}, "Conv2d: groups must be a positive int, got True"),
    (layers.Dropout, ("a",), {}, "Dropout: ratio must be a number, got 'a'"),
    (layers.DropConnect, (3, [0.5]), {}, "DropConnect: ratio must be a number, got [0.5]"),
    (layers.BatchNorm, (), {"eps": "a"}, "BatchNorm: eps must be a number, got 'a'"),
    (layers.ELU, ("a",), {}, "ELU: the slope must be a number, got 'a'"),
    (optimizers.Adam, ("a",), {}, "Adam: lr must be a number, got 'a'"),
    (optimizers.Adam, (), {"eps": None}, "Adam: eps must be a number, got None"),
    (fs.set_num_threads, ("2",), {}, "num_threads must be a positive int, got '2'"),
]


@pytest.mark.parametrize(
    ("function", "arguments", "options", "message"), WRONG, ids=[case[-1] for case in WRONG]
)
def test_the_argument_is_named(function, arguments, options, message):
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        function(*arguments, **options)


def test_numbers_of_numpy_are_numbers():
    count = as_count(np.int64(3), "n")
    assert count == 3 and type(count) is int
    assert as_number(np.float32(0.5), "p") == 0.5
