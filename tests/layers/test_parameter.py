import numpy as np
import pytest

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.layers import Buffer, Parameter


def test_a_parameter_starts_without_gradient():
    parameter = Parameter("p", np.ones((2, 3), np.float32))
    assert parameter.decay and parameter.size == 6
    assert parameter.grad.shape == (2, 3) and parameter.grad.dtype == np.float32
    assert not parameter.grad.any()


def test_assignments_write_in_place():
    for held in (Parameter("p", np.zeros(3)), Buffer("b", np.zeros(3))):
        view = held.value[1:]
        held.value = [1, 2, 3]
        held.value += 1
        assert view.tolist() == [3, 4]
        with pytest.raises(ShapeError, match=held.name):
            held.value = np.zeros(4)
    counter = Buffer("step", np.zeros((), np.int64))
    with pytest.raises(DtypeError, match="int64, cannot hold float64"):
        counter.value = 1.5


def test_moving_takes_the_content_along():
    parameter = Parameter("p", np.arange(3.0))
    parameter.grad = np.arange(3.0) + 10
    room = np.zeros((2, 3))
    parameter.move_to(room[0], room[1])
    assert room.tolist() == [[0, 1, 2], [10, 11, 12]]
    parameter.value[0] = 5
    assert room[0, 0] == 5
