"""Draws the pictures of the chapters by running the library, when the pages are built."""

from pathlib import Path

from draw_kernels import DRAWINGS
from matplotlib.figure import Figure
from reference import write_reference

from fastscratch import data, layers, losses, optimizers, plots, training

FOLDER = Path(__file__).resolve().parent / "_static" / "drawn"


def panels(rows, columns, width=3.2, height=2.8):
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


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


CHAPTERS = (learning, filters)


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
