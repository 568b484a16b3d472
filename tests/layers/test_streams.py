import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.layers.streams import stream, stream_key


def test_streams_of_different_seeds_and_paths_differ():
    draws = {stream(seed, path).random() for seed in range(5) for path in ("a", "b", "a.b", "")}
    assert len(draws) == 20
    assert stream_key(1, "2:a") != stream_key(12, ":a")


def test_the_numbers_do_not_change_between_versions():
    # Saved runs and published results depend on these.
    assert stream_key(0, "conv1.weight") == 0x369FD4B55D9276C46591CA9C103BB904
    assert stream(7, "dense").random() == 0.34907832205092204


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_impossible_seeds(seed):
    with pytest.raises(ArgumentError, match="seed"):
        stream(seed, "a")


def test_numpy_integers_are_seeds():
    assert stream_key(np.int64(3), "a") == stream_key(3, "a")  # type: ignore[arg-type]
