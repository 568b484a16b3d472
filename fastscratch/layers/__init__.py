"""Parts of a network: each is built from an input shape, computes forward, and then backward.

::

    model = Sequential(Conv2d(16, 3, padding="same"), ReLU(), MaxPool2d(2), Flatten(), Dense(10))
    scores = model.forward(x, training=True)      # shapes are inferred from the first x
    dx = model.backward(dout)                     # fills parameter.grad everywhere
    model.predict(x)                              # stores nothing

    Layer ── parameters() ── Parameter: name, value, grad, decay
      │ └─── buffers() ───── Buffer: name, value
      └─ Sequential ─ children() ─ Layer …

Whether a pass trains is an argument of it, not a mode of the network.
"""

from fastscratch.layers.activations import (
    Activation,
    Identity,
    ReLU,
    Sigmoid,
    Softmax,
    Step,
    Tanh,
)
from fastscratch.layers.base import Layer
from fastscratch.layers.batch_norm import BatchNorm
from fastscratch.layers.conv2d import Conv2d
from fastscratch.layers.dense import Dense
from fastscratch.layers.drop_connect import DropConnect
from fastscratch.layers.dropout import Dropout
from fastscratch.layers.flatten import Flatten
from fastscratch.layers.fractional_pool2d import FractionalMaxPool2d
from fastscratch.layers.nodes import AddNode, MultiplyNode
from fastscratch.layers.parameter import Buffer, Parameter
from fastscratch.layers.pool2d import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from fastscratch.layers.rectifiers import ELU, LeakyReLU, PReLU
from fastscratch.layers.registry import (
    describe_layer,
    layer_from_description,
    register_layer,
)
from fastscratch.layers.residual import Residual
from fastscratch.layers.sequential import Sequential
from fastscratch.layers.summary import Summary, SummaryRow

__all__ = [
    "ELU",
    "Activation",
    "AddNode",
    "AvgPool2d",
    "BatchNorm",
    "Buffer",
    "Conv2d",
    "Dense",
    "DropConnect",
    "Dropout",
    "Flatten",
    "FractionalMaxPool2d",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "LeakyReLU",
    "MaxPool2d",
    "MultiplyNode",
    "PReLU",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Step",
    "Summary",
    "SummaryRow",
    "Tanh",
    "describe_layer",
    "layer_from_description",
    "register_layer",
]
