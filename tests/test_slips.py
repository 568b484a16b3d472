"""Slips in the code that tutorials print, and mistakes of other libraries: each would fail here.

What is one function's own matter is tested beside it; here is what the sources got wrong, each
under a sentence that says so.
"""

import inspect

import numpy as np
import pytest

from fastscratch import data, layers, losses, models, ops, optimizers
from fastscratch.errors import ArgumentError, DtypeError, ShapeError, TrainingError
from fastscratch.gradient_check import check_gradients, numerical_gradient
from fastscratch.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from fastscratch.second_order import newton_path
from fastscratch.training import Callback, Trainer, evaluate
from fastscratch.training.batches import Batches

RNG = np.random.default_rng(0)


# Losses and activations


def test_a_gradient_lacks_the_division_that_its_loss_has():
    loss = losses.MeanSquaredError(features="sum")
    p, t = RNG.standard_normal((2, 7, 3))
    loss.forward(p, t)
    np.testing.assert_allclose(loss.backward(), 2 * (p - t) / 7, rtol=1e-14)


def test_the_mean_absolute_error_is_called_a_mean_of_squares():
    assert losses.MeanAbsoluteError().forward(np.array([[3.0, -4.0]]), np.zeros((1, 2))) == 3.5


@pytest.mark.filterwarnings("error")
def test_sigmoid_softmax_and_elu_overflow(backend):
    x = np.array([[-1e30, -800.0, 800.0, 1e30]], np.float32)
    assert ops.sigmoid_forward(x, backend=backend).tolist() == [[0, 0, 1, 1]]
    assert ops.elu_forward(x, backend=backend).tolist() == [[-1, -1, 800, float(x[0, 3])]]
    for own, loss in ((3, 0), (0, 2 * float(x[0, 3]))):  # a probability of 0 has a logarithm, too
        _, values = ops.softmax_cross_entropy_forward(x, np.array([own]), backend=backend)
        assert values.tolist() == [loss]
    assert Softmax().forward(x).tolist() == [[0, 0, 0, 1]]


def test_softmax_is_taken_over_the_whole_batch():
    x = np.array([[1.0, 2.0], [1001.0, 1002.0]])  # a maximum in common would leave 0 of the first
    np.testing.assert_allclose(Softmax().forward(x).sum(axis=1), 1)
    np.testing.assert_allclose(Softmax().forward(x)[0], Softmax().forward(x)[1])


def test_the_cross_entropy_of_a_batch_is_a_sum():
    p = np.full((5, 4), 0.25)
    for loss in (losses.CrossEntropy(0), losses.SoftmaxCrossEntropy()):
        assert loss.forward(p, np.zeros(5, int)) == pytest.approx(np.log(4))


def test_one_hot_labels_are_told_by_their_number_of_elements():
    # Two samples of one class: t.size == y.size, and t is not one-hot. As rows they would be zeros.
    loss = losses.SoftmaxCrossEntropy()
    assert loss.forward(np.zeros((2, 1)), np.array([0, 0])) == 0 and not loss.backward().any()
    of_halves = losses.CrossEntropy(0).forward(np.full((2, 1), 0.5), np.array([0, 0]))
    assert of_halves == pytest.approx(np.log(2))
    scores = RNG.standard_normal((3, 3))
    labels = np.array([2, 0, 1])
    assert loss.forward(scores, labels) == loss.forward(scores, np.eye(3)[labels])


def test_the_gradient_serves_one_hot_labels_alone():
    scores, labels = RNG.standard_normal((4, 3)), np.array([2, 0, 1, 1])
    loss = losses.SoftmaxCrossEntropy()
    loss.forward(scores, labels)
    of_numbers = loss.backward()
    loss.forward(scores, np.eye(3)[labels])
    np.testing.assert_array_equal(of_numbers, loss.backward())


def test_a_batch_of_one_has_an_axis_too_few():
    assert losses.CrossEntropy().forward(np.array([[0.5, 0.5]]), np.array([1])) == pytest.approx(
        np.log(2), abs=1e-6
    )
    with pytest.raises(ShapeError):
        losses.CrossEntropy().forward(np.array([0.5, 0.5]), np.array(1))


def test_labels_are_drawn_at_random_and_sum_to_anything():
    with pytest.raises(ArgumentError, match="sum to 1"):
        losses.SoftmaxCrossEntropy().forward(np.zeros((100, 10)), RNG.random((100, 10)))


def test_a_leak_steeper_than_one_is_a_maximum(backend):
    x = np.array([-1.0, 1.0])
    assert ops.leaky_relu_forward(x, alpha=2.0, backend=backend).tolist() == [-2, 1]


def test_relu_has_a_slope_at_zero_in_one_place_and_none_in_another(backend):
    zero = np.zeros(3)
    assert not ops.relu_backward(np.ones(3), ops.relu_forward(zero), backend=backend).any()
    relu = ReLU()
    relu.forward(zero[None], training=True)
    assert not relu.backward(np.ones((1, 3))).any()


@pytest.mark.parametrize("kind", [ReLU, Sigmoid, Tanh, layers.LeakyReLU, layers.ELU, layers.PReLU])
def test_a_backward_pass_writes_into_the_callers_gradient(kind):
    layer, dout = kind(), np.ones((2, 3))
    layer.forward(RNG.standard_normal((2, 3)), training=True)
    dout.flags.writeable = False
    layer.backward(dout)


@pytest.mark.parametrize(
    "layer",
    [Sigmoid(), Tanh(), layers.AvgPool2d(2), layers.ELU(), layers.PReLU(), layers.LeakyReLU()],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_passes_no_gradient_on(layer):
    x = RNG.standard_normal((2, 3, 4, 4))
    y = layer.forward(x, training=True)
    assert np.count_nonzero(layer.backward(np.ones_like(y))) == x.size


# Numerical gradients


def test_integers_and_float32_lose_the_difference():
    for dtype in (np.int64, np.float32):
        x = np.array([3, 4], dtype)
        found = numerical_gradient(lambda z: float((z**2).sum()), x)
        np.testing.assert_allclose(found, [6, 8], atol=1e-7)
        assert x.dtype == dtype and x.tolist() == [3, 4]


def test_gradient_descent_moves_the_callers_start():
    start = np.array([[-3.0, 4.0]])
    dense = Dense(2, bias=False)
    dense.build((1,), np.float64)
    for flat in (None, optimizers.FlatParameters(dense)):
        dense.weight.value = start
        dense.weight.grad = start
        if flat is None:
            dense.weight.value -= 0.1 * dense.weight.grad
        else:
            optimizers.SGD(0.1).step(flat)
        assert start.tolist() == [[-3, 4]]
        np.testing.assert_allclose(dense.weight.value, [[-2.7, 3.6]])
    assert newton_path(lambda x: 2 * x, lambda x: 2 * np.eye(2), start[0], 1)[1].tolist() == [0, 0]
    assert start.tolist() == [[-3, 4]]


def test_the_second_bias_gets_the_first_ones_gradient():
    model = models.TwoLayerNet((6,), hidden=4, classes=3, weight_init=0.5)
    report = check_gradients(
        model, losses.SoftmaxCrossEntropy(), RNG.standard_normal((5, 6)), np.arange(5) % 3
    )
    assert report.ok and "dense2.bias" in report.worst()


# Optimizers


def run(optimizer, steps=3):
    dense = Dense(1, bias=False, weight_init="constant")
    dense.build((1,), np.float64)
    flat = optimizers.FlatParameters(dense)
    path = [1.0]
    for _ in range(steps):
        dense.weight.grad = [[1.0]]
        optimizer.step(flat)
        path.append(dense.weight.value.item())
    return np.diff(path)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_an_optimizer_moves_at_its_first_step_only(name):
    assert (run(optimizers.make_optimizer(name, lr=0.1)) < 0).all()


def test_adagrad_multiplies_by_its_epsilon():
    np.testing.assert_allclose(
        run(optimizers.AdaGrad(0.1)), [-0.1, -0.1 / 2**0.5, -0.1 / 3**0.5], rtol=1e-6
    )


def test_adams_time_starts_at_zero():
    steps = run(optimizers.Adam(0.1))
    assert np.isfinite(steps).all()
    np.testing.assert_allclose(steps, -0.1, rtol=1e-6)


def test_layers_keep_arrays_that_an_optimizer_has_replaced():
    model = models.TwoLayerNet((4,), hidden=3, classes=2, weight_init=0.5)
    x = RNG.standard_normal((2, 4)).astype(np.float32)
    before = model.forward(x)
    flat = optimizers.FlatParameters(model)
    flat.grad[:] = 1
    optimizers.SGD(0.5).step(flat)
    assert (model.forward(x) != before).any()
    model.load_state_dict({name: 0 * value for name, value in model.state_dict().items()})
    assert not model.forward(x).any()
    optimizers.SGD(0.5).step(flat)
    assert model.forward(x).any(), "what was loaded is what the optimizer goes on with"


# Training


def test_the_last_samples_are_dropped_and_few_ones_are_none():
    x = np.arange(7)[:, None]
    batches = Batches(x, x[:, 0], 3, seed=0)
    batches.begin(0)
    seen = [batches.take(number)[1].copy() for number in range(batches.count)]
    assert batches.count == 3 and sorted(np.concatenate(seen)) == list(range(7))
    assert np.concatenate(seen).tolist() != list(range(7)), "shuffled"
    assert Batches(x, x[:, 0], 100, seed=0).count == 1
    with pytest.raises(ArgumentError):
        Batches(x[:0], x[:0, 0], 3, seed=0)


def test_samples_are_drawn_from_ten_times_as_many_as_there_are():
    x = np.arange(60)[:, None].astype(np.float32)
    batches = Batches(x, np.arange(60), 10, seed=0)
    for epoch in range(3):
        batches.begin(epoch)
        drawn = [batches.take(number)[1].copy() for number in range(batches.count)]
        assert sorted(np.concatenate(drawn)) == list(range(60)), (
            "each once, and none beyond the last"
        )


@pytest.mark.parametrize("samples", [100, 101, 150])
def test_an_epoch_ends_where_a_float_has_no_remainder(samples):
    x, t = RNG.standard_normal((samples, 3)).astype(np.float32), np.arange(samples) % 2
    ends: list[int] = []

    class Ends(Callback):
        def on_epoch_end(self, trainer, record):
            ends.append(trainer.progress.step)

    Trainer(
        Sequential(Dense(2)), losses.SoftmaxCrossEntropy(), optimizers.SGD(), batch_size=30,
        callbacks=[Ends()],
    ).fit(x, t, epochs=3)  # fmt: skip
    per_epoch = -(-samples // 30)
    assert ends == [per_epoch, 2 * per_epoch, 3 * per_epoch]


@pytest.mark.parametrize("samples", [100, 101])
def test_accuracy_drops_the_last_batch_and_divides_by_all(samples):
    x = np.eye(2)[np.arange(samples) % 2]
    found = evaluate(layers.Identity(), losses.SoftmaxCrossEntropy(), x, np.arange(samples) % 2,
                     batch_size=30)  # fmt: skip
    assert found.accuracy == 1 and found.samples == samples


def test_a_validation_set_is_computed_and_never_used():
    x, t = np.arange(100)[:, None], np.arange(100)
    (x_train, t_train), (x_aside, t_aside) = data.split_validation(x, t, 0.2)
    assert not set(t_train) & set(t_aside) and len(t_aside) == 20
    assert t_aside.tolist() != list(range(20)), "shuffled first"
    np.testing.assert_array_equal(x_aside[:, 0], t_aside)
    np.testing.assert_array_equal(x_train[:, 0], t_train)


def test_pixels_are_neither_flattened_nor_scaled():
    pixels = RNG.integers(0, 256, (5, 28, 28)).astype(np.uint8)
    with pytest.raises(ShapeError, match=r"takes input of shape \(N, 784\), got \(5, 28, 28\)"):
        models.TwoLayerNet().forward(pixels)
    with pytest.raises(DtypeError, match="astype"):
        models.TwoLayerNet().forward(pixels.reshape(5, 784))
    images = data.arrays.present_images(
        np.full((1, 28, 28), 255, np.uint8), flatten=True, normalize=True, maximum=255
    )
    assert images.shape == (1, 784) and images.max() == 1 and images.dtype == np.float32


def test_numbers_are_predicted_over_the_whole_batch():
    network = models.SimpleNetwork(4, 3, (5,))
    assert network.predict(np.ones((6, 4), np.float32)).shape == (6,)


def test_an_activation_without_derivative_fails_in_the_backward_pass():
    with pytest.raises(ArgumentError, match="derivative"):
        models.FullyConnectedLayer(4, 3, np.sin)


def test_weights_of_standard_deviation_one_are_the_default():
    narrow = models.FullyConnectedLayer(784, 64).W.std()
    wide = models.FullyConnectedLayer(784, 64, init="standard_normal").W.std()
    assert narrow < 0.1 and wide == pytest.approx(1, rel=0.05)


# Convolution and pooling


def test_a_size_that_is_no_whole_number_is_rounded():
    x, weight = np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3))
    with pytest.raises(ShapeError, match='rounding="floor"'):
        ops.conv2d_forward(x, weight, stride=2)
    assert ops.conv2d_forward(x, weight, stride=2, rounding="floor").shape == (1, 1, 2, 2)


def test_channels_need_not_agree():
    with pytest.raises(ShapeError, match="channels"):
        ops.conv2d_forward(np.ones((1, 3, 4, 4)), np.ones((2, 2, 3, 3)))


def test_a_convolution_has_no_backward_pass_and_no_gradients():
    conv = Conv2d(2, 3)
    y = conv.forward(RNG.standard_normal((1, 1, 5, 5)), training=True)
    assert conv.backward(y).shape == (1, 1, 5, 5)
    assert conv.weight.grad.any() and conv.bias is not None and conv.bias.grad.any()


@pytest.mark.parametrize("extent", [4, 5])
def test_pooling_forgets_its_padding(extent, backend):
    x = RNG.standard_normal((2, 3, extent, extent))
    y, argmax = ops.max_pool2d_forward(x, 2, stride=2, padding=1, rounding="floor", backend=backend)
    outputs = (extent + 2 - 2) // 2 + 1
    assert y.shape == (2, 3, outputs, outputs)
    dx = ops.max_pool2d_backward(
        np.ones_like(y), argmax, x.shape, 2, stride=2, padding=1, rounding="floor", backend=backend
    )
    assert dx.sum() == y.size


def test_padding_wins_over_what_is_negative(backend):
    x = np.full((1, 1, 4, 4), -1.0)
    y, _ = ops.max_pool2d_forward(x, 2, stride=2, padding=1, backend=backend)
    assert (y == -1).all()


def test_the_default_step_of_pooling_is_one():
    assert MaxPool2d(2).build((3, 8, 8)) == (3, 4, 4)
    assert layers.AvgPool2d(2).build((3, 8, 8)) == (3, 4, 4)


def test_every_equal_element_gets_the_whole_gradient(backend):
    x = np.ones((1, 1, 4, 4))
    y, argmax = ops.max_pool2d_forward(x, 2, backend=backend)
    dx = ops.max_pool2d_backward(np.ones_like(y), argmax, x.shape, 2, backend=backend)
    assert dx.sum() == 4 and (dx[0, 0, ::2, ::2] == 1).all()


def test_a_padded_pooling_has_no_way_back():
    pool = MaxPool2d(3, stride=2, padding=1, rounding="floor")
    y = pool.forward(RNG.standard_normal((1, 2, 6, 6)), training=True)
    assert pool.backward(y).shape == (1, 2, 6, 6)


@pytest.mark.parametrize(("kernel", "extent"), [(1, 5), (2, 4)])
def test_same_padding_of_small_windows(kernel, extent):
    conv = Conv2d(1, kernel, padding="same")
    y = conv.forward(RNG.standard_normal((1, 1, extent, extent)), training=True)
    assert y.shape == (1, 1, extent, extent)
    assert conv.backward(y).shape == (1, 1, extent, extent)
    pooled = MaxPool2d(kernel, stride=1, padding="same").forward(y)
    assert pooled.shape == (1, 1, extent, extent)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_becomes_float64(dtype):
    x = RNG.standard_normal((2, 1, 8, 8)).astype(dtype)
    assert ops.im2col(x, 3).dtype == dtype
    network = Sequential(
        Conv2d(2, 3), ReLU(), MaxPool2d(2), Flatten(), Dense(4), BatchNorm(), Dropout(), Dense(3)
    )
    y = network.forward(x, training=True)
    assert y.dtype == network.backward(y).dtype == dtype
    assert {parameter.grad.dtype for parameter in network.parameters()} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("shape", "filter_size", "pooled"),
    [((1, 28, 28), 4, (12, 12)), ((3, 28, 20), 5, (12, 8)), ((1, 17, 31), (3, 6), (7, 13))],
)
def test_a_network_knows_square_images_of_even_maps_only(shape, filter_size, pooled):
    network = models.SimpleConvNet(shape, filter_size=filter_size)
    assert network["pool1"].output_shape == (30, *pooled)
    assert network.forward(np.zeros((2, *shape), np.float32)).shape == (2, 10)


def test_a_dense_layer_gets_an_image_as_it_is():
    flatten = Flatten()
    x = RNG.standard_normal((2, 3, 4, 5))
    y = flatten.forward(x, training=True)
    np.testing.assert_array_equal(flatten.backward(y), x)
    with pytest.raises(ShapeError, match=r"Flatten\(\)"):
        Dense(3).forward(x)


def test_a_depthwise_convolution_has_no_kernel_of_its_own(backend):
    x, weight = RNG.integers(-3, 4, (1, 6, 7, 7)) * 1.0, RNG.integers(-3, 4, (6, 1, 3, 3)) * 1.0
    whole = ops.conv2d_forward(x, weight, groups=6, backend=backend)
    for c in range(6):
        alone = ops.conv2d_forward(x[:, c : c + 1], weight[c : c + 1], backend=backend)
        np.testing.assert_array_equal(whole[:, c : c + 1], alone)


def test_dilation_counts_from_zero():
    x, weight = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    assert ops.conv2d_forward(x, weight, dilation=1).shape == (1, 1, 2, 2)
    assert ops.conv2d_forward(x, weight, dilation=2).item() == 0 + 2 + 6 + 8


def test_windows_are_square_and_steps_are_one_number():
    y, _ = ops.max_pool2d_forward(RNG.standard_normal((1, 1, 6, 9)), (2, 3), stride=(2, 3))
    assert y.shape == (1, 1, 3, 3)


# Normalisation and dropout


def test_normalisation_of_images_is_per_pixel():
    norm = BatchNorm()
    x = RNG.standard_normal((8, 3, 4, 4)) * np.arange(1, 4)[:, None, None] + 5
    y = norm.forward(x, training=True)
    assert norm.gamma.shape == norm.running_mean.shape == (3,)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, rtol=1e-4)
    assert abs(y.mean(axis=0)).max() > 0.1, "a pixel's own mean is not 0"


def test_dropout_gives_nothing_when_it_does_not_train():
    x = RNG.standard_normal((3, 4))
    np.testing.assert_array_equal(Dropout(0.3).forward(x, training=False), x)


@pytest.mark.parametrize("ratio", [0.15, 0.2, 0.5])
def test_prediction_is_scaled_by_the_share_that_is_dropped(ratio):
    x = np.ones((400, 500))
    layer = Dropout(ratio)
    layer.build((500,), np.float64)
    drawn = layer.forward(x, training=True)
    assert drawn.mean() == pytest.approx(layer.forward(x).mean(), rel=0.01)


# Names, files, imports


def test_no_misspelt_names():
    for module in (layers, losses, models, ops, optimizers):
        for name in getattr(module, "__all__", dir(module)):
            assert "ration" not in name.lower().replace("iteration", "")
            assert not {"nrom", "parms"} & set(name.lower().split("_"))
    assert "dropout" in inspect.signature(models.MultiLayerNetExtend).parameters


def test_a_backward_pass_before_any_forward_is_no_mystery():
    with pytest.raises(TrainingError, match="training=True"):
        Dense(3).backward(np.ones((1, 3)))


def test_unfinished_code_hides_behind_an_import_that_fails(run_python):
    """A missing extension is told of when it is asked for, and by its reason."""
    code = """
import warnings
warnings.simplefilter("ignore")
import fastscratch.kernels.cython_ext as ext
ext.reason = "no compiler was found"
import numpy as np, fastscratch as fs
try:
    fs.ops.relu_forward(np.ones(3), backend="cython")
except fs.errors.BackendUnavailableError as error:
    print(error)
"""
    assert "no compiler was found" in run_python(code).stdout


def test_a_package_needs_more_than_it_says(run_python):
    """Importing the package and its networks needs neither plots nor pictures."""
    code = """
import sys
for name in ("matplotlib", "PIL", "pooch", "scipy", "torch"):
    sys.modules[name] = None
import fastscratch.layers, fastscratch.models, fastscratch.training, fastscratch.data
print("imported")
"""
    assert run_python(code).stdout == "imported\n"
