import json

import pytest

import fastscratch.layers as layers
from fastscratch.errors import ArgumentError
from fastscratch.initializers import XavierUniform
from fastscratch.layers import Dense, Layer, describe_layer, layer_from_description, register_layer
from fastscratch.layers.registry import _KINDS


@pytest.fixture
def clean_registry(monkeypatch):
    monkeypatch.setattr("fastscratch.layers.registry._KINDS", dict(_KINDS))


def test_every_kind_in_the_package_is_registered():
    kinds = {
        name for name in layers.__all__
        if isinstance(value := getattr(layers, name), type) and issubclass(value, Layer)
    }  # fmt: skip
    assert kinds - {"Layer", "Activation"} <= set(_KINDS)


@pytest.mark.parametrize(
    "layer",
    [
        Dense(3, bias=False, weight_init="normal"),
        layers.Conv2d(2, (3, 1), stride=2, padding=(1, 2, 3, 4), groups=2, rounding="ceil"),
        layers.Conv2d(2, 3, padding="same", dilation=2, weight_init=XavierUniform("in")),
        layers.MaxPool2d(3, stride=2, padding=1, dilation=1, rounding="floor"),
        layers.AvgPool2d(2, count_include_pad=False),
        layers.GlobalAvgPool2d(),
        layers.BatchNorm(momentum=0.99, eps=1e-3),
        layers.Dropout(0.1),
        layers.DropConnect(3, 0.1, bias=False), layers.LeakyReLU(0.2), layers.ELU(2.0),
        layers.PReLU(0.1, shared=True), layers.Identity(), layers.Step(),
        layers.FractionalMaxPool2d((1.5, 2), method="random", overlapping=False),
        layers.Residual(Dense(3), survival=0.8),
        layers.Flatten(), layers.ReLU(), layers.Sigmoid(), layers.Tanh(), layers.Softmax(),
        layers.Sequential(("a", Dense(2)), layers.ReLU(), seed=9),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_descriptions_survive_json(layer):
    description = describe_layer(layer)
    again = layer_from_description(json.loads(json.dumps(description)))
    assert type(again) is type(layer) and describe_layer(again) == description


def test_the_backend_is_not_part_of_it():
    assert "backend" not in Dense(3, backend="numpy").config()


def test_ones_own_layer(clean_registry):
    class Mine(Layer):
        def __init__(self, size, *, backend=None):
            super().__init__(backend=backend)
            self.size = size

    with pytest.raises(ArgumentError, match=r"Mine is not registered.*register_layer"):
        describe_layer(Mine(3))
    assert register_layer(Mine) is Mine
    again = layer_from_description(describe_layer(Mine(3)))
    assert isinstance(again, Mine) and again.size == 3


def test_a_namesake_is_not_saved_as_the_registered_class():
    namesake = type("Dense", (Dense,), {})
    with pytest.raises(ArgumentError, match="Dense is not registered"):
        describe_layer(namesake(3))


def test_a_taken_name_is_an_error(clean_registry):
    class Dense(Layer):
        pass

    with pytest.raises(ArgumentError, match="'Dense' is registered already"):
        register_layer(Dense)
    with pytest.raises(ArgumentError, match="subclass of Layer"):
        register_layer(int)  # type: ignore[type-var]


def test_a_subclass_is_not_saved_as_its_base(clean_registry):
    class Special(Dense):
        pass

    with pytest.raises(ArgumentError, match="Special"):
        describe_layer(Special(3))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"kind": "Transformer", "config": {}}, "unknown kind of layer 'Transformer'"),
        ({"kind": "Dense", "config": {"units": 3}}, "Dense.*units"),
        ({"kind": "Dense"}, "not the description"),
        ([], "not the description"),
    ],
)
def test_foreign_descriptions(description, message):
    with pytest.raises(ArgumentError, match=message):
        layer_from_description(description)
