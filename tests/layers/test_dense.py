import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.initializers import Constant
from fastscratch.layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential


def test_the_books_product():
    dense = Dense(3, weight_init="zeros")
    dense.build((2,), np.float64)
    dense.weight.value = [[1, 3, 5], [2, 4, 6]]
    assert dense.forward(np.array([[1.0, 2.0]])).tolist() == [[5.0, 11.0, 17.0]]


def test_forward_and_backward_by_hand():
    dense = Dense(2)
    dense.build((3,), np.float64)
    dense.weight.value = np.arange(6).reshape(3, 2)
    assert dense.bias is not None
    dense.bias.value = [10.0, 20.0]
    x, dout = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert dense.forward(x, training=True).tolist() == [[26.0, 42.0], [12.0, 23.0]]
    assert dense.backward(dout).tolist() == [[2.0, 8.0, 14.0], [4.0, 18.0, 32.0]]
    assert dense.weight.grad.tolist() == [[1.0, 2.0], [5.0, 8.0], [3.0, 6.0]]
    assert dense.bias.grad.tolist() == [4.0, 6.0]


def test_an_image_is_an_error_that_says_flatten():
    model = Sequential(
        ("conv", Conv2d(2, 3)), ("relu", ReLU()), ("pool", MaxPool2d(2)), ("top", Dense(3))
    )
    with pytest.raises(ShapeError, match=r"layer 'top' \(Dense\).*\(N, 2, 2, 2\).*Flatten\(\)"):
        model.forward(np.zeros((1, 1, 6, 6), np.float32))


def test_flatten_makes_it_fit_and_gives_the_shape_back():
    model = Sequential(Conv2d(2, 3), Flatten(), Dense(3))
    y = model.forward(np.ones((5, 1, 6, 6), np.float32), training=True)
    assert model.backward(np.ones_like(y)).shape == (5, 1, 6, 6)


def test_without_bias():
    dense = Dense(2, bias=False)
    dense.build((3,))
    assert dense.bias is None and list(dense.state_dict()) == ["weight"]
    assert not dense.forward(np.zeros((1, 3), np.float32)).any()
    assert dense.config()["bias"] is False and Dense(2).config()["bias"] is True


def test_initializers_by_name_and_object():
    dense = Dense(2, weight_init=Constant(3.0), bias_init="normal")
    dense.build((4,))
    assert dense.bias is not None
    assert (dense.weight.value == 3).all() and dense.bias.value.any()
    again = Dense.from_config(dense.config())
    again.build((4,))
    assert (again.weight.value == 3).all()
    with pytest.raises(ArgumentError, match=r"Dense.*no initializer 'he'.*he_normal"):
        Dense(2, weight_init="he").build((4,))


def test_the_fans_are_its_inputs_and_outputs():
    wide = Dense(10, weight_init="he_uniform")
    wide.build((600,))
    assert 0.95 * 0.1 < abs(wide.weight.value).max() <= 0.1
    xavier = Dense(200, weight_init="xavier_uniform")
    xavier.build((400,))
    assert 0.95 * 0.1 < abs(xavier.weight.value).max() <= 0.1


def test_no_features_is_an_error():
    with pytest.raises(ArgumentError, match="out_features"):
        Dense(0)
