"""Draws the pictures of the chapters by running the library, when the pages are built."""

from pathlib import Path

from draw_kernels import BLUE, DRAWINGS, GREEN, GREY, RED, arrow, box, canvas
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


def graph():
    """Two apples and their tax: values above the arrows, gradients below them."""
    number, tax = layers.MultiplyNode(), layers.MultiplyNode()
    price = number.forward(100, 2)
    total = tax.forward(price, 1.1)
    dprice, dtax = tax.backward(1)
    dapple, dnumber = number.backward(dprice)
    figure, ax = canvas(17, 6.6)
    for x, y, text, color in (
        (0.4, 0.5, "apple", BLUE), (0.4, 3.0, "number", BLUE), (0.4, 4.9, "tax", BLUE),
        (6.3, 1.6, r"$\times$", GREY), (11.3, 1.6, r"$\times$", GREY), (15.2, 1.6, "total", GREEN),
    ):  # fmt: skip
        box(ax, x, y, 2.4 if color == BLUE else 1.4, 1.2, text, color, 10)
    for start, end, value, gradient in (
        ((2.9, 1.1), (6.2, 1.9), 100, dapple), ((2.9, 3.6), (6.2, 2.5), 2, dnumber),
        ((7.8, 2.2), (11.2, 2.2), price, dprice), ((2.9, 5.5), (11.2, 2.6), 1.1, dtax),
        ((12.8, 2.2), (15.1, 2.2), total, 1),
    ):  # fmt: skip
        arrow(ax, start, end, f"{value:.4g}", (0, -0.4))
        below = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.5)
        ax.text(*below, f"{gradient:.4g}", ha="center", va="center", fontsize=9, color="C3")
    ax.text(8.5, 6.3, "black: values, to the right; red: gradients, to the left: a product swaps "
            "its inputs", ha="center", fontsize=9)  # fmt: skip
    return figure


def structures():
    """Layers of a fully connected network, and of a convolutional one."""
    figure, ax = canvas(19, 5.2)
    rows = {
        "fully connected": ["Affine", "ReLU"] * 3 + ["Affine", "Softmax"],
        "convolutional": ["Conv", "ReLU", "Pool", "Affine", "ReLU", "Affine", "Softmax"],
    }
    colors = {"Affine": BLUE, "Conv": GREEN, "Pool": GREEN, "Softmax": RED}
    for y, (name, chain) in zip((0.8, 3.4), rows.items(), strict=True):
        ax.text(0.2, y - 0.25, name, fontsize=9)
        for number, layer in enumerate(chain):
            x = 0.2 + 2.35 * number
            box(ax, x, y, 1.75, 1.3, layer, colors.get(layer, GREY))
            if number:
                arrow(ax, (x - 0.6, y + 0.65), (x, y + 0.65))
    return figure


CHAPTERS = (learning, graph, structures, filters)


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
