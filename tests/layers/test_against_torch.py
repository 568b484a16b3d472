"""Layers against PyTorch, the outside judge, where it is installed."""

from typing import Any

import numpy as np
import pytest

from fastscratch.layers import (
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from fastscratch.losses import MeanAbsoluteError, MeanSquaredError, SoftmaxCrossEntropy

torch = pytest.importorskip("torch", reason="PyTorch, the outside judge, is not installed")
nn = torch.nn

TOLERANCE: dict[type, dict[str, Any]] = {
    np.float32: {"rtol": 1e-4, "atol": 1e-5},
    np.float64: {"rtol": 1e-10, "atol": 1e-12},
}

PAIRS = {
    "dense": (lambda: Dense(5), lambda: nn.Linear(6, 5), (6,)),
    "conv": (lambda: Conv2d(8, 3, padding=1), lambda: nn.Conv2d(4, 8, 3, padding=1), (4, 7, 9)),
    "conv_flags": (
        lambda: Conv2d(
            8, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2, bias=False
        ),
        lambda: nn.Conv2d(
            4, 8, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2, bias=False
        ),
        (4, 7, 9),
    ),
    "conv_floor": (
        lambda: Conv2d(8, 3, stride=2, rounding="floor"),
        lambda: nn.Conv2d(4, 8, 3, stride=2),
        (4, 8, 8),
    ),
    "conv_same_even": (
        lambda: Conv2d(8, 4, padding="same"),
        lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(4, 8, 4)),
        (4, 8, 7),
    ),
    "max_pool": (
        lambda: MaxPool2d(3, stride=2, padding=1, rounding="ceil"),
        lambda: nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        (4, 8, 9),
    ),
    "avg_pool": (
        lambda: AvgPool2d(3, stride=2, padding=1, rounding="ceil"),
        lambda: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
        (4, 8, 9),
    ),
    "avg_pool_exclude": (
        lambda: AvgPool2d(3, stride=2, padding=1, rounding="floor", count_include_pad=False),
        lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        (4, 8, 9),
    ),
    "global_avg_pool": (
        lambda: GlobalAvgPool2d(),
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        (4, 5, 6),
    ),
    "relu": (lambda: ReLU(), lambda: nn.ReLU(), (6,)),
    "sigmoid": (lambda: Sigmoid(), lambda: nn.Sigmoid(), (6,)),
    "tanh": (lambda: Tanh(), lambda: nn.Tanh(), (6,)),
    "softmax": (lambda: Softmax(), lambda: nn.Softmax(dim=1), (4, 5, 6)),
    "batch_norm_rows": (lambda: BatchNorm(), lambda: nn.BatchNorm1d(6, momentum=0.1), (6,)),
    "batch_norm_images": (lambda: BatchNorm(), lambda: nn.BatchNorm2d(4, momentum=0.1), (4, 5, 6)),
    "network": (
        lambda: Sequential(
            Conv2d(8, 3), BatchNorm(), ReLU(), MaxPool2d(2, rounding="floor"), Flatten(), Dense(5)
        ),
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(72, 5),
        ),
        (4, 8, 9),
    ),
}


def copy_parameters(mine, theirs):
    """The first weights of ours into theirs; dense weights lie transposed there."""
    with torch.no_grad():
        for parameter, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            value = parameter.value.T if parameter.value.ndim == 2 else parameter.value
            other.copy_(torch.from_numpy(value.copy()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAIRS)
def test_forward_backward_and_prediction(name, dtype):
    make, make_theirs, shape = PAIRS[name]
    rng = np.random.default_rng(1)
    mine, theirs = make(), make_theirs().to(torch.float32 if dtype is np.float32 else torch.float64)
    mine.build(shape, dtype)
    for parameter in mine.parameters():
        parameter.value += 0.1 * rng.standard_normal(parameter.shape).astype(dtype)
    copy_parameters(mine, theirs)
    x = rng.standard_normal((5, *shape)).astype(dtype)
    x_theirs = torch.from_numpy(x.copy()).requires_grad_()

    y, y_theirs = mine.forward(x, training=True), theirs.train()(x_theirs)
    dout = np.asarray(rng.standard_normal(y.shape), dtype)
    dx = mine.backward(dout)
    y_theirs.backward(torch.from_numpy(dout))

    np.testing.assert_allclose(y, y_theirs.detach().numpy(), **TOLERANCE[dtype])
    np.testing.assert_allclose(dx, x_theirs.grad.numpy(), **TOLERANCE[dtype])
    for parameter, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        grad = other.grad.numpy()
        np.testing.assert_allclose(
            parameter.grad, grad.T if grad.ndim == 2 else grad, **TOLERANCE[dtype]
        )
    if "batch_norm" not in name and name != "network":
        np.testing.assert_allclose(
            mine.forward(x), theirs.eval()(x_theirs).detach().numpy(), **TOLERANCE[dtype]
        )


def test_running_statistics_but_for_the_bias_of_the_variance():
    # PyTorch divides the running variance by n - 1, the book by n.
    x = np.random.default_rng(0).standard_normal((6, 4, 5, 5)) + 3
    mine, theirs = BatchNorm(), nn.BatchNorm2d(4, momentum=0.1).double()
    mine.forward(x, training=True)
    theirs.train()(torch.from_numpy(x))
    np.testing.assert_allclose(mine.running_mean.value, theirs.running_mean.numpy())
    n = 6 * 5 * 5
    unbiased = 0.9 + (mine.running_var.value - 0.9) * n / (n - 1)
    np.testing.assert_allclose(unbiased, theirs.running_var.numpy())
    theirs.running_var.copy_(torch.from_numpy(mine.running_var.value))
    np.testing.assert_allclose(
        mine.forward(x), theirs.eval()(torch.from_numpy(x)).detach().numpy(), atol=1e-12
    )


@pytest.mark.parametrize(
    ("loss", "theirs", "targets"),
    [
        (SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), np.array([0, 4, 2, 2])),
        (SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), np.full((4, 5), 0.2, np.float32)),
        (MeanSquaredError(), nn.MSELoss(), np.ones((4, 5), np.float32)),
        (MeanAbsoluteError(), nn.L1Loss(), np.ones((4, 5), np.float32)),
    ],
)
def test_losses(loss, theirs, targets):
    scores = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    other = torch.from_numpy(scores.copy()).requires_grad_()
    value = theirs(other, torch.from_numpy(targets))
    value.backward()
    assert loss.forward(scores, targets) == pytest.approx(value.item(), rel=1e-6)
    np.testing.assert_allclose(loss.backward(), other.grad.numpy(), rtol=1e-5, atol=1e-7)
