"""What keeps networks from learning by heart: decay, dropout, normalisation, random depth."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastscratch.errors import TrainingError
from fastscratch.experiments.experiment import Experiment, Findings, Row, Setup
from fastscratch.experiments.learning import (
    Curve,
    Samples,
    draw_accuracies,
    first,
    follow,
    mean,
    percent,
)
from fastscratch.layers import (
    Conv2d,
    Dense,
    DropConnect,
    Dropout,
    Flatten,
    FractionalMaxPool2d,
    Layer,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from fastscratch.models import MultiLayerNet, MultiLayerNetExtend
from fastscratch.optimizers import SGD, Adam, Optimizer
from fastscratch.types import Array

Makers = dict[str, Callable[[int], tuple[Any, Optimizer]]]
"""For each setting, the network and the optimizer of a seed."""


def _compare(
    setup: Setup, makers: Makers, train: Samples, test: Samples, epochs: int, batch_size: int = 100
) -> dict[str, list[Curve]]:
    setup.expect(epochs * len(makers) * len(setup.seeds))
    return {
        name: [
            follow(setup, *make(seed), train, test, epochs=epochs, batch_size=batch_size, seed=seed)
            for seed in setup.seeds
        ]
        for name, make in makers.items()
    }


def _rows(setup: Setup, curves: dict[str, list[Curve]]) -> list[Row]:
    return [
        row for name, of_seeds in curves.items()
        for seed, curve in zip(setup.seeds, of_seeds, strict=True)
        for row in curve.rows(setting=name, seed=seed)
    ]  # fmt: skip


def _numbers(curves: dict[str, list[Curve]]) -> dict[str, Any]:
    return {
        name: {"train": [c.train[-1] for c in of_seeds], "test": [c.test[-1] for c in of_seeds]}
        for name, of_seeds in curves.items()
    }


def _told(curves: dict[str, list[Curve]]) -> str:
    return "; ".join(
        f"{name}: train {percent([c.train[-1] for c in of_seeds])}, test "
        f"{percent([c.test[-1] for c in of_seeds])}"
        for name, of_seeds in curves.items()
    )


def _gaps(of_seeds: list[Curve]) -> list[float]:
    return [curve.gap for curve in of_seeds]


def _all_gaps(curves: dict[str, list[Curve]]) -> dict[str, list[float]]:
    return {name: _gaps(of_seeds) for name, of_seeds in curves.items()}


def _gap_words(curves: dict[str, list[Curve]]) -> str:
    """``"23.7 and 16.0 points"``."""
    return " and ".join(f"{100 * mean(_gaps(c)):.1f}" for c in curves.values()) + " points"


def _draw(curves: dict[str, list[Curve]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        draw_accuracies(figure.subplots(), curves)

    return draw


def _deep(seed: int, decay: float = 0.0) -> tuple[Any, Optimizer]:
    """The book's network of seven layers."""
    return MultiLayerNet(hidden=(100,) * 6, seed=seed), SGD(0.01, weight_decay=decay)


def _few(setup: Setup) -> tuple[Samples, Samples]:
    """300 training images."""
    train, test = setup.flat
    return first(train, 300), first(test, setup.pick(10_000, 1000))


def overfit(setup: Setup) -> Findings:
    """Seven layers, 300 images, 201 epochs."""
    train, test = _few(setup)
    makers: Makers = {"no weight decay": lambda seed: _sized(_deep(seed), train)}
    curves = _compare(setup, makers, train, test, setup.pick(201, 10))
    of_seeds = curves["no weight decay"]
    epoch = min(100, len(of_seeds[0].train) - 1)
    at_100 = [c.train[epoch] for c in of_seeds]
    holds = min(at_100) > 0.97 and min(_gaps(of_seeds)) > 0.1
    measured = f"{_told(curves)}; train {percent(at_100)} at epoch {epoch}"
    numbers = {**_numbers(curves), "train_at_100": at_100}
    return Findings(_rows(setup, curves), numbers, measured, holds, _draw(curves))


def weight_decay(setup: Setup) -> Findings:
    """The same with a penalty of 0.1."""
    train, test = _few(setup)
    makers: Makers = {
        "none": lambda seed: _sized(_deep(seed), train),
        "decay 0.1": lambda seed: _sized(_deep(seed, 0.1), train),
    }
    curves = _compare(setup, makers, train, test, setup.pick(201, 10))
    plain, decayed = curves["none"], curves["decay 0.1"]
    holds = max(_gaps(decayed)) < min(_gaps(plain)) and max(c.train[-1] for c in decayed) < 0.995
    return Findings(
        _rows(setup, curves), {**_numbers(curves), "gaps": _all_gaps(curves)},
        f"{_told(curves)}; gaps of {_gap_words(curves)}", holds, _draw(curves),
    )  # fmt: skip


class _BooksDropout(Dropout):
    """Dropout in the book's form: the rest is not divided by the share kept, but scaled in use."""

    def _forward(self, x: Array, training: bool) -> Array:
        return (1 - self.ratio) * super()._forward(x, training)

    def _backward(self, dout: Array) -> Array:
        return (1 - self.ratio) * super()._backward(dout)


def dropout(setup: Setup) -> Findings:
    """The same with dropout of 0.2, for 301 epochs: in the book's form, and in the library's."""
    train, test = _few(setup)

    def network(dropout: Callable[[], Layer] | None, seed: int) -> tuple[Any, Optimizer]:
        layers: list[Layer] = []
        for _ in range(6):
            layers += [Dense(100), ReLU(), *([] if dropout is None else [dropout()])]
        return Sequential(*layers, Dense(10), seed=seed), SGD(0.01)

    makers: Makers = {
        "none": partial(network, None),
        "dropout 0.2, the book's": partial(network, partial(_BooksDropout, 0.2)),
        "dropout 0.2": partial(network, partial(Dropout, 0.2)),
    }
    curves = _compare(setup, makers, train, test, setup.pick(301, 10))
    plain, book, scaled = curves.values()
    smaller = max(_gaps(book)) < min(_gaps(plain))
    below = max(c.train[-1] for c in book) < 0.995
    measured = f"{_told(curves)}; gaps of {_gap_words(curves)}"
    note = (
        "the book scales in use, so that each of six layers passes on 0.8 of what it would, and "
        "gradients are smaller: much of the smaller gap is slower learning. Where the division is "
        f"made while training, the gap is {100 * mean(_gaps(scaled)):.1f} points, and it is the "
        "same network in use"
    )
    return Findings(
        _rows(setup, curves), {**_numbers(curves), "gaps": _all_gaps(curves)}, measured,
        smaller and below, _draw(curves), note,
    )  # fmt: skip


def _sized(made: tuple[Any, Optimizer], train: Samples) -> tuple[Any, Optimizer]:
    """The book's network, for images of another size where the data are others."""
    model, optimizer = made
    if model.input_shape == train[0].shape[1:]:
        return made
    config = {**model.config(), "input_shape": train[0].shape[1:]}
    return type(model)(**config), optimizer


def batch_norm(setup: Setup) -> Findings:
    """1,000 images, 20 epochs, sixteen first spreads, with and without normalisation."""
    train, test = setup.flat
    train, test = first(train, 1000), first(test, 1000)
    stds = np.logspace(0, -4, num=setup.pick(16, 3))

    def network(std: float, normalised: bool, seed: int) -> tuple[Any, Optimizer]:
        model = MultiLayerNetExtend(
            train[0].shape[1:], hidden=(100,) * 5, weight_init=std, batch_norm=normalised,
            seed=seed,
        )  # fmt: skip
        return model, SGD(0.01)

    makers: Makers = {
        f"{std:.2e}, {name}": partial(network, float(std), name == "normalised")
        for std in stds for name in ("normalised", "plain")
    }  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        curves = _compare_finite(setup, makers, train, test, setup.pick(20, 2))
    pairs = [(curves[f"{std:.2e}, normalised"], curves[f"{std:.2e}, plain"]) for std in stds]

    def draw(figure: Any) -> None:
        figure.set_size_inches(10, 8)
        side = int(np.ceil(np.sqrt(len(stds))))
        grid = figure.subplots(side, side, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, std, pair in zip(grid, stds, pairs, strict=False):
            for of_seeds, label, style in zip(pair, ("normalised", "plain"), "-:", strict=True):
                axes.plot(np.mean([c.train for c in of_seeds], axis=0), style, label=label)
            axes.set_title(f"std {std:.1e}", fontsize=9)
            axes.set_ylim(0, 1.02)
        grid[0].legend(fontsize=8)
        figure.supxlabel("epoch")
        figure.supylabel("training accuracy")

    def lead(pair: tuple[list[Curve], list[Curve]]) -> list[float]:
        return [n.train[-1] - p.train[-1] for n, p in zip(*pair, strict=True)]

    leads = [lead(pair) for pair in pairs]
    better = sum(min(values) > 0.1 for values in leads)
    worse = [float(std) for std, values in zip(stds, leads, strict=True) if max(values) < 0]
    stuck = sum(max(c.train[-1] for c in plain) < 0.2 for _, plain in pairs)
    measured = (
        f"of {len(stds)} spreads, normalised networks are ahead by more than ten points after "
        f"{len(pairs[0][0][0].train) - 1} epochs for {better}, behind for {len(worse)}; {stuck} "
        "plain ones do not learn at all"
    )
    note = "" if not worse else (
        "the spreads for which plain networks learn faster are "
        f"{' and '.join(f'{std:.2g}' for std in worse)}, where He's for 100 inputs "
        f"is {np.sqrt(2 / 100):.2g}: good first weights leave normalisation nothing to mend"
    )  # fmt: skip
    numbers = {"std": stds, "lead": leads, "behind": worse, "plain_that_do_not_learn": stuck}
    holds = better >= 12 and stuck >= 1
    return Findings(_rows(setup, curves), numbers, measured, holds, draw, note)


def _compare_finite(
    setup: Setup, makers: Makers, train: Samples, test: Samples, epochs: int
) -> dict[str, list[Curve]]:
    """`_compare` with runs whose numbers overflow: they stay where they are."""
    setup.expect(epochs * len(makers) * len(setup.seeds))
    curves: dict[str, list[Curve]] = {}
    for name, make in makers.items():
        for seed in setup.seeds:
            model, optimizer = make(seed)
            try:
                curve = follow(setup, model, optimizer, train, test, epochs=epochs, seed=seed)
            except TrainingError:
                setup.advance(epochs)
                count = epochs + 1
                curve = Curve([0.1] * count, [0.1] * count, [np.nan] * count, [np.nan] * count)
            curves.setdefault(name, []).append(curve)
    return curves


def drop_connect(setup: Setup) -> Findings:
    """Dropout, DropConnect and neither, 1,000 images."""
    train, test = setup.flat
    train, test = first(train, 1000), first(test, setup.pick(10_000, 1000))

    def network(hidden: Callable[[], Layer], between: list[Callable[[], Layer]], seed: int) -> Any:
        layers = []
        for _ in range(2):
            layers += [hidden(), ReLU(), *(make() for make in between)]
        return Sequential(*layers, Dense(10), seed=seed)

    makers: Makers = {
        "neither": lambda seed: (network(lambda: Dense(200), [], seed), Adam(0.001)),
        "dropout 0.5": lambda seed: (
            network(lambda: Dense(200), [lambda: Dropout(0.5)], seed), Adam(0.001)
        ),
        "DropConnect 0.5": lambda seed: (
            network(lambda: DropConnect(200, 0.5), [], seed), Adam(0.001)
        ),
    }  # fmt: skip
    curves = _compare(setup, makers, train, test, setup.pick(60, 3), batch_size=50)
    losses = {name: [c.test_loss[-1] for c in of_seeds] for name, of_seeds in curves.items()}
    plain, *others = losses.values()
    measured = f"{_told(curves)}; test loss " + ", ".join(
        f"{name} {mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        for name, values in losses.items()
    )

    def draw(figure: Any) -> None:
        figure.set_size_inches(9.6, 4.6)
        left, right = figure.subplots(1, 2)
        draw_accuracies(left, curves)
        for name, of_seeds in curves.items():
            right.plot(np.mean([c.test_loss for c in of_seeds], axis=0), "--", label=name)
        right.set(xlabel="epoch", ylabel="test loss", ylim=(0, 1))
        right.grid(alpha=0.3)
        right.legend(loc="upper right", fontsize=9)

    holds = max(map(max, others)) < min(plain)
    note = "" if holds else (
        "all three networks know their 1,000 images by heart in the end, the noise delays that "
        "only, and test accuracies differ by less than seeds do. One mask of weights serves a "
        "batch here, where its inventors (Wan et al., 2013) draw one for each sample and train for "
        "hundreds of epochs"
    )  # fmt: skip
    return Findings(
        _rows(setup, curves), {**_numbers(curves), "test_loss": losses}, measured,
        holds, draw, note,
    )  # fmt: skip


def stochastic_depth(setup: Setup) -> Findings:
    """Residual networks of 54 blocks, whose last one survives in half of the steps, or in all."""
    train, test = setup.flat
    train, test = first(train, setup.pick(1000, 300)), first(test, setup.pick(10_000, 1000))
    blocks = 54

    small = {"name": "normal", "std": 0.05}

    def network(last: float, seed: int) -> tuple[Any, Optimizer]:
        body = [
            # Survival falls from block to block (Huang et al., equation 4).
            Residual(
                Sequential(Dense(32), ReLU(), Dense(32, weight_init=small)),
                survival=1 - number / blocks * (1 - last),
            )
            for number in range(1, blocks + 1)
        ]
        return Sequential(Dense(32), ReLU(), *body, Dense(10), seed=seed), Adam(0.001)

    makers: Makers = {"all blocks": partial(network, 1.0), "survival 0.5": partial(network, 0.5)}
    curves = _compare(setup, makers, train, test, setup.pick(40, 2))
    gain = [
        a.test[-1] - b.test[-1]
        for a, b in zip(curves["survival 0.5"], curves["all blocks"], strict=True)
    ]
    holds = min(gain) > 0
    measured = f"{_told(curves)}; a gain of {100 * min(gain):.1f} to {100 * max(gain):.1f} points"
    note = "it is depth that is cured: with twelve blocks, of the same kind, both do equally well"
    return Findings(
        _rows(setup, curves), {**_numbers(curves), "gain": gain}, measured, holds,
        _draw(curves), note,
    )  # fmt: skip


def fractional_pooling(setup: Setup) -> Findings:
    """Max pooling 2x2, and fractional pooling of ratio 1.41 in its two kinds."""
    train, test = setup.images
    train, test = first(train, setup.pick(2000, 200)), first(test, setup.pick(5000, 500))

    def network(pools: list[Layer], seed: int) -> Any:
        layers: list[Layer] = []
        for number, pool in enumerate(pools):
            layers += [Conv2d(16 + 8 * number, 3, padding=1), ReLU(), pool]
        return Sequential(*layers, Flatten(), Dense(10), seed=seed)

    makers: Makers = {
        "max 2x2, twice": lambda seed: (
            network([MaxPool2d(2, rounding="floor") for _ in range(2)], seed), Adam(0.002)
        ),
        "fractional, pseudo-random": lambda seed: (
            network([FractionalMaxPool2d() for _ in range(4)], seed), Adam(0.002)
        ),
        "fractional, random": lambda seed: (
            network([FractionalMaxPool2d(method="random") for _ in range(4)], seed), Adam(0.002)
        ),
    }  # fmt: skip
    curves = _compare(setup, makers, train, test, setup.pick(20, 2))
    plain = mean([c.test[-1] for c in curves["max 2x2, twice"]])
    gains = {
        name: mean([c.test[-1] for c in of_seeds]) - plain
        for name, of_seeds in curves.items() if name != "max 2x2, twice"
    }  # fmt: skip
    holds = min(gains.values()) > 0

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        draw_accuracies(axes, curves)
        axes.set_ylim(0.85, 1.005)

    note = (
        "halving in two steps leaves room for four convolutions in place of two, which is part of "
        "the gain; with half of the filters, a first trial, the random kind was not ahead"
    )
    return Findings(
        _rows(setup, curves), {**_numbers(curves), "gains": gains}, _told(curves), holds, draw,
        note,
    )  # fmt: skip


_SEVEN = {"samples": 300, "hidden": [100] * 6, "lr": 0.01, "batch": 100}

EXPERIMENTS = (
    Experiment(
        "batch-norm", "Batch normalisation against first weights", "book, section 6.3",
        "normalised networks learn faster nearly always; without, some first weights do not learn "
        "at all",
        "of all seeds: ahead by more than ten percentage points for 12 of 16 spreads or more, and "
        "a plain network below 20 % of its training images for one or more (chance is 10 %); seeds "
        "differ by ten points where a curve is steep, and by three elsewhere",
        batch_norm, {"samples": 1000, "hidden": [100] * 5, "lr": 0.01, "epochs": 20},
    ),
    Experiment(
        "overfit", "Learning 300 images by heart", "book, section 6.4.1",
        "training accuracy is about 100 % from epoch 100 on, and the test accuracy far below",
        "of all seeds: 97 % or more at epoch 100, and a gap of ten percentage points or more; one "
        "image is a third of a percent",
        overfit, {**_SEVEN, "epochs": 201},
    ),
    Experiment(
        "weight-decay", "Weight decay of 0.1", "book, section 6.4.2",
        "the gap shrinks, and training accuracy does not reach 100 %",
        "of all seeds: each gap smaller than each without, training accuracy below 99.5 %, which "
        "is one or two images of 300 forgotten; seeds differ by two or three points",
        weight_decay, {**_SEVEN, "epochs": 201, "weight_decay": 0.1},
    ),
    Experiment(
        "dropout", "Dropout of 0.2", "book, section 6.4.3",
        "the gap shrinks, and training accuracy does not reach 100 %",
        "of all seeds, for dropout in the book's form: each gap smaller than each without, and "
        "training accuracy below 99.5 %, which is one or two images of 300 forgotten",
        dropout, {**_SEVEN, "epochs": 301, "dropout": 0.2},
    ),
    Experiment(
        "drop-connect", "Dropout and DropConnect", "lecture 6",
        "zeroing weights at random regularises as zeroing activations does",
        "of all seeds: the test loss of both ends below that of neither; it is what rises when a "
        "network over-fits, and seeds change it by 0.02 to 0.06",
        drop_connect, {"samples": 1000, "hidden": [200, 200], "epochs": 60},
    ),
    Experiment(
        "stochastic-depth", "Stochastic depth", "lecture 6",
        "leaving layers out at random while training does not hurt the whole network, and helps "
        "deep ones",
        "of all seeds: test accuracy above that of the network with all blocks; one standard error "
        "of 10,000 images is 0.4, and seeds differ by two or three",
        stochastic_depth,
        {"samples": 1000, "blocks": 54, "hidden": 32, "survival_of_last": 0.5, "epochs": 40},
    ),
    Experiment(
        "fractional-pooling", "Fractional max pooling", "lecture 6",
        "pooling over random regions regularises",
        "means of all seeds: test accuracy of both kinds above that of max pooling; one standard "
        "error of three times 5,000 images is 0.15, and seeds differ by half a point",
        fractional_pooling,
        {"samples": 2000, "test_images": 5000, "filters": [16, 24, 32, 40], "epochs": 20},
    ),
)  # fmt: skip
