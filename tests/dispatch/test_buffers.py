"""Buffers come back when nobody holds them, and never before."""

import gc
from typing import Any

import numpy as np

import fastscratch as fs
from fastscratch import layers, losses, optimizers
from fastscratch.dispatch import record_choices, reuse_buffers
from fastscratch.dispatch.buffers import Buffers
from fastscratch.training.step import update

FLOAT = np.dtype(np.float32)
X = np.ones((3, 50), np.float32)


def test_an_array_that_is_held_stays_as_it_is():
    with reuse_buffers():
        first = fs.ops.relu_forward(X)
        address = first.ctypes.data
        kept = first[1:]  # a view holds the whole
        del first
        second = fs.ops.relu_forward(-X)
        assert second.ctypes.data != address
        assert (kept == 1).all()
        del kept
        assert fs.ops.relu_forward(X).ctypes.data == address


def test_holders_of_every_kind_are_seen():
    buffers = Buffers()
    array = buffers.take((4, 4), FLOAT)
    address = array.ctypes.data
    holders: list[Any] = [
        {"a": array},
        array.data,
        array.T,
        array.reshape(-1)[3:],
        lambda a=array: a,
    ]
    del array
    while holders:
        assert buffers.take((4, 4), FLOAT).ctypes.data != address
        holders.pop()
        gc.collect()
    assert buffers.take((4, 4), FLOAT).ctypes.data == address


def test_shapes_and_dtypes_are_kept_apart():
    buffers = Buffers()
    assert buffers.take((4,), FLOAT).dtype == np.float32
    assert buffers.take((4,), np.dtype(np.float64)).dtype == np.float64
    assert buffers.take((2, 2), FLOAT).shape == (2, 2)


def test_large_arrays_start_at_a_line_of_the_cache():
    x = np.ones((200, 100), np.float32)
    for _ in range(2):  # decided anew, and known
        assert fs.ops.relu_forward(x).ctypes.data % 64 == 0
        with reuse_buffers():
            assert fs.ops.relu_forward(x).ctypes.data % 64 == 0
            assert fs.ops.relu_forward(X).ctypes.data % 64 == 0
    assert fs.ops.relu_forward(X).flags.owndata  # small ones are plain


def test_outside_of_the_block_arrays_are_fresh():
    with reuse_buffers():
        inside = fs.ops.relu_forward(X)
    results = [fs.ops.relu_forward(X) for _ in range(3)]
    assert len({array.ctypes.data for array in (inside, *results)}) == 4


def test_blocks_nest_and_choices_are_still_recorded():
    with record_choices() as choices, reuse_buffers(), fs.use_backend("numpy"), reuse_buffers():
        fs.ops.relu_forward(X)
    assert choices == {"relu_forward": {"numpy": 1}}


def test_training_steps_are_the_same_with_and_without():
    def train(steps):
        net = layers.Sequential(
            layers.Conv2d(3, 3), layers.BatchNorm(), layers.ReLU(), layers.MaxPool2d(2),
            layers.Flatten(), layers.Dropout(0.3), layers.Dense(4), layers.Sigmoid(),
            layers.Dense(5), seed=1,
        )  # fmt: skip
        net.build((2, 8, 8))
        flat, adam = optimizers.FlatParameters(net), optimizers.Adam()
        rng = np.random.default_rng(0)
        seen = []
        for _ in range(steps):
            x = rng.standard_normal((7, 2, 8, 8)).astype(np.float32)
            t = rng.integers(0, 5, 7)
            seen.append(update(net, losses.SoftmaxCrossEntropy(), adam, flat, x, t))
        return seen, flat.value.copy()

    ref, value = train(4)
    with reuse_buffers():
        out, other = train(4)
    assert value.tobytes() == other.tobytes()
    for (loss, scores), (expected, held) in zip(out, ref, strict=True):
        assert loss == expected
        np.testing.assert_array_equal(scores, held)  # though later steps could have reused them
