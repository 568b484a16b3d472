"""Every layer's backward pass against differences in float64, with each flag."""

import numpy as np
import pytest

from fastscratch.gradient_check import check_gradients
from fastscratch.layers import (
    ELU,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    DropConnect,
    Dropout,
    Flatten,
    FractionalMaxPool2d,
    GlobalAvgPool2d,
    Identity,
    LeakyReLU,
    MaxPool2d,
    PReLU,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from fastscratch.losses import MeanSquaredError

ROWS, IMAGES = (6,), (4, 7, 8)

CASES = {
    "dense": (Dense(5), ROWS),
    "dense_no_bias": (Dense(5, bias=False), ROWS),
    "conv_plain": (Conv2d(3, 3), IMAGES),
    "conv_no_bias": (Conv2d(3, 3, bias=False), IMAGES),
    "conv_pointwise": (Conv2d(3, 1), IMAGES),
    "conv_same": (Conv2d(3, (3, 4), padding="same"), IMAGES),
    "conv_stride_floor": (Conv2d(3, 3, stride=2, rounding="floor"), IMAGES),
    "conv_stride_ceil": (Conv2d(3, 3, stride=(2, 3), rounding="ceil"), IMAGES),
    "conv_dilated": (Conv2d(3, (2, 3), dilation=(3, 2)), IMAGES),
    "conv_padding_asymmetric": (Conv2d(3, 3, padding=(1, 0, 2, 3)), IMAGES),
    "conv_padding_list": (Conv2d(3, 3, padding=[1, 2]), IMAGES),
    "conv_grouped": (Conv2d(6, 3, groups=2), IMAGES),
    "conv_depthwise": (Conv2d(8, 3, groups=4, padding=1), IMAGES),
    "max_pool": (MaxPool2d((7, 2)), IMAGES),
    "max_pool_overlap": (MaxPool2d(3, stride=1, padding=1), IMAGES),
    "max_pool_floor": (MaxPool2d(2, rounding="floor"), IMAGES),
    "max_pool_ceil": (MaxPool2d(3, stride=2, rounding="ceil"), IMAGES),
    "max_pool_dilated": (MaxPool2d(2, stride=1, dilation=3), IMAGES),
    "avg_pool": (AvgPool2d((7, 2)), IMAGES),
    "avg_pool_include_pad": (AvgPool2d(3, stride=1, padding=1), IMAGES),
    "avg_pool_exclude_pad": (AvgPool2d(3, stride=1, padding=1, count_include_pad=False), IMAGES),
    "avg_pool_ceil": (AvgPool2d(3, stride=2, padding=1, rounding="ceil"), IMAGES),
    "global_avg_pool": (GlobalAvgPool2d(), IMAGES),
    "flatten": (Flatten(), IMAGES),
    "relu": (ReLU(), ROWS),
    "sigmoid": (Sigmoid(), ROWS),
    "tanh": (Tanh(), IMAGES),
    "leaky_relu": (LeakyReLU(0.3), ROWS),
    "leaky_relu_steep": (LeakyReLU(3.0), IMAGES),
    "elu": (ELU(0.7), IMAGES),
    "prelu_rows": (PReLU(0.4), ROWS),
    "prelu_images": (PReLU(0.4), IMAGES),
    "prelu_shared": (PReLU(0.4, shared=True), IMAGES),
    "identity": (Identity(), ROWS),
    "drop_connect": (DropConnect(5, 0.4), ROWS),
    "fractional_pool": (FractionalMaxPool2d(1.5), IMAGES),
    "fractional_pool_random": (FractionalMaxPool2d((2, 1.4), method="random"), IMAGES),
    "fractional_pool_disjoint": (FractionalMaxPool2d(1.5, overlapping=False), IMAGES),
    "softmax_rows": (Softmax(), ROWS),
    "softmax_channels": (Softmax(), IMAGES),
    "batch_norm_rows": (BatchNorm(), ROWS),
    "batch_norm_images": (BatchNorm(), IMAGES),
    "dropout": (Dropout(0.4), IMAGES),
    "residual": (Residual(Sequential(Conv2d(4, 3, padding=1), Tanh())), IMAGES),
    "residual_shortcut": (Residual(Dense(5), Dense(5, bias=False)), ROWS),
    "residual_survived": (Residual(Dense(6), survival=0.9), ROWS),
    "residual_left_out": (Residual(Dense(5), Dense(5), survival=1e-9), ROWS),
    "nested": (
        Sequential(Conv2d(3, 3), Sequential(BatchNorm(), ReLU()), Flatten(), Dense(3)),
        IMAGES,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_differences(name):
    layer, shape = CASES[name]
    rng = np.random.default_rng(5)
    # Parameters on both sides, so that the layer's input gradient is in the middle of a network.
    before = Conv2d(shape[0], 1) if len(shape) == 3 else Dense(shape[0])
    model = Sequential(("before", before), ("layer", layer))
    output = model.build(shape, np.float64)
    x = rng.standard_normal((3, *shape))
    targets = rng.standard_normal((3, *output))
    for parameter in model.parameters():
        parameter.value += 0.1 * rng.standard_normal(parameter.shape)  # no zeros, no ones
    report = check_gradients(model, MeanSquaredError(features="sum"), x, targets)
    assert report.ok, str(report)
    assert {p.name for p in model.parameters()} | {"input"} == set(report.worst())
