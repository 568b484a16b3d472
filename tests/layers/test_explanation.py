"""The table of what a network's operations run on."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ShapeError
from fastscratch.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)

X = np.random.default_rng(0).random((4, 2, 6, 6), dtype=np.float32)


@pytest.fixture
def network():
    model = Sequential(
        ("conv", Conv2d(4, 3, padding=1)), ("norm", BatchNorm()), ("relu", ReLU()),
        ("block", Residual(Sequential(Conv2d(4, 3, padding=1), ReLU()))),
        ("end", Sequential(MaxPool2d(2), Flatten())), ("drop", Dropout(0.5)),
        ("scores", Dense(3)),
    )  # fmt: skip
    model.build(X.shape[1:])
    return model


def test_every_operation_of_a_training_step_has_a_line(network):
    with fs.record_choices() as choices:
        y = network.forward(X, training=True)
        network.backward_parameters(np.ones_like(y))
    with fs.use_backend("numpy"):
        table = network.explain(X)
    assert {call.problem.partition(":")[0] for call in table.calls} == set(choices)
    problems = {call.problem for call in table.calls}  # the same one twice is chosen for once
    assert len(problems) == sum(sum(counts.values()) for counts in choices.values())
    layers = list(dict.fromkeys(call.layer for call in table.calls))
    assert layers == ["conv", "norm+relu", "block", "end.0", "drop", "scores"]
    assert all(call.implementation == "numpy" and call.seconds > 0 for call in table.calls)
    assert {call.rule for call in table.calls} == {"named by use_backend"}
    # The images need no gradient.
    assert [call.problem for call in table.calls if call.layer == "conv"] == [
        "conv2d_forward:f32:n4c2h6w6:oc4k3s1p1", "conv2d_backward_weight:f32:n4c2h6w6:oc4k3s1p1",
    ]  # fmt: skip


def test_a_prediction_has_no_backward_pass(network):
    table = network.explain(X, training=False)
    assert all("backward" not in call.problem for call in table.calls)
    assert table.seconds == pytest.approx(sum(call.seconds for call in table.calls))


def test_the_network_stays_as_it_is(network):
    before = network.state_dict()
    network.explain(X)
    after = network.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    unbuilt = Sequential(Flatten(), Dense(3))
    assert len(unbuilt.explain(X).calls) == 2
    assert not unbuilt.built


def test_layers_that_run_as_one_are_named_together():
    model = Sequential(Conv2d(4, 3), ReLU(), MaxPool2d(2), Flatten(), Dense(3))
    table = model.explain(X, training=False)
    assert table.calls[0].layer == "0+1+2"


def test_the_text_is_a_table(network):
    lines = str(network.explain(X, training=False)).splitlines()
    assert lines[0].split() == [
        "layer", "problem", "runs", "on", "threads", "ms", "share", "MB", "why",
    ]  # fmt: skip
    assert lines[-1].startswith("total")
    assert "100.0 %" not in lines[2]


def test_a_layers_own_backend_is_the_rule():
    model = Sequential(Dense(3, backend="numpy"))
    (call,) = model.explain(X[:, 0, 0], training=False).calls
    assert (call.implementation, call.rule) == ("numpy", "given to the layer")


def test_an_empty_batch_is_an_error(network):
    with pytest.raises(ShapeError, match="one sample or more"):
        network.explain(X[:0])
