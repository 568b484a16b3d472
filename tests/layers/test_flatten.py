import numpy as np

from fastscratch.layers import Flatten


def test_row_major_and_back():
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    layer = Flatten()
    y = layer.forward(x, training=True)
    assert y.tolist() == [list(range(12)), list(range(12, 24))]
    assert np.array_equal(layer.backward(y), x)


def test_rows_pass_through():
    x = np.ones((2, 5), np.float32)
    assert Flatten().forward(x).shape == (2, 5)
