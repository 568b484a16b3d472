"""Draws the pictures of the chapters by running the library, when the pages are built."""

import itertools
from pathlib import Path

import numpy as np
from draw_kernels import DRAWINGS
from matplotlib.figure import Figure
from reference import write_reference

from fastscratch import data, layers, losses, ops, optimizers, plots, training
from fastscratch.gradient_check import numerical_gradient

FOLDER = Path(__file__).resolve().parent / "_static" / "drawn"


def panels(rows, columns, width=3.2, height=2.8):
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def gates():
    """One line for AND and OR, two for XOR."""
    figure, axes = panels(1, 3)
    lines = {"AND": [1.4], "OR": [0.4], "XOR: two perceptrons": [0.4, 1.4]}
    truth = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "XOR: two perceptrons": (0, 1, 1, 0)}
    for ax, (name, sums) in zip(axes[0], lines.items(), strict=True):
        for (x1, x2), fires in zip(itertools.product((0, 1), repeat=2), truth[name], strict=True):
            ax.plot(x1, x2, "o" if fires else "x", color="C0" if fires else "C3", markersize=11)
        for total in sums:
            ax.plot([total + 0.4, -0.4], [-0.4, total + 0.4], "k--", linewidth=1)
        ax.set(title=name, xlim=(-0.4, 1.5), ylim=(-0.4, 1.5), xlabel="$x_1$", ylabel="$x_2$")
    return figure


def activations():
    """The three with kernels, and their derivatives as the backward passes give them."""
    figure, axes = panels(1, 3)
    x = np.linspace(-5, 5, 201)
    for ax, name in zip(axes[0], ("sigmoid", "tanh", "relu"), strict=True):
        y = getattr(ops, f"{name}_forward")(x)
        slope = getattr(ops, f"{name}_backward")(np.ones_like(x), y)
        ax.axhline(0, color="grey", linestyle=":", linewidth=1)
        ax.plot(x, y, label="forward")
        ax.plot(x, slope, "--", label="derivative")
        ax.set(title=name, ylim=(-1.2, 1.6), xlabel="x")
    axes[0, 0].legend(loc="upper left")
    return figure


def descent():
    """From (-3, 4) down x0**2 + x1**2: 20 of the 100 steps can be told apart."""
    figure, axes = panels(1, 1, 4.6, 4)
    ax = axes[0, 0]
    x, path = np.array([-3.0, 4.0]), []
    for _ in range(100):
        path.append(x)
        x = x - 0.1 * numerical_gradient(lambda at: (at**2).sum(), x)
    grid = np.linspace(-4.6, 4.6, 60)
    ax.contour(grid, grid, grid[:, None] ** 2 + grid**2, levels=10, cmap="Greys_r", linewidths=0.7)
    ax.plot(*np.array(path).T, "o-", markersize=4)
    ax.set(xlabel="$x_0$", ylabel="$x_1$", title=f"after 100 steps: ({x[0]:.1e}, {x[1]:.1e})")
    return figure


def learning():
    """A dense network on the digits that come with the package."""
    (x, t), test = data.load_digits()
    model = layers.Sequential(
        layers.Flatten(), layers.Dense(50), layers.ReLU(), layers.Dense(10), seed=0
    )
    trainer = training.Trainer(
        model, losses.SoftmaxCrossEntropy(), optimizers.SGD(0.1), batch_size=32, seed=0
    )
    return plots.learning_curve(trainer.fit(x, t, epochs=20, validation=test))


def paths():
    """The book's comparison: 30 steps down x**2/20 + y**2 from (-7, 2)."""
    rules = {
        "SGD, lr 0.95": lambda w, g, s, t: ops.sgd_update(w, g, lr=0.95),
        "Momentum, lr 0.1": lambda w, g, s, t: ops.momentum_update(w, s[0], g, gain=-0.1),
        "Adam, lr 0.3": lambda w, g, s, t: ops.adam_update(w, s[0], s[1], g, t=t, lr=0.3),
    }
    figure, axes = panels(1, 3)
    X, Y = np.meshgrid(np.linspace(-10, 10, 80), np.linspace(-5, 5, 80))
    for ax, (name, update) in zip(axes[0], rules.items(), strict=True):
        w, state, path = np.array([-7.0, 2.0]), np.zeros((2, 2)), []
        for t in range(1, 31):
            path.append(w.copy())
            update(w, w * np.array([0.1, 2.0]), state, t)
        ax.contour(X, Y, X**2 / 20 + Y**2, levels=np.arange(0.5, 8), cmap="Greys_r", linewidths=0.7)
        ax.plot(*np.array(path).T, "o-", color="C3", markersize=3)
        ax.set(title=name, xlabel="x", ylabel="y", xlim=(-10, 10), ylim=(-5, 5))
    return figure


def histograms():
    """What five layers of sigmoid make of normal numbers, by the deviation of the weights."""
    figure, axes = panels(3, 5, 2, 1.8)
    rows = zip(axes, (1.0, 0.01, 0.1), ("1", "0.01", r"$1/\sqrt{n}$"), strict=True)
    for row, deviation, name in rows:
        rng = np.random.default_rng(0)
        z = rng.standard_normal((1000, 100))
        for number, ax in enumerate(row, start=1):
            z = ops.sigmoid_forward(
                ops.dense_forward(z, deviation * rng.standard_normal((100, 100)))
            )
            ax.hist(z.ravel(), 30, range=(0, 1))
            ax.set_yticks([])
            ax.set_title(f"layer {number}", fontsize=9)
        row[0].set_ylabel(f"deviation {name}")
    return figure


def filters():
    """First filters of a small network on digits, before training and after."""
    (x, t), _ = data.load_digits()
    model = layers.Sequential(
        ("conv", layers.Conv2d(8, 3)), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(),
        layers.Dense(10), seed=0,
    )  # fmt: skip
    trainer = training.Trainer(
        model, losses.SoftmaxCrossEntropy(), optimizers.Adam(0.005), batch_size=32, seed=0
    )
    model.build(x.shape[1:])
    before = model["conv"].weight.value.copy()
    trainer.fit(x, t, epochs=15)
    figure, axes = panels(2, 8, 1.1, 1.1)
    for row, weights in zip(axes, (before, model["conv"].weight.value), strict=True):
        for ax, weight in zip(row, weights, strict=True):
            ax.imshow(weight[0], cmap="gray_r")
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("before")
    axes[1, 0].set_ylabel("after")
    return figure


CHAPTERS = (gates, activations, descent, learning, paths, histograms, filters)


def draw_all(*_):
    """Every picture that is not there yet, as SVG; ``rm -r docs/_static/drawn`` draws anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw in (*CHAPTERS, *DRAWINGS):
        path = FOLDER / f"{draw.__name__}.svg"
        if not path.exists():
            draw().savefig(path, metadata={"Date": None})
    write_reference()


def setup(app):
    # Before Sphinx looks which pages there are.
    app.connect("config-inited", draw_all)
    return {"parallel_read_safe": True}
