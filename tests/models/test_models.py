"""The networks that come with the package: shapes from the documents, files, and learning."""

import numpy as np
import pytest

from fastscratch import models
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.gradient_check import check_gradients
from fastscratch.layers import Dense, Sequential
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.models import (
    MLP,
    DeepConvNet,
    DigitsCNN,
    MultiLayerNet,
    MultiLayerNetExtend,
    SimpleConvNet,
    TwoLayerNet,
)
from fastscratch.optimizers import Adam, FlatParameters

SMALL = {
    "mlp": lambda **k: MLP((1, 8, 8), hidden=(7, 5), **k),
    "simple_conv_net": lambda **k: SimpleConvNet(
        (2, 9, 8), filters=3, filter_size=2, hidden=6, **k
    ),
    "deep_conv_net": lambda **k: DeepConvNet(
        (1, 8, 8), filters=(4, 6, 8), hidden=16, dropout=0.1, **k
    ),
    "two_layer_net": lambda **k: TwoLayerNet(
        (1, 8, 8), hidden=7, weight_init=0.3, activation="sigmoid", **k
    ),
    "multi_layer_net": lambda **k: MultiLayerNet((1, 8, 8), hidden=(7, 5), activation="elu", **k),
    "multi_layer_net_extend": lambda **k: MultiLayerNetExtend(
        (64,), hidden=(9, 8), batch_norm=True, dropout=0.1, **k
    ),
    "digits_cnn": lambda **k: DigitsCNN((1, 8, 8), filters=(3, 4), hidden=6, **k),
}


@pytest.fixture(params=list(SMALL))
def make(request):
    return SMALL[request.param]


def batch(model, n=6):
    rng = np.random.default_rng(0)
    return rng.random((n, *model.input_shape)).astype(np.float32), rng.integers(0, 10, n)


def test_simple_conv_net_of_the_book():
    net = SimpleConvNet()
    shapes = {row.path: row.output_shape for row in net.summary().rows}
    assert shapes["conv1"] == (30, 24, 24) and shapes["pool1"] == (30, 12, 12)
    assert shapes["flatten"] == (4320,) and net.output_shape == (10,)
    weights = {p.name: p.shape for p in net.parameters()}
    assert weights == {
        "conv1.weight": (30, 1, 5, 5), "conv1.bias": (30,), "dense1.weight": (4320, 100),
        "dense1.bias": (100,), "dense2.weight": (100, 10), "dense2.bias": (10,),
    }  # fmt: skip
    book = SimpleConvNet(weight_init="normal")
    dense = book["dense1"]
    assert isinstance(dense, Dense)
    assert dense.weight.value.std() == pytest.approx(0.01, rel=0.01)


def test_two_layer_net_of_the_book():
    assert MLP((784,), hidden=(50,)).summary().parameters == 784 * 50 + 50 + 500 + 10
    # The documents count 39,760 parameters to differentiate.
    assert MLP((784,), hidden=(50,)).summary().parameters == 39_760


def test_odd_and_rectangular_images():
    assert SimpleConvNet((3, 14, 11), filter_size=4)["pool1"].output_shape == (30, 5, 4)
    assert DigitsCNN((3, 9, 6))["pool"].output_shape == (32, 4, 3)


def test_scores_and_gradients(make):
    model = make()
    x, t = batch(model)
    assert model.predict(x).shape == (6, 10)
    for parameter in model.parameters():
        if not parameter.decay:  # where only padding and zeros are seen, ReLU would be at its kink
            parameter.value += 0.01
    report = check_gradients(model, SoftmaxCrossEntropy(), x, t, directions=2, elements=2)
    assert report.ok, str(report)


def test_files(make, tmp_path):
    model = make(seed=3)
    x, _ = batch(model)
    model.save(tmp_path / "model.npz")
    again = models.load_model(tmp_path / "model.npz")
    assert type(again) is type(model) and again.config() == model.config()
    assert np.array_equal(again.predict(x), model.predict(x))
    double = model.astype(np.float64)
    double.save(tmp_path / "double.npz")
    assert models.load_model(tmp_path / "double.npz").dtype == np.float64


def test_seeds(make):
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    x, _ = batch(one)
    assert np.array_equal(one.predict(x), same.predict(x))
    assert not np.array_equal(one.predict(x), other.predict(x))


def test_dtype(make):
    assert make(dtype=np.float64).parameters()[0].value.dtype == np.float64


def test_by_name():
    for name in models.names():
        model = models.build(name, (1, 8, 8), classes=4, seed=5)
        assert model.output_shape == (4,) and model.seed == 5
        assert type(model) is models.MODELS[name]
    with pytest.raises(ArgumentError, match="digits_cnn, simple_conv_net, deep_conv_net, mlp"):
        models.build("resnet", (1, 8, 8))
    with pytest.raises(ArgumentError, match=r"mlp.*filters"):
        models.build("mlp", (8,), filters=3)
    with pytest.raises(ShapeError, match="conv1"):
        models.build("simple_conv_net", (1, 4, 4))


def test_a_small_set_is_learnt_by_heart(make):
    model = make(seed=0)
    x, t = batch(model, n=20)
    flat, optimizer, loss = FlatParameters(model), Adam(lr=0.01), SoftmaxCrossEntropy()
    first = loss.forward(model.forward(x), t)
    for _ in range(150):
        loss.forward(model.forward(x, training=True), t)
        model.backward_parameters(loss.backward())
        optimizer.step(flat)
    assert loss.forward(model.forward(x), t) < 0.25 * first


def test_zero_weights_stay_equal_to_each_other():
    # Why weights start at random: units that start alike stay alike.
    first = Dense(5, weight_init={"name": "constant", "value": 0.1})
    model = Sequential(first, Dense(3, weight_init="zeros"))
    model.build((4,))
    x, t = np.random.default_rng(0).random((8, 4)).astype(np.float32), np.arange(8) % 3
    flat, optimizer, loss = FlatParameters(model), Adam(lr=0.05), SoftmaxCrossEntropy()
    for _ in range(20):
        loss.forward(model.forward(x, training=True), t)
        model.backward_parameters(loss.backward())
        optimizer.step(flat)
    columns = first.weight.value
    assert (columns == columns[:, :1]).all() and abs(columns - 0.1).max() > 0.01


@pytest.mark.slow
def test_digits_cnn_learns_the_digits():
    from fastscratch.data import load_digits
    from fastscratch.layers.streams import stream
    from fastscratch.schedules import CosineDecay

    (x, t), (x_test, t_test) = load_digits()
    accuracies = []
    for seed in range(3):
        model = models.build("digits_cnn", x.shape[1:], seed=seed)
        flat, optimizer, loss = FlatParameters(model), Adam(), SoftmaxCrossEntropy()
        schedule = CosineDecay(20)
        for epoch in range(20):
            optimizer.lr = 0.002 * schedule(epoch)
            order = stream(seed, f"shuffle.{epoch}").permutation(len(x))
            for start in range(0, len(x), 32):
                rows = order[start : start + 32]
                loss.forward(model.forward(x[rows], training=True), t[rows])
                model.backward_parameters(loss.backward())
                optimizer.step(flat)
        accuracies.append((model.predict(x_test).argmax(axis=1) == t_test).mean())
    assert np.median(accuracies) >= 0.975, accuracies


def test_two_layer_net_starts_as_the_book_s_does():
    net = TwoLayerNet()
    assert net.summary().parameters == 39_760
    for name, parameter in zip(("dense1", "dense2"), net.parameters()[::2], strict=True):
        assert parameter.value.std() == pytest.approx(0.01, rel=0.1), name
    assert not net.parameters()[1].value.any()


@pytest.mark.parametrize(
    ("activation", "weight_init", "std"),
    [
        ("relu", None, (2 / 784) ** 0.5), ("sigmoid", None, (1 / 784) ** 0.5),
        ("tanh", None, (1 / 784) ** 0.5), ("relu", 0.05, 0.05), ("relu", "normal", 0.01),
        ("sigmoid", "he_normal", (2 / 784) ** 0.5),
    ],
)  # fmt: skip
def test_initial_value_choices(activation, weight_init, std):
    net = MultiLayerNet((784,), hidden=(300,), activation=activation, weight_init=weight_init)
    assert net.parameters()[0].value.std() == pytest.approx(std, rel=0.02)


def test_deep_conv_net_of_the_book():
    net = DeepConvNet()
    shapes = {row.path: row.output_shape for row in net.summary().rows}
    assert [shapes[f"pool{n}"] for n in (1, 2, 3)] == [(16, 14, 14), (32, 8, 8), (64, 4, 4)]
    weights = [p.shape for p in net.parameters() if p.decay]
    assert weights == [
        (16, 1, 3, 3), (16, 16, 3, 3), (32, 16, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3),
        (64, 64, 3, 3), (1024, 50), (50, 10),
    ]  # fmt: skip


def test_an_unknown_activation_is_named():
    with pytest.raises(ArgumentError, match=r"no activation 'softplus'.*relu, sigmoid"):
        MultiLayerNet((4,), activation="softplus")


@pytest.mark.parametrize("name", ["two_layer_net", "multi_layer_net", "multi_layer_net_extend"])
def test_trainer_trains_them(name):
    from fastscratch.data import load_digits
    from fastscratch.training import Trainer

    (x, t), test = load_digits(flatten=True)
    model = models.build(name, (64,))
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(0.01), batch_size=50)
    history = trainer.fit(x, t, epochs=8, validation=test)
    assert (history.last["validation_accuracy"] or 0) > 0.88
