"""Mini-batches: every sample once an epoch, in an order that depends on seed and epoch alone."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.training.batches import Batches


def epoch_of(batches: Batches, epoch: int) -> list[np.ndarray]:
    batches.begin(epoch)
    return [batches.take(number)[0].copy() for number in range(batches.count)]


@pytest.mark.parametrize(("samples", "size"), [(10, 3), (9, 3), (1, 5), (5, 1), (4, 100)])
def test_every_sample_once_with_its_target(samples, size):
    x = np.arange(samples * 2, dtype=np.float32).reshape(samples, 2)
    batches = Batches(x, np.arange(samples), size, seed=1)
    assert batches.count == -(-samples // size)
    batches.begin(0)
    seen = []
    for number in range(batches.count):
        xb, tb = batches.take(number)
        np.testing.assert_array_equal(xb, x[tb])
        seen += tb.tolist()
    assert sorted(seen) == list(range(samples))


def test_the_last_partial_batch_is_kept_or_dropped():
    x = np.arange(10)
    assert [len(b) for b in epoch_of(Batches(x, x, 4), 0)] == [4, 4, 2]
    dropped = Batches(x, x, 4, drop_last=True)
    assert [len(b) for b in epoch_of(dropped, 0)] == [4, 4]
    assert dropped.samples == 8
    left_out = [set(x) - {int(i) for b in epoch_of(dropped, e) for i in b} for e in range(5)]
    assert len({frozenset(out) for out in left_out}) > 1


def test_order_is_a_function_of_seed_and_epoch():
    x = np.arange(100)
    order = [np.concatenate(epoch_of(Batches(x, x, 7, seed=2), e)) for e in (0, 1, 0)]
    other_seed = np.concatenate(epoch_of(Batches(x, x, 7, seed=3), 0))
    other_size = np.concatenate(epoch_of(Batches(x, x, 11, seed=2), 0))
    np.testing.assert_array_equal(order[0], order[2])
    np.testing.assert_array_equal(order[0], other_size)
    assert not np.array_equal(order[0], order[1])
    assert not np.array_equal(order[0], other_seed)
    assert not np.array_equal(order[0], x)


def test_any_layout_and_read_only_sources():
    x = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    x.flags.writeable = False
    batches = Batches(x, np.arange(4), 3)
    batches.begin(0)
    xb, tb = batches.take(0)
    np.testing.assert_array_equal(xb, x[tb])
    assert xb.flags.c_contiguous


def test_refusals():
    with pytest.raises(ArgumentError, match="empty"):
        Batches(np.zeros((0, 2)), np.zeros(0), 3)
    with pytest.raises(ShapeError, match="3 samples but t has 2"):
        Batches(np.zeros((3, 2)), np.zeros(2), 3)
    with pytest.raises(ArgumentError, match="leaves no batch of 2"):
        Batches(np.zeros((2, 2)), np.zeros(2), 3, drop_last=True)
