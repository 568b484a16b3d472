"""The layers and functions that stand in for the book's: formulas, attributes, dtypes, sharing."""

import importlib
from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.compat.book.arrays import (
    col2im,
    conv_output_size,
    im2col,
    shuffle_dataset,
    smooth_curve,
)
from fastscratch.compat.book.convolution import Convolution, Pooling
from fastscratch.compat.book.functions import (
    cross_entropy_error,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_loss,
    sum_squared_error,
)
from fastscratch.compat.book.gradient import numerical_gradient, numerical_gradient_2d
from fastscratch.compat.book.layers import (
    Affine,
    BatchNormalization,
    Dropout,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
)
from fastscratch.compat.book.modules import STAND_INS
from fastscratch.errors import ArgumentError, DtypeError, ShapeError

RNG = np.random.default_rng(7)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers():
    """Whichever tests ran before in this process."""
    RNG.bit_generator.state = START
    np.random.seed(7)


def columns(x, fh, fw, stride, pad, fill=0.0):
    """Windows as rows, by slices: shares no code with the library."""
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)], constant_values=fill)
    N, _, H, W = x.shape
    rows = [
        x[n, :, i : i + fh, j : j + fw].ravel()
        for n in range(N)
        for i in range(0, H - fh + 1, stride)
        for j in range(0, W - fw + 1, stride)
    ]
    return np.array(rows)


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (1, 1), (2, 1), (2, 2)])
def test_convolution_is_the_product_of_its_columns(stride, pad):
    x, W, b = RNG.random((2, 3, 5, 7)), RNG.random((4, 3, 3, 3)), RNG.random(4)
    layer = Convolution(W, b, stride, pad)
    assert layer.col is layer.col_W is layer.dW is layer.x is None
    y = layer.forward(x)
    col = columns(x, 3, 3, stride, pad)
    OH, OW = 1 + (5 + 2 * pad - 3) // stride, 1 + (7 + 2 * pad - 3) // stride
    ref = (col @ W.reshape(4, -1).T + b).reshape(2, OH, OW, 4).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y, ref, rtol=1e-13)
    np.testing.assert_array_equal(layer.col, col)
    np.testing.assert_array_equal(layer.col_W, W.reshape(4, -1).T)
    assert layer.x is x and layer.W is W and layer.b is b

    dout = RNG.random(y.shape)
    dx = layer.backward(dout)
    flat = dout.transpose(0, 2, 3, 1).reshape(-1, 4)
    np.testing.assert_allclose(layer.dW, (col.T @ flat).T.reshape(W.shape), rtol=1e-12)
    np.testing.assert_allclose(layer.db, flat.sum(axis=0), rtol=1e-12)
    ref = col2im(flat @ W.reshape(4, -1), x.shape, 3, 3, stride, pad)
    np.testing.assert_allclose(dx, ref, rtol=1e-12)


def test_convolution_against_torch():
    torch = pytest.importorskip("torch")
    x, W, b = (RNG.standard_normal(s) for s in ((2, 3, 8, 9), (5, 3, 3, 2), (5,)))
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, W, b))
    ref = torch.nn.functional.conv2d(tx, tw, tb, padding=1)
    pooled = torch.nn.functional.max_pool2d(torch.relu(ref), 2)
    pooled.sum().backward()
    conv, relu, pool = Convolution(W, b, pad=1), Relu(), Pooling(2, 2)
    y = pool.forward(relu.forward(conv.forward(x)))
    np.testing.assert_allclose(y, pooled.detach().numpy(), rtol=1e-12)
    dx = conv.backward(relu.backward(pool.backward(np.ones_like(y))))
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(conv.dW, tw.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(conv.db, tb.grad.numpy(), rtol=1e-10)


def test_windows_that_leave_a_remainder_are_an_error_unless_allowed():
    W, b = np.ones((1, 1, 3, 3)), np.zeros(1)
    with pytest.raises(ShapeError, match="remainder"):
        Convolution(W, b, stride=2).forward(np.ones((1, 1, 6, 6)))
    assert Convolution(W, b, 2, rounding="floor").forward(np.ones((1, 1, 6, 6))).shape[2] == 2
    with pytest.raises(ShapeError, match="remainder"):
        conv_output_size(6, 3, stride=2)
    size = conv_output_size(28, 5, 1, 0)
    assert size == 24 and isinstance(size, int)


@pytest.mark.parametrize("extent", [4, 6])
def test_padded_pooling_has_the_windows_of_its_columns(extent):
    """The extents of the output count the padding, which is minus infinity, not 0."""
    x = -1 - RNG.random((2, 3, extent, extent))
    pool = Pooling(2, 2, stride=2, pad=1)
    y = pool.forward(x)
    assert y.shape == (2, 3, extent // 2 + 1, extent // 2 + 1)
    assert y.max() < 0
    ref = columns(x, 2, 2, 2, 1, fill=-np.inf).reshape(-1, 4)
    np.testing.assert_array_equal(pool.arg_max, ref.reshape(-1, 4).argmax(axis=1))
    ref = ref.max(axis=1).reshape(2, extent // 2 + 1, extent // 2 + 1, 3).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(y, ref)
    dx = pool.backward(np.ones_like(y))
    assert dx.sum() == y.size


def test_pooling_has_its_window_as_stride_and_gives_ties_to_the_first():
    pool = Pooling(2, 3)
    assert pool.stride == (2, 3) and Pooling(2, 2).stride == 2
    assert pool.forward(np.ones((1, 1, 4, 6))).shape == (1, 1, 2, 2)
    assert pool.backward(np.ones((1, 1, 2, 2))).sum() == 4
    assert pool.arg_max.tolist() == [0, 0, 0, 0]


def test_relu_leaves_the_gradient_that_it_is_given():
    layer = Relu()
    x = np.array([[1.0, -0.5], [-2.0, 3.0], [0.0, -0.0]])
    layer.forward(x)
    dout = np.full((3, 2), 5.0)
    dx = layer.backward(dout)
    assert (dout == 5).all()
    np.testing.assert_array_equal(dx, [[5, 0], [0, 5], [0, 0]])
    np.testing.assert_array_equal(layer.mask, x <= 0)


def test_gradients_at_zero_are_zero_everywhere():
    assert relu_grad(np.zeros(1)) == 0
    assert relu_grad(np.array([0, 3])).tolist() == [0, 1]


def test_sigmoid_neither_overflows_nor_forgets_its_output():
    with np.errstate(over="raise", invalid="raise"):
        assert sigmoid(-1000.0) == 0 and sigmoid(np.array([1000])) == 1
    assert sigmoid(0) == 0.5 and isinstance(sigmoid(0), float)
    layer = Sigmoid()
    x = RNG.standard_normal((3, 4))
    y = layer.forward(x)
    assert layer.out is y
    np.testing.assert_allclose(layer.backward(np.ones((3, 4))), sigmoid_grad(x), rtol=1e-12)


def test_softmax_is_taken_row_by_row():
    x = np.array([[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]])
    y = softmax(x)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(y[0], y[1], rtol=1e-12)
    np.testing.assert_allclose(softmax(x[0]), y[0], rtol=1e-15)
    np.testing.assert_allclose(softmax(np.array([0.3, 2.9, 4.0])).sum(), 1, rtol=1e-15)
    assert softmax(np.zeros((2, 3, 4))).shape == (2, 3, 4)
    assert softmax(np.array([1, 2])).dtype == np.float64


def test_losses_have_the_book_s_numbers():
    t = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
    z = np.array([0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0])
    assert sum_squared_error(y, t) == 0.09750000000000003
    assert sum_squared_error(z, t) == 0.5975
    assert cross_entropy_error(y, t) == 0.510825457099338
    assert cross_entropy_error(z, t) == 2.302584092994546
    both, labels = np.array([y, z]), np.array([2, 2])
    mean = (0.510825457099338 + 2.302584092994546) / 2
    for targets in (labels, labels.astype(np.uint8), labels[:, None], np.array([t, t])):
        assert cross_entropy_error(both, targets) == pytest.approx(mean, rel=1e-15)


def test_one_class_is_no_one_hot_row():
    """The number of elements does not tell class numbers from rows, the shape does."""
    y = np.array([[0.5], [0.25], [0.125]])
    ref = -np.log(y + 1e-7).mean()
    assert cross_entropy_error(y, np.zeros(3, int)) == pytest.approx(ref, rel=1e-14)
    assert cross_entropy_error(y, np.ones((3, 1))) == pytest.approx(ref, rel=1e-14)


def test_distributions_are_no_class_numbers():
    t = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    x = RNG.standard_normal((2, 3))
    y = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    ref = -(t * np.log(y)).sum() / 2
    assert softmax_loss(x, t) == pytest.approx(ref, rel=1e-12)
    assert cross_entropy_error(y, t) == pytest.approx(ref, rel=1e-5)
    layer = SoftmaxWithLoss()
    layer.forward(x, t)
    np.testing.assert_allclose(layer.backward(), (y - t) / 2, rtol=1e-12)


@pytest.mark.parametrize("form", ["labels", "uint8", "column", "one_hot"])
def test_softmax_with_loss_takes_every_form_of_targets(form):
    x = 50 * RNG.standard_normal((4, 5))
    labels = np.array([0, 4, 2, 2])
    t = {"labels": labels, "uint8": labels.astype("u1"), "column": labels[:, None],
         "one_hot": np.eye(5)[labels]}[form]  # fmt: skip
    layer = SoftmaxWithLoss()
    loss = layer.forward(x, t)
    shifted = x - x.max(axis=1, keepdims=True)
    log_y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert loss == layer.loss == pytest.approx(-log_y[np.arange(4), labels].mean(), rel=1e-12)
    assert layer.t is t
    np.testing.assert_allclose(layer.y, np.exp(log_y), rtol=1e-11)
    ref = (np.exp(log_y) - np.eye(5)[labels]) / 4
    np.testing.assert_allclose(layer.backward(), ref, rtol=1e-10, atol=1e-15)
    # The gradient from above counts.
    np.testing.assert_allclose(layer.backward(3.0), 3 * ref, rtol=1e-10, atol=1e-15)


def test_targets_that_do_not_fit_are_named():
    y = np.full((2, 3), 1 / 3)
    with pytest.raises(ShapeError, match=r"class number for each of 2 rows.*got \(5,\)"):
        cross_entropy_error(y, np.arange(5))
    with pytest.raises(ArgumentError, match=r"in 0\.\.2, got 3"):
        cross_entropy_error(y, np.array([0, 3]))
    with pytest.raises(ArgumentError, match="got -1"):
        softmax_loss(y, np.array([-1, 0]))
    with pytest.raises(DtypeError, match="must be integers"):
        cross_entropy_error(y, np.array([0.0, 1.0]))


def test_affine_flattens_and_restores():
    W, b = RNG.random((12, 5)), RNG.random(5)
    layer = Affine(W, b)
    x = RNG.random((3, 2, 2, 3))
    y = layer.forward(x)
    np.testing.assert_allclose(y, x.reshape(3, 12) @ W + b, rtol=1e-13)
    assert layer.original_x_shape == x.shape and layer.x.shape == (3, 12)
    dout = RNG.random((3, 5))
    dx = layer.backward(dout)
    np.testing.assert_allclose(dx, (dout @ W.T).reshape(x.shape), rtol=1e-13)
    np.testing.assert_allclose(layer.dW, x.reshape(3, 12).T @ dout, rtol=1e-13)
    np.testing.assert_allclose(layer.db, dout.sum(axis=0), rtol=1e-13)


def test_layers_see_what_happens_to_their_arrays():
    W, b = np.ones((2, 1)), np.zeros(1)
    layer = Affine(W, b)
    x = np.ones((1, 2))
    W -= 0.5
    b[...] = 3
    assert layer.forward(x) == 4
    layer.W = np.zeros((2, 1))
    assert layer.forward(x) == 3


def test_dropout_scales_by_the_share_kept_and_draws_from_numpy():
    layer = Dropout(0.25)
    x = np.ones((100, 100))
    np.random.seed(1)
    y = layer.forward(x)
    np.random.seed(1)
    ref = np.random.rand(100, 100) > 0.25
    np.testing.assert_array_equal(layer.mask, ref)
    np.testing.assert_array_equal(y, x * ref)
    assert 0.7 < y.mean() < 0.8
    np.testing.assert_array_equal(layer.backward(2 * x), 2 * ref)
    np.testing.assert_array_equal(layer.forward(x, train_flg=False), 0.75 * x)
    np.testing.assert_array_equal(layer.forward(x, False), 0.75 * x)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 5)])
def test_batch_normalization_by_its_formulas(shape):
    x, dout = RNG.standard_normal(shape), RNG.standard_normal(shape)
    gamma, beta = RNG.random(3), RNG.random(3)
    axes = (0, 2, 3)[: len(shape) - 1]
    wide = (1, 3, 1, 1)[: len(shape)]

    def formula(x):
        mean, var = x.mean(axis=axes), x.var(axis=axes)
        xn = (x - mean.reshape(wide)) / np.sqrt(var + 10e-7).reshape(wide)
        return gamma.reshape(wide) * xn + beta.reshape(wide)

    layer = BatchNormalization(gamma, beta)
    np.testing.assert_allclose(layer.forward(x), formula(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(axis=axes), atol=1e-14)
    np.testing.assert_allclose(layer.running_var, 0.1 * x.var(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(layer.std, np.sqrt(x.var(axis=axes) + 10e-7), rtol=1e-12)
    np.testing.assert_allclose(layer.xc, x - x.mean(axis=axes).reshape(wide), atol=1e-14)
    np.testing.assert_allclose(layer.xn * layer.std.reshape(wide), layer.xc, atol=1e-12)
    assert layer.input_shape == shape and layer.batch_size == shape[0]

    dx = layer.backward(dout)
    ref = numerical_gradient(lambda at: (formula(at) * dout).sum(), x)
    np.testing.assert_allclose(dx, ref, atol=1e-6)
    np.testing.assert_allclose(layer.dbeta, dout.sum(axis=axes), rtol=1e-10)
    np.testing.assert_allclose(layer.dgamma, (dout * layer.xn).sum(axis=axes), atol=1e-10)

    y = layer.forward(x, train_flg=False)
    mean, var = layer.running_mean.reshape(wide), layer.running_var.reshape(wide)
    ref = gamma.reshape(wide) * (x - mean) / np.sqrt(var + 10e-7) + beta.reshape(wide)
    np.testing.assert_allclose(y, ref, rtol=1e-10, atol=1e-12)


def test_batch_normalization_of_images_is_by_channel_or_by_pixel_as_gamma_says():
    x = RNG.standard_normal((4, 3, 2, 2))
    by_channel = BatchNormalization(np.ones(3), np.zeros(3)).forward(x)
    by_pixel = BatchNormalization(np.ones(12), np.zeros(12))
    np.testing.assert_allclose(by_channel.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(by_pixel.forward(x).mean(axis=0), 0, atol=1e-12)
    assert by_pixel.backward(x).shape == x.shape
    with pytest.raises(ShapeError, match=r"gamma must have 3 elements.* or 12"):
        BatchNormalization(np.ones(5), np.zeros(5)).forward(x)


@pytest.mark.parametrize(
    ("x", "W", "b", "result"),
    [
        ("f4", "f8", "f8", "f8"), ("f4", "f4", "f8", "f8"), ("f4", "f4", "f4", "f4"),
        ("u1", "f8", "f8", "f8"), ("u1", "f4", "f4", "f4"), ("i8", "i8", "i8", "i8"),
        ("f2", "f2", "f2", "f2"), ("f2", "f8", "f8", "f8"), ("i4", "f4", "f4", "f8"),
    ],
)  # fmt: skip
def test_mixed_dtypes_are_promoted_as_numpy_does(x, W, b, result):
    values = RNG.integers(0, 4, (2, 2, 4, 4)).astype(x)
    weights, bias = RNG.integers(0, 3, (3, 2, 2, 2)).astype(W), RNG.integers(0, 3, 3).astype(b)
    ref = (columns(values, 2, 2, 2, 0) @ weights.reshape(3, -1).T + bias).astype(result)
    conv = Convolution(weights, bias, stride=2)
    y = conv.forward(values)
    assert y.dtype == result
    np.testing.assert_array_equal(y.transpose(0, 2, 3, 1).reshape(-1, 3), ref)
    assert conv.backward(np.ones_like(y)).dtype == conv.dW.dtype == conv.db.dtype == result
    affine = Affine(weights.reshape(3, -1).T.copy(), bias)
    y = affine.forward(values[:, :, :2, :2])
    np.testing.assert_array_equal(
        y, (values[:, :, :2, :2].reshape(2, -1) @ affine.W + bias).astype(result)
    )
    assert y.dtype == result and affine.backward(y).dtype == result
    relu = Relu()
    assert relu.forward(values).dtype == relu.backward(values).dtype == x
    assert Pooling(2, 2).forward(values).dtype == x
    assert im2col(values, 2, 2).dtype == x
    assert col2im(im2col(values, 2, 2), values.shape, 2, 2).dtype == x


def test_complex_numbers_are_refused():
    with pytest.raises(DtypeError, match="complex128"):
        sigmoid(np.ones(2, complex))


def test_im2col_has_the_book_s_shapes_and_order():
    x = RNG.random((10, 3, 7, 7))
    assert im2col(x[:1], 5, 5, stride=1, pad=0).shape == (9, 75)
    assert im2col(x, 5, 5).shape == (90, 75)
    np.testing.assert_array_equal(im2col(x, 3, 3, 2, 1), columns(x, 3, 3, 2, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
def test_numerical_gradients_of_every_dtype(dtype):
    x = np.array([[3, 4], [0, 2]], dtype)
    before = x.copy()
    tolerance = {"f": 1e-2, "d": 1e-8, "e": 0.2, "l": 1e-8}[np.dtype(dtype).char]
    gradient = numerical_gradient(lambda at: (at.astype(float) ** 2).sum(), x)
    np.testing.assert_allclose(gradient, 2 * before.astype(float), atol=tolerance)
    np.testing.assert_array_equal(x, before)
    points = numerical_gradient_2d(lambda at: (at.astype(float) ** 2).sum(), x)
    np.testing.assert_allclose(points, 2 * before.astype(float), atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numerical_gradient_shows_its_changes_to_who_looks_at_the_array_itself(dtype):
    W = np.array([1.0, 2.0], dtype)
    gradient = numerical_gradient(lambda _: float((W.astype(float) ** 2).sum()), W)
    np.testing.assert_allclose(gradient, [2, 4], atol=1e-2)
    assert W.tolist() == [1, 2]


def test_numerical_gradient_restores_what_an_error_interrupts():
    x = np.array([1.0], np.float32)
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(lambda _: 1 / 0, x)
    assert x == 1


def test_curves_are_smoothed_and_data_shuffled():
    x = RNG.random(40)
    weights = np.kaiser(11, 2)
    weights /= weights.sum()
    smooth = smooth_curve(x)
    assert smooth.shape == (40,)
    ref = [(x[i - 5 : i + 6] * weights[::-1]).sum() for i in range(5, 35)]
    np.testing.assert_allclose(smooth[5:35], ref, rtol=1e-12)
    assert len(smooth_curve([1.0, 2.0])) == 2
    for shape in ((6, 2), (6, 1, 2, 2)):
        images = np.arange(6).reshape(6, *(1,) * (len(shape) - 1)) * np.ones(shape)
        mixed, labels = shuffle_dataset(images, np.arange(6))
        assert sorted(labels) == list(range(6))
        assert (mixed[:, 0].reshape(6, -1)[:, 0] == labels).all()
    with pytest.raises(ShapeError, match="6 samples but t has 5"):
        shuffle_dataset(images, np.arange(5))


def test_layers_run_on_the_operations():
    x, t = RNG.random((4, 1, 6, 6)), np.array([0, 1, 2, 0])
    layers: list[Any] = [
        Convolution(RNG.random((2, 1, 3, 3)), np.zeros(2)),
        BatchNormalization(np.ones(2), np.zeros(2)), Relu(), Pooling(2, 2),
        Affine(RNG.random((8, 3)), np.zeros(3)), Sigmoid(),
    ]  # fmt: skip
    last = SoftmaxWithLoss()
    with fs.record_choices() as choices:
        for layer in layers:
            x = layer.forward(x)
        last.forward(x, t)
        dout = last.backward()
        for layer in reversed(layers):
            dout = layer.backward(dout)
    assert set(choices) == {
        f"{name}_{way}"
        for name, ways in {
            "conv2d": ("forward", "backward_input", "backward_weight"),
            "dense": ("forward", "backward_input", "backward_weight"),
            "batch_norm": ("forward", "backward"), "relu": ("forward", "backward"),
            "sigmoid": ("forward", "backward"), "max_pool2d": ("forward", "backward"),
            "softmax_cross_entropy": ("forward", "backward"),
        }.items()
        for way in ways
    }  # fmt: skip


@pytest.mark.parametrize("name", ["functions", "layers", "optimizer", "gradient", "util"])
def test_a_wildcard_import_brings_numpy_too(name):
    assert "np" in importlib.import_module(STAND_INS[f"common.{name}"]).__all__
