"""The networks whose training steps are timed, and a step of each."""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import Any

import numpy as np

import fastscratch as fs
from fastscratch.dispatch import reuse_buffers
from fastscratch.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.models import MLP, SimpleConvNet
from fastscratch.optimizers import SGD, Adam, FlatParameters, Momentum, Optimizer
from fastscratch.training.step import update


def vgg() -> Sequential:
    """Three times two convolutions of 3x3 and a pooling, for images of 32x32."""
    layers: list[Layer] = []
    for channels in (32, 64, 128):
        for _ in range(2):
            layers += [Conv2d(channels, 3, padding=1), ReLU()]
        layers.append(MaxPool2d(2))
    return Sequential(*layers, Flatten(), Dense(256), ReLU(), Dense(10))


def resnet() -> Sequential:
    """He et al. (2016), section 4.2, with one block a stage: 8 layers with weights."""
    layers: list[Layer] = [*_conv_norm(16, 3, 1), ReLU()]
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        body = Sequential(*_conv_norm(channels, 3, stride), ReLU(), *_conv_norm(channels, 3, 1))
        shortcut = Sequential(*_conv_norm(channels, 1, stride)) if stride > 1 else None
        layers += [Residual(body, shortcut), ReLU()]
    return Sequential(*layers, GlobalAvgPool2d(), Dense(10))


def _conv_norm(channels: int, kernel_size: int, stride: int) -> list[Layer]:
    padding = kernel_size // 2
    conv = Conv2d(
        channels, kernel_size, stride=stride, padding=padding, rounding="floor", bias=False
    )
    return [conv, BatchNorm()]


MODELS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...], int, Callable[[], Optimizer]]]
MODELS = {
    "simple_conv_net": (SimpleConvNet, (1, 28, 28), 100, Adam),
    "mlp": (lambda: MLP((784,), hidden=(50,)), (784,), 100, SGD),
    "vgg": (vgg, (3, 32, 32), 64, Momentum),
    "resnet": (resnet, (3, 32, 32), 64, Momentum),
}
"""How each is made, of what input, with how large a batch, and who updates it."""


@contextmanager
def our_step(name: str, backend: str, num_threads: int, batch: int | None = None) -> Any:
    """A step on one backend; its arrays are used again as long as the block is open."""
    make, shape, usual_batch, make_optimizer = MODELS[name]
    model, optimizer, loss = make(), make_optimizer(), SoftmaxCrossEntropy()
    if not model.built:
        model.build(shape)
    optimizer.lr = 1e-6  # it is always the same batch
    flat = FlatParameters(model)
    x, t = make_batch(shape, batch or usual_batch)
    with ExitStack() as stack:
        settings = stack.enter_context(_settings(backend, num_threads))

        def step() -> float:
            return settings(lambda: update(model, loss, optimizer, flat, x, t)[0])

        yield step


@contextmanager
def _settings(backend: str, num_threads: int) -> Any:
    """A way to call something inside of blocks that stay open."""
    context = copy_context()
    stack = ExitStack()

    def enter() -> None:
        for block in (fs.use_backend(backend), fs.threads(num_threads), reuse_buffers()):
            stack.enter_context(block)

    context.run(enter)
    try:
        yield context.run
    finally:
        context.run(stack.close)


def make_batch(shape: tuple[int, ...], batch: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape)).astype(np.float32)
    return x, rng.integers(0, 10, batch)
