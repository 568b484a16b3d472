"""Chapters 2 to 4 and 6 without data: gates, activations, gradients, initial values, paths."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastscratch.experiments.experiment import Experiment, Findings, Row, Setup
from fastscratch.gradient_check import numerical_gradient
from fastscratch.initializers import InitializerLike, get_initializer
from fastscratch.layers import ELU, Dense, Layer, LeakyReLU, PReLU, ReLU, Sigmoid, Step, Tanh
from fastscratch.models.perceptron import GATES, INPUTS
from fastscratch.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    FlatParameters,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
)
from fastscratch.second_order import newton_path
from fastscratch.types import Array

_TABLES = {"AND": (0, 0, 0, 1), "NAND": (1, 1, 1, 0), "OR": (0, 1, 1, 1), "XOR": (0, 1, 1, 0)}


def perceptron(setup: Setup) -> Findings:
    """Truth tables of the gates."""
    setup.expect(1)
    found = {name: tuple(gate(*inputs) for inputs in INPUTS) for name, gate in GATES.items()}
    rows: list[Row] = [
        {"gate": name, "x1": x1, "x2": x2, "y": y}
        for name, outputs in found.items()
        for (x1, x2), y in zip(INPUTS, outputs, strict=True)
    ]
    setup.advance()

    def draw(figure: Any) -> None:
        figure.set_size_inches(9, 2.9)
        lines = {"AND": (0.5, 0.5, -0.7), "NAND": (0.5, 0.5, -0.7), "OR": (0.5, 0.5, -0.2)}
        for axes, (name, outputs) in zip(figure.subplots(1, 4), found.items(), strict=True):
            for (x1, x2), y in zip(INPUTS, outputs, strict=True):
                axes.plot(x1, x2, "o" if y else "^", color="C0" if y else "C3", markersize=11)
            if name in lines:
                w1, w2, bias = lines[name]
                ends = np.array([-0.4, 1.4])
                axes.plot(ends, -(w1 * ends + bias) / w2, "k-", linewidth=1)
            axes.set(title=name, xlim=(-0.4, 1.4), ylim=(-0.4, 1.4), xlabel="x1", aspect="equal")
        figure.axes[0].set_ylabel("x2")
        figure.suptitle("circle: 1, triangle: 0; one line parts all but XOR", fontsize=10)

    right = sum(found[name] == table for name, table in _TABLES.items())
    return Findings(rows, {"tables": found}, f"{right} of 4 tables are right", right == 4, draw)


_ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "step": Step, "sigmoid": Sigmoid, "tanh": Tanh, "ReLU": ReLU,
    "LeakyReLU(0.1)": lambda: LeakyReLU(0.1), "PReLU(0.5)": lambda: PReLU(0.5), "ELU(1)": ELU,
}  # fmt: skip


def activations(setup: Setup) -> Findings:
    """The activations and their slopes between -5 and 5."""
    setup.expect(len(_ACTIVATIONS))
    x = np.arange(-50, 51) / 10
    values, slopes = {}, {}
    for name, make in _ACTIVATIONS.items():
        layer = make()
        # One feature, so that PReLU has one slope.
        values[name] = layer.forward(x[:, None], training=True)[:, 0]
        slopes[name] = layer.backward(np.ones((len(x), 1)))[:, 0]
        setup.advance()
    rows: list[Row] = [
        {"x": at, **{name: values[name][i] for name in values},
         **{f"slope of {name}": slopes[name][i] for name in slopes}}
        for i, at in enumerate(x)
    ]  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for axes, table, title in ((left, values, "value"), (right, slopes, "slope")):
            for name, y in table.items():
                axes.plot(x, y, label=name)
            axes.axhline(0, color="gray", linestyle=":")
            axes.axvline(0, color="gray", linestyle=":")
            axes.set(xlabel="x", title=title)
        left.set_ylim(-1.6, 3)
        left.legend(fontsize=8, loc="upper left")

    steepest = float(slopes["sigmoid"].max())
    saturated = float(slopes["sigmoid"][0])
    measured = f"sigmoid's slope is {steepest:.2f} at 0 and {saturated:.4f} at -5; ReLU's is 0 or 1"
    holds = steepest == 0.25 and saturated < 0.01 and set(slopes["ReLU"]) == {0.0, 1.0}
    numbers = {"sigmoid_slope_at_0": steepest, "sigmoid_slope_at_-5": saturated}
    return Findings(rows, numbers, measured, holds, draw)


def numerical(setup: Setup) -> Findings:
    """Central differences, and gradient descent by them."""
    setup.expect(101)
    x = np.arange(0.0, 20.0, 0.1)

    def curve(point: Array) -> float:
        return float(0.01 * point[0] ** 2 + 0.1 * point[0])

    slopes = {at: float(numerical_gradient(curve, np.array([at]))[0]) for at in (5.0, 10.0)}

    def bowl(point: Array) -> float:
        return float((point**2).sum())

    gradients = {
        str(at): numerical_gradient(bowl, np.array(at), h=1e-4).tolist()
        for at in ((3.0, 4.0), (0.0, 2.0), (3.0, 0.0))
    }
    setup.advance()
    path = [np.array([-3.0, 4.0])]
    for _ in range(100):
        path.append(path[-1] - 0.1 * numerical_gradient(bowl, path[-1].copy(), h=1e-4))
        setup.advance()
    rows: list[Row] = [{"step": i, "x0": p[0], "x1": p[1]} for i, p in enumerate(path)]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        left.plot(x, 0.01 * x**2 + 0.1 * x, label="0.01 x² + 0.1 x")
        for at, slope in slopes.items():
            here = 0.01 * at**2 + 0.1 * at
            left.plot(x, here + slope * (x - at), "--", label=f"tangent at {at:g}: {slope:.2f}")
        left.set(xlabel="x", ylabel="f(x)")
        left.legend(fontsize=9)
        points = np.stack(path)
        right.plot(*points.T, "o-", markersize=3, label="100 steps, rate 0.1")
        for radius in (1, 2, 3, 4, 5):
            angle = np.linspace(0, 2 * np.pi, 100)
            right.plot(radius * np.cos(angle), radius * np.sin(angle), ":", color="gray")
        right.set(xlabel="x0", ylabel="x1", aspect="equal", title="x0² + x1²")
        right.legend(fontsize=9)

    last = path[-1]
    printed = np.array([-6.11110793e-10, 8.14814391e-10])
    holds = bool(
        np.allclose(last, printed, rtol=1e-8, atol=0)
        and np.allclose(gradients["(3.0, 4.0)"], [6, 8], atol=1e-8)
        and np.allclose(gradients["(0.0, 2.0)"], [0, 4], atol=1e-8)
    )
    measured = f"the gradient at (3, 4) is (6, 8) to 8 digits; 100 steps end at {last}"
    return Findings(rows, {"gradients": gradients, "end": last}, measured, holds, draw)


_INITIAL: dict[str, InitializerLike] = {
    "std 1": {"name": "normal", "std": 1.0}, "std 0.01": {"name": "normal", "std": 0.01},
    "Xavier": {"name": "xavier_normal", "mode": "in"}, "He": "he_normal",
}  # fmt: skip


def activation_histograms(setup: Setup) -> Findings:
    """What five layers of 100 make of standard normal inputs."""
    kinds: dict[str, Callable[[], Layer]] = {"sigmoid": Sigmoid, "ReLU": ReLU}
    setup.expect(len(kinds) * len(_INITIAL) * len(setup.seeds))
    spreads: dict[tuple[str, str, int], list[float]] = {}
    outer: dict[tuple[str, int], float] = {}
    layers: dict[tuple[str, str], list[Array]] = {}
    for seed in setup.seeds:
        for kind, make in kinds.items():
            for name, initial in _INITIAL.items():
                rng = np.random.default_rng(seed)
                x = rng.standard_normal((1000, 100))
                outputs = []
                for _ in range(5):
                    x = make().forward(x @ get_initializer(initial)(rng, (100, 100), 100, 100))
                    outputs.append(x)
                spreads[kind, name, seed] = [float(y.std()) for y in outputs]
                if kind == "sigmoid":
                    outer[name, seed] = float(np.mean((x < 0.1) | (x > 0.9)))
                layers.setdefault((kind, name), outputs)
                setup.advance()
    rows: list[Row] = [
        {"activation": kind, "init": name, "seed": seed, "layer": number, "std": spread}
        for (kind, name, seed), values in spreads.items()
        for number, spread in enumerate(values, start=1)
    ]

    def draw(figure: Any) -> None:
        figure.set_size_inches(10, 9)
        shown = [("sigmoid", "std 1"), ("sigmoid", "std 0.01"), ("sigmoid", "Xavier"),
                 ("ReLU", "std 0.01"), ("ReLU", "Xavier"), ("ReLU", "He")]  # fmt: skip
        grid = figure.subplots(len(shown), 5, sharex=True)
        for line, (kind, name) in zip(grid, shown, strict=True):
            for axes, values in zip(line, layers[kind, name], strict=True):
                axes.hist(values.ravel(), 30, range=(0, 1))
                axes.set_yticks([])
                if kind == "ReLU":
                    axes.set_ylim(0, 7000)  # half of all are 0, and would hide the rest
            line[0].set_ylabel(f"{kind}\n{name}", fontsize=9)
        for number, axes in enumerate(grid[0], start=1):
            axes.set_title(f"{number}-layer")
        figure.supxlabel("activation")

    piled = min(outer["std 1", seed] for seed in setup.seeds)
    flat = max(spreads["sigmoid", "std 0.01", seed][-1] for seed in setup.seeds)
    wide = min(spreads["sigmoid", "Xavier", seed][-1] for seed in setup.seeds)
    kept = min(spreads["ReLU", "He", s][-1] / spreads["ReLU", "He", s][0] for s in setup.seeds)
    faded = max(
        spreads["ReLU", "Xavier", s][-1] / spreads["ReLU", "Xavier", s][0] for s in setup.seeds
    )
    measured = (
        f"sigmoid, std 1: {100 * piled:.0f} % within 0.1 of 0 or 1; std 0.01: spread {flat:.3f}; "
        f"Xavier: spread {wide:.2f}; ReLU keeps {100 * kept:.0f} % of its spread with He's, "
        f"{100 * faded:.0f} % with Xavier's"
    )
    numbers = {"piled": piled, "std001": flat, "xavier": wide, "he": kept, "relu_xavier": faded}
    holds = piled > 0.6 and flat < 0.05 and wide > 0.08 and kept > 0.6 > faded
    return Findings(rows, numbers, measured, holds, draw)


def optimizer_paths(setup: Setup) -> Findings:
    """Thirty steps of each optimizer on x**2/20 + y**2, and Newton's one."""
    makers: dict[str, Callable[[], Optimizer]] = {
        "SGD": lambda: SGD(0.95), "Momentum": lambda: Momentum(0.1, 0.9),
        "Nesterov": lambda: Nesterov(0.1, 0.9), "AdaGrad": lambda: AdaGrad(1.5),
        "RMSProp": lambda: RMSProp(0.3, 0.9), "Adam": lambda: Adam(0.3),
    }  # fmt: skip
    setup.expect(len(makers) + 1)
    start, curvatures = np.array([-7.0, 2.0]), np.array([0.1, 2.0])
    paths: dict[str, Array] = {}
    for name, make in makers.items():
        dense = Dense(2, bias=False)
        dense.build((1,), np.float64)
        dense.weight.value = start[None]
        flat, optimizer = FlatParameters(dense), make()
        points = [start]
        for _ in range(30):
            dense.weight.grad = dense.weight.value * curvatures
            optimizer.step(flat)
            points.append(dense.weight.value[0].copy())
        paths[name] = np.stack(points)
        setup.advance()
    paths["Newton"] = newton_path(lambda p: curvatures * p, lambda p: np.diag(curvatures), start, 1)
    setup.advance()
    rows: list[Row] = [
        {"optimizer": name, "step": i, "x": p[0], "y": p[1], "f": p[0] ** 2 / 20 + p[1] ** 2}
        for name, path in paths.items() for i, p in enumerate(path)
    ]  # fmt: skip

    def draw(figure: Any) -> None:
        figure.set_size_inches(11, 5.2)
        x, y = np.meshgrid(np.linspace(-10, 10, 200), np.linspace(-5, 5, 200))
        grid = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
        for axes, (name, path) in zip(grid, paths.items(), strict=False):
            axes.contour(x, y, x**2 / 20 + y**2, levels=np.arange(0.5, 12, 1.5), linewidths=0.5)
            axes.plot(*path.T, "o-", color="C3", markersize=3, linewidth=1)
            axes.plot(0, 0, "k+")
            axes.set_title(name)
        grid[-1].set_axis_off()
        figure.supxlabel("x")
        figure.supylabel("y")

    turns = {name: int((np.diff(np.sign(path[:, 1])) != 0).sum()) for name, path in paths.items()}
    ends = {name: float(p[-1, 0] ** 2 / 20 + p[-1, 1] ** 2) for name, p in paths.items()}
    measured = (
        f"SGD crosses the valley {turns['SGD']} times, AdaGrad {turns['AdaGrad']}; f at the end: "
        + ", ".join(f"{name} {value:.1e}" for name, value in ends.items())
    )
    holds = turns["SGD"] > 3 * max(1, turns["AdaGrad"]) and ends["Newton"] < 1e-20
    return Findings(rows, {"crossings": turns, "ends": ends}, measured, holds, draw)


EXPERIMENTS = (
    Experiment(
        "perceptron", "Gates of perceptrons", "book, chapter 2",
        "AND, NAND and OR are one perceptron each, XOR takes two layers",
        "exact: all four truth tables", perceptron,
    ),
    Experiment(
        "activations", "Activation functions", "book, chapter 3",
        "a saturated sigmoid has hardly any slope, a rectifier all of it or none",
        "exact: slopes at the ends and in the middle", activations,
    ),
    Experiment(
        "numerical-gradient", "Numerical gradients and descent by them", "book, chapter 4",
        "the gradient of x0**2 + x1**2 at (3, 4) is (6, 8); 100 steps from (-3, 4) end at "
        "(-6.111e-10, 8.148e-10)",
        "exact, to the digits printed", numerical,
    ),
    Experiment(
        "activation-histograms", "Initial values and activations", "book, section 6.2",
        "sigmoids pile up at 0 and 1 with std 1, at one value with 0.01, and stay wide with "
        "Xavier's; rectifiers stay wide with He's",
        "of all seeds: in the last layer 60 % or more within 0.1 of the ends with std 1 (73 % or "
        "more seen), a spread below 0.05 with 0.01 (0.012) and above 0.08 with Xavier's (0.11), "
        "more than 60 % of the first layer's spread with He's (84 %), less with Xavier's (30 %); "
        "the 100,000 values of a layer leave each of these right to a few percent",
        activation_histograms,
    ),
    Experiment(
        "optimizer-paths", "Paths of the optimizers on x²/20 + y²", "book, section 6.1",
        "SGD zigzags across the valley where others turn along it; Newton's method needs one step",
        "exact: no chance is involved", optimizer_paths,
        {"start": [-7, 2], "steps": 30},
    ),
)  # fmt: skip
