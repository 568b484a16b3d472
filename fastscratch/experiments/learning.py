"""Training runs whose accuracies are followed, and pictures of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastscratch.experiments.experiment import Setup
from fastscratch.losses import Loss, SoftmaxCrossEntropy
from fastscratch.optimizers import Optimizer
from fastscratch.training import Callback, Trainer, evaluate
from fastscratch.types import Array

Samples = tuple[Array, Array]


class Curve(NamedTuple):
    """Accuracies on both sets and both losses, before training and after each epoch.

    The training loss is the mean over an epoch's steps, of which there were none at first; the test
    loss is that of the network as it is used.
    """

    train: list[float]
    test: list[float]
    loss: list[float]
    test_loss: list[float]

    @property
    def gap(self) -> float:
        """How much better the training set is known at the end."""
        return self.train[-1] - self.test[-1]

    def rows(self, **given: Any) -> list[dict[str, Any]]:
        """A row for each epoch."""
        return [
            {**given, "epoch": epoch, "train_accuracy": train, "test_accuracy": test, "loss": loss,
             "test_loss": test_loss}
            for epoch, (train, test, loss, test_loss) in enumerate(zip(*self, strict=True))
        ]  # fmt: skip


def follow(
    setup: Setup,
    model: Any,
    optimizer: Optimizer,
    train: Samples,
    test: Samples,
    *,
    epochs: int,
    batch_size: int = 100,
    seed: int = 0,
    loss: Loss | None = None,
) -> Curve:
    """Train, and measure accuracies and losses before and after each epoch.

    Parameters
    ----------
    setup : Setup
        Whose bar advances by one an epoch.
    model, optimizer, train, test, epochs, batch_size, seed, loss
        As for `Trainer`; the loss is softmax cross-entropy if None.

    Returns
    -------
    Curve
    """
    chosen = SoftmaxCrossEntropy() if loss is None else loss
    curve = Curve([], [], [], [])

    def measure(value: float) -> None:
        for accuracies, (x, t) in ((curve.train, train), (curve.test, test)):
            found = evaluate(model, SoftmaxCrossEntropy(), x, t, batch_size=1000)
            accuracies.append(float(found.accuracy or 0.0))
        curve.loss.append(value)
        curve.test_loss.append(found.loss)

    class Watch(Callback):
        def on_epoch_end(self, trainer: Any, record: Any) -> None:
            measure(float(record["train_loss"]))
            setup.advance()

    if not model.built:
        model.build(train[0].shape[1:], train[0].dtype)
    measure(float("nan"))
    Trainer(
        model, chosen, optimizer, batch_size=min(batch_size, len(train[0])), seed=seed,
        callbacks=[Watch()], progress_bar=False,
    ).fit(*train, epochs=epochs)  # fmt: skip
    return curve


def first(samples: Samples, count: int) -> Samples:
    """The first so many samples."""
    return samples[0][:count], samples[1][:count]


def mean(values: Sequence[float]) -> float:
    """Their mean, as a Python number."""
    return float(np.mean(values))


def percent(values: Sequence[float]) -> str:
    """``"94.6 % (94.4 to 94.7)"`` of the values of several seeds."""
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * mean(values):.1f} % ({low:.1f} to {high:.1f})"


def draw_accuracies(axes: Any, curves: Mapping[str, Sequence[Curve]], title: str = "") -> None:
    """Training (solid) and test accuracy (dashed) of some settings; bands span the seeds.

    Parameters
    ----------
    axes : matplotlib Axes
    curves : mapping of str to sequence of Curve
        The curves of all seeds, by setting.
    title : str
    """
    for number, (name, of_seeds) in enumerate(curves.items()):
        color = f"C{number}"
        label = f"{name}, " if name else ""
        for kind, style, marker in (("train", "-", "o"), ("test", "--", "s")):
            values = np.array([getattr(curve, kind) for curve in of_seeds])
            epochs = np.arange(values.shape[1])
            axes.plot(
                epochs, values.mean(axis=0), style, marker=marker, color=color, markersize=4,
                markevery=max(1, len(epochs) // 12), label=label + kind,
            )  # fmt: skip
            axes.fill_between(
                epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15
            )
    axes.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02), title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
