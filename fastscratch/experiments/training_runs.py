"""Training on MNIST: two layers, the tutorial's network, optimizers, full batches, ensembles."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastscratch.experiments.experiment import Experiment, Findings, Row, Setup
from fastscratch.experiments.learning import (
    Curve,
    draw_accuracies,
    first,
    follow,
    mean,
    percent,
)
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.models import MLP, Ensemble, MultiLayerNet, SimpleNetwork, TwoLayerNet
from fastscratch.optimizers import SGD, AdaGrad, Adam, Momentum, Nesterov, Optimizer, RMSProp
from fastscratch.second_order import LBFGS
from fastscratch.training import Callback, Trainer, accuracy
from fastscratch.types import Array

PRINTED = (
    (0.097517, 0.097400), (0.795900, 0.798200), (0.878350, 0.880600), (0.899017, 0.903800),
    (0.908567, 0.911200), (0.915467, 0.918100), (0.920017, 0.923100), (0.924117, 0.925800),
    (0.928300, 0.929300), (0.931283, 0.932200), (0.935033, 0.935500), (0.937483, 0.937900),
    (0.939500, 0.940600), (0.941650, 0.941200), (0.943783, 0.944000), (0.945633, 0.945300),
    (0.947217, 0.946200),
)  # fmt: skip
"""Training and test accuracy that the tutorial prints, before training and after each epoch."""


def two_layer(setup: Setup) -> Findings:
    """Sixteen epochs of the two-layer network; the tutorial's 10,000 steps are 16.7."""
    train, test = setup.flat
    epochs = setup.pick(16, 2)
    setup.expect(epochs * len(setup.seeds))
    curves = []
    for seed in setup.seeds:
        model = TwoLayerNet(train[0].shape[1:], activation="sigmoid", seed=seed)
        curves.append(follow(setup, model, SGD(0.1), train, test, epochs=epochs, seed=seed))
    rows: list[Row] = [
        row for seed, c in zip(setup.seeds, curves, strict=True) for row in c.rows(seed=seed)
    ]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        draw_accuracies(axes, {"here": curves})
        printed = np.array(PRINTED[: epochs + 1])
        axes.plot(printed[:, 0], "k.", label="printed, train", markersize=4)
        axes.plot(printed[:, 1], "kx", label="printed, test", markersize=4)
        axes.legend(loc="lower right", fontsize=9)

    finals = [c.test[-1] for c in curves]
    gaps = [abs(c.gap) for c in curves]
    early = [c.test[1] for c in curves]
    furthest = max(
        max(abs(c.train[i] - PRINTED[i][0]), abs(c.test[i] - PRINTED[i][1]))
        for c in curves for i in range(2, min(len(c.test), len(PRINTED)))
    )  # fmt: skip
    measured = (
        f"test accuracy {percent(early)} after one epoch and {percent(finals)} at the end, gap "
        f"{100 * max(gaps):.2f} % at most; from the second epoch on within "
        f"{100 * furthest:.1f} % of all the numbers printed"
    )
    holds = min(early) >= 0.75 and min(finals) >= 0.94 and max(gaps) < 0.01
    numbers = {"epoch_1": early, "final": finals, "gap": gaps, "furthest_from_printed": furthest}
    return Findings(rows, numbers, measured, holds, draw)


def simple_network(setup: Setup) -> Findings:
    """The tutorial's run; its gradients lack the division by 30, so that its rate is 0.03 here."""
    train, test = setup.flat
    if setup.quick:
        train = first(train, 3000)
    epochs = setup.pick(500, 3)
    setup.expect(epochs * len(setup.seeds))
    losses, accuracies = [], []
    for seed in setup.seeds:
        network = SimpleNetwork(train[0].shape[1], 10, init="standard_normal", seed=seed)
        found = network.train(
            *train, *test, batch_size=30, num_epochs=epochs, learning_rate=0.03, seed=seed,
            log=lambda line: setup.advance(),
        )  # fmt: skip
        losses.append(found[0])
        accuracies.append(found[1])
    rows: list[Row] = [
        {"seed": seed, "epoch": epoch, "loss": loss, "accuracy": share}
        for seed, values, shares in zip(setup.seeds, losses, accuracies, strict=True)
        for epoch, (loss, share) in enumerate(zip(values, shares, strict=True))
    ]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for seed, values, shares in zip(setup.seeds, losses, accuracies, strict=True):
            left.plot(values, label=f"seed {seed}")
            right.plot(shares, label=f"seed {seed}")
        left.axhline(0.045963, color="k", linestyle=":", label="printed, at the end")
        right.axhline(0.9483, color="k", linestyle=":", label="printed, at the end")
        left.set(xlabel="epoch", ylabel="training loss", yscale="log")
        right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0.5, 1))
        left.legend(fontsize=9)
        right.legend(fontsize=9)

    final = [values[-1] for values in accuracies]
    final_losses = [values[-1] for values in losses]
    measured = (
        f"validation accuracy {percent(final)}, training loss {min(final_losses):.4f} to "
        f"{max(final_losses):.4f}"
    )
    holds = all(abs(value - 0.9483) < 0.015 for value in final)
    return Findings(rows, {"accuracy": final, "loss": final_losses}, measured, holds, draw)


_OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "SGD": lambda: SGD(0.01),
    "Momentum": lambda: Momentum(0.01),
    "Nesterov": lambda: Nesterov(0.01),
    "AdaGrad": lambda: AdaGrad(0.01),
    "RMSProp": lambda: RMSProp(0.001),
    "Adam": lambda: Adam(0.001),
}


def optimizers(setup: Setup) -> Findings:
    """2,000 steps of a network of five layers with each optimizer."""
    train, _ = setup.flat
    steps = setup.pick(2000, 60)
    setup.expect(len(_OPTIMIZERS) * len(setup.seeds))
    losses: dict[str, list[list[float]]] = {}
    for name, make in _OPTIMIZERS.items():
        for seed in setup.seeds:
            losses.setdefault(name, []).append(_losses(train, make(), steps, seed))
            setup.advance()
    means = {name: np.mean(values, axis=0) for name, values in losses.items()}
    rows: list[Row] = [
        {"optimizer": name, "seed": seed, "step": step, "loss": value}
        for name, of_seeds in losses.items()
        for seed, values in zip(setup.seeds, of_seeds, strict=True)
        for step, value in enumerate(values, start=1)
        if step % 10 == 0
    ]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, values in means.items():
            smooth = np.convolve(values, np.ones(20) / 20, mode="valid")
            axes.plot(np.arange(len(smooth)) + 20, smooth, label=name)
        axes.set(xlabel="step", ylabel="training loss, mean of 20 steps", ylim=(0, 1))
        axes.grid(alpha=0.3)
        axes.legend()

    tail = max(1, steps // 10)
    final = {
        name: [mean(values[-tail:]) for values in of_seeds] for name, of_seeds in losses.items()
    }
    worst = max(max(values) for name, values in final.items() if name != "SGD")
    measured = "training loss over the last tenth: " + ", ".join(
        f"{name} {mean(values):.3f}" for name, values in final.items()
    )
    return Findings(rows, {"final_loss": final}, measured, min(final["SGD"]) > worst, draw)


def _losses(train: tuple[Array, Array], optimizer: Optimizer, steps: int, seed: int) -> list[float]:
    """The loss of each step."""
    seen: list[float] = []

    class Watch(Callback):
        def on_batch_end(self, trainer: Any, loss: float) -> None:
            seen.append(loss)

    model = MultiLayerNet(train[0].shape[1:], hidden=(100,) * 4, seed=seed)
    trainer = Trainer(
        model, SoftmaxCrossEntropy(), optimizer, batch_size=128, seed=seed, callbacks=[Watch()],
        progress_bar=False,
    )  # fmt: skip
    per_epoch = -(-len(train[0]) // 128)
    trainer.fit(*train, epochs=-(-steps // per_epoch))
    return seen[:steps]


def full_batch(setup: Setup) -> Findings:
    """L-BFGS and Adam on 2,000 samples at once."""
    train, test = setup.flat
    train = first(train, setup.pick(2000, 200))
    epochs = setup.pick(100, 5)
    makers: dict[str, Callable[[], Optimizer]] = {"L-BFGS": LBFGS, "Adam": lambda: Adam(0.01)}
    setup.expect(epochs * len(makers) * len(setup.seeds))
    curves: dict[str, list[Curve]] = {}
    for name, make in makers.items():
        for seed in setup.seeds:
            model = MultiLayerNet(train[0].shape[1:], hidden=(50,), activation="tanh", seed=seed)
            curve = follow(
                setup, model, make(), train, test, epochs=epochs, batch_size=len(train[0]),
                seed=seed,
            )  # fmt: skip
            curves.setdefault(name, []).append(curve)
    rows: list[Row] = [
        row for name, of_seeds in curves.items()
        for seed, c in zip(setup.seeds, of_seeds, strict=True)
        for row in c.rows(optimizer=name, seed=seed)
    ]  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for name, of_seeds in curves.items():
            left.plot(np.mean([c.loss for c in of_seeds], axis=0), label=name)
        left.set(xlabel="iteration", ylabel="training loss", yscale="log")
        left.legend()
        draw_accuracies(right, curves)

    final = {name: [c.loss[-1] for c in of_seeds] for name, of_seeds in curves.items()}
    tests = {name: [c.test[-1] for c in of_seeds] for name, of_seeds in curves.items()}
    measured = "; ".join(
        f"{name}: training loss {mean(final[name]):.1e}, test accuracy {percent(tests[name])}"
        for name in makers
    )
    holds = max(final["L-BFGS"]) < 0.1 * min(final["Adam"])
    note = "an iteration of L-BFGS takes two evaluations or more, one of Adam's takes one"
    return Findings(rows, {"loss": final, "test": tests}, measured, holds, draw, note)


def ensemble(setup: Setup) -> Findings:
    """Ten networks apart, and their average."""
    train, test = setup.flat
    train = first(train, setup.pick(5000, 500))
    members, epochs = setup.pick(10, 2), setup.pick(15, 2)
    setup.expect(epochs * members * len(setup.seeds))
    alone: list[float] = []
    growing: list[list[float]] = []
    common: list[float] = []
    for seed in setup.seeds:
        models, shares = [], []
        wrong = np.ones(len(test[1]), bool)
        for number in range(members):
            model = MLP(train[0].shape[1:], hidden=(50,), seed=1000 * seed + number)
            curve = follow(
                setup, model, Adam(0.002), train, test, epochs=epochs, seed=1000 * seed + number
            )
            alone.append(curve.test[-1])
            models.append(model)
            wrong &= model.predict(test[0]).argmax(axis=1) != test[1]
            shares.append(accuracy(Ensemble(models).predict(test[0]), test[1]))
        growing.append(shares)
        common.append(float(wrong.mean()))
    rows: list[Row] = [
        {"seed": seed, "members": number, "test_accuracy": share}
        for seed, shares in zip(setup.seeds, growing, strict=True)
        for number, share in enumerate(shares, start=1)
    ]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for seed, shares in zip(setup.seeds, growing, strict=True):
            axes.plot(np.arange(1, members + 1), shares, "o-", label=f"average, seed {seed}")
        axes.axhline(mean(alone), color="k", linestyle=":", label="one network, mean")
        axes.axhspan(min(alone), max(alone), color="gray", alpha=0.15)
        axes.set(xlabel="networks", ylabel="test accuracy")
        axes.legend(loc="lower right")
        axes.grid(alpha=0.3)

    together = [shares[-1] for shares in growing]
    gain = [share - mean(alone) for share in together]
    measured = (
        f"one network {percent(alone)}, ten averaged {percent(together)}: {100 * mean(gain):+.2f} "
        "percentage points"
    )
    holds = all(value > 0.01 for value in gain)
    note = "" if holds else (
        f"a network gets {100 * (1 - mean(alone)):.1f} % wrong, and {100 * mean(common):.1f} % are "
        "wrong in all ten, which have learnt from the same images and err alike: an average can "
        "mend little of the rest. It is better than each of its members all the same"
        if min(together) > max(alone) else "the average is not even better than each of its members"
    )  # fmt: skip
    numbers = {"alone": alone, "together": together, "gain": gain, "wrong_in_all": common}
    return Findings(rows, numbers, measured, holds, draw, note)


EXPERIMENTS = (
    Experiment(
        "two-layer", "The two-layer network's accuracies", "tutorial on chapter 4, 17 lines of log",
        "79.6 % training accuracy after one epoch, 94.7 % / 94.6 % on training and test set after "
        "10,000 steps",
        "of all seeds: test accuracy of 75 % or more after one epoch, 94 % or more at the end, and "
        "a gap below 1 %; seeds differ by a fifth of a percent at the end and by two or three "
        "after one epoch, when the curve is steepest",
        two_layer, {"hidden": 50, "activation": "sigmoid", "lr": 0.1, "batch": 100, "std": 0.01},
    ),
    Experiment(
        "simple-network", "SimpleNetwork on MNIST", "tutorial on training a network",
        "500 epochs in batches of 30 reach 94.83 % validation accuracy",
        "of all seeds: within 1.5 percentage points; one standard error of 10,000 images is 0.2, "
        "and first weights of spread 1 make seeds differ by more",
        simple_network,
        {"hidden": [64, 32], "lr": 0.03, "batch": 30, "epochs": 500, "init": "standard_normal"},
    ),
    Experiment(
        "optimizers", "Optimizers on MNIST", "book, section 6.1.8; lecture 6",
        "SGD is the slowest of them",
        "of all seeds: SGD's loss over the last tenth is above that of each other one",
        optimizers, {"hidden": [100] * 4, "steps": 2000, "batch": 128},
    ),
    Experiment(
        "lbfgs", "L-BFGS and Adam on full batches", "lecture 6",
        "with full batches, L-BFGS is the method to try",
        "of all seeds: after 100 iterations its training loss is a tenth of Adam's or less",
        full_batch, {"samples": 2000, "hidden": 50, "iterations": 100},
    ),
    Experiment(
        "ensemble", "An ensemble of ten", "lecture 6",
        "averaging ten independent networks gives about two percentage points",
        "of all seeds: one percentage point or more over the mean of the members; one standard "
        "error of 10,000 images is 0.2",
        ensemble, {"samples": 5000, "hidden": 50, "epochs": 15, "members": 10},
    ),
)  # fmt: skip
