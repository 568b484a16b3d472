"""Draws how the fast kernels work: boxes, arrows, few words."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

BLUE, GREEN, RED, GREY = "#a6c8e8", "#b5ddb0", "#f2b8a8", "#e6e6e6"


def canvas(width, height):
    """Axes in units of boxes, without a frame."""
    figure = Figure(figsize=(width * 0.62, height * 0.62))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    return figure, ax


def box(ax, x, y, width, height, text="", color=GREY, size=9):
    ax.add_patch(
        Rectangle((x, y), width, height, facecolor=color, edgecolor="black", linewidth=0.8)
    )
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)


def cells(ax, x, y, columns, rows, color, names=None):
    for row in range(rows):
        for column in range(columns):
            text = names(row, column) if names else ""
            box(ax, x + column, y + row, 1, 1, text, color, 8)


def arrow(ax, start, end, text="", side=(0, -0.25)):
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color="black"))
    middle = ((start[0] + end[0]) / 2 + side[0], (start[1] + end[1]) / 2 + side[1])
    ax.text(*middle, text, ha="center", va="center", fontsize=9)


def convolution():
    """A window of the input, times the filter, summed: one element of the output."""
    figure, ax = canvas(15, 5)
    cells(ax, 0.3, 0.6, 4, 4, GREY)
    cells(ax, 1.3, 0.6, 3, 3, BLUE)
    cells(ax, 6.3, 1.1, 3, 3, GREEN, lambda r, c: f"w{r}{c}")
    cells(ax, 11.5, 1.6, 2, 2, GREY)
    box(ax, 12.5, 1.6, 1, 1, "", RED)
    ax.text(5.3, 2.6, "*", fontsize=22, ha="center", va="center")
    arrow(ax, (9.6, 2.6), (11.2, 2.6), "+ bias")
    for x, text in ((2.3, "x: 4 x 4"), (7.8, "weight: 3 x 3"), (12.5, "y: 2 x 2")):
        ax.text(x, 0.3, text, ha="center", fontsize=9)
    return figure


def columns():
    """im2col: each window a row; what overlaps is there several times."""
    figure, ax = canvas(17, 5.4)
    cells(ax, 0.3, 0.8, 3, 3, GREY, lambda r, c: str(3 * r + c))
    rows = [(0, 1, 3, 4), (1, 2, 4, 5), (3, 4, 6, 7), (4, 5, 7, 8)]
    cells(ax, 5.3, 0.8, 4, 4, BLUE, lambda r, c: str(rows[r][c]))
    cells(ax, 11.0, 0.8, 1, 4, GREEN, lambda r, c: f"w{r}")
    cells(ax, 14.2, 0.8, 1, 4, RED, lambda r, c: f"y{r}")
    arrow(ax, (3.5, 2.3), (5.0, 2.3), "im2col")
    ax.text(10.1, 2.8, "@", fontsize=16, ha="center", va="center")
    arrow(ax, (12.3, 2.8), (13.9, 2.8))
    ax.text(7.3, 0.45, "columns: one window a row", ha="center", fontsize=9)
    ax.text(1.8, 4.3, "9 elements", ha="center", fontsize=9)
    ax.text(7.3, 5.15, "16 elements, element 4 in each row", ha="center", fontsize=9)
    return figure


def register_tile():
    """The tile of outputs that stays in registers while k runs."""
    figure, ax = canvas(17, 8.2)
    cells(ax, 0.6, 2.4, 5, 5, BLUE)
    for row in range(5):
        ax.text(0.3, 2.9 + row, f"r{row}", fontsize=8, ha="center", va="center")
    box(ax, 2.6, 2.4, 1, 5, "", "#6fa8dc")
    ax.text(3.1, 2.05, "a[:, k]", ha="center", fontsize=9)
    for column in range(2):
        box(ax, 8 + 4 * column, 0.5, 4, 1, f"b[k], vector {column}", GREEN)
        for row in range(5):
            box(ax, 8 + 4 * column, 2.4 + row, 4, 1, "accumulator", RED, 8)
    arrow(ax, (5.8, 4.9), (7.8, 4.9), "one element\nto all lanes", (0, -0.7))
    arrow(ax, (10, 1.55), (10, 2.35))
    arrow(ax, (14, 1.55), (14, 2.35))
    ax.text(8.5, 7.9, "each step of k: 2 loads, 5 broadcasts, 10 fused multiply-adds; "
            "no accumulator leaves its register", ha="center", fontsize=9)  # fmt: skip
    return figure


def blocks():
    """What stays where: the tile in registers, strips in L1, blocks in L2."""
    figure, ax = canvas(16, 5.4)
    sizes = (
        (0.3, 0.4, 15.4, 4.8, GREY, "memory: x, weight, y, each read or written once"),
        (1.0, 1.2, 12.0, 3.6, "#d5e6f5", "L2, 2 MB: a block of packed weights, the images' rows"),
        (1.7, 2.0, 8.4, 2.4, BLUE, "L1, 48 KB: a strip of weights, pixels of a few rows"),
        (2.4, 2.8, 4.8, 1.2, RED, "registers: the tile of y"),
    )
    for x, y, width, height, color, text in sizes:
        box(ax, x, y, width, height, "", color)
        ax.text(x + 0.2, y + 0.4, text, fontsize=9, va="center")
    return figure


def offsets():
    """One tile for every direction: two tables say where the elements lie."""
    figure, ax = canvas(17, 5.2)
    cells(ax, 0.4, 0.8, 6, 4, GREY)
    for row, column in ((0, 0), (0, 2), (0, 4)):
        box(ax, 0.4 + column, 0.8 + row, 1, 1, "r", BLUE)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        box(ax, 0.4 + column, 0.8 + row, 1, 1, "k", GREEN)
    box(ax, 0.4, 0.8, 1, 1, "r, k", "#8fc6c8")
    ax.text(3.4, 0.45, "x, as it lies in memory", ha="center", fontsize=9)
    box(ax, 8.4, 1.0, 7.8, 0.9, "row_offset: where each output's window begins", BLUE)
    box(ax, 8.4, 2.3, 7.8, 0.9, "k_offset: where each tap lies in a window", GREEN)
    ax.text(
        12.3,
        3.9,
        "a = x[row_offset[r] + k_offset[k]]",
        ha="center",
        fontsize=10,
        family="monospace",
    )
    ax.text(12.3, 4.6, "stride, dilation, the way back: other tables, the same code",
            ha="center", fontsize=9)  # fmt: skip
    return figure


def winograd():
    """F(2x2, 3x3): 16 products where the plain sum has 36."""
    figure, ax = canvas(18, 6.2)
    cells(ax, 0.3, 0.6, 4, 4, BLUE)
    cells(ax, 7.0, 0.6, 4, 4, BLUE)
    cells(ax, 14.5, 1.6, 2, 2, RED)
    arrow(ax, (4.5, 2.6), (6.8, 2.6), "adds only")
    arrow(ax, (11.3, 2.6), (14.2, 2.6), "16 products,\nthen adds", (0, -0.6))
    ax.text(2.3, 0.3, "x: 4 x 4", ha="center", fontsize=9)
    ax.text(9.0, 0.3, "x, transformed", ha="center", fontsize=9)
    ax.text(15.5, 1.3, "y: 2 x 2", ha="center", fontsize=9)
    box(ax, 6.0, 5.0, 6.0, 0.9, "weights, transformed once a call", GREEN)
    arrow(ax, (12.2, 5.4), (12.9, 3.2))
    return figure


def threads():
    """Work is cut by its shape; who computes a job changes no bit."""
    figure, ax = canvas(16, 4.6)
    for rows, names, top in ((1, "0 0 0 0 0 0 0 0", 0.6), (2, "0 0 0 0 1 1 1 1", 2.6)):
        ax.text(0.3, top + 0.5, f"{rows} thread{'s' * (rows > 1)}", fontsize=9, va="center")
        for job, worker in enumerate(names.split()):
            color = BLUE if worker == "0" else GREEN
            box(ax, 2.6 + 1.6 * job, top, 1.6, 1, f"job {job}", color)
    ax.text(9, 2.1, "the same jobs, the same order of sums in each", ha="center", fontsize=9)
    ax.text(9, 4.1, "worker 0: blue, worker 1: green", ha="center", fontsize=9)
    return figure


DRAWINGS = (convolution, columns, register_tile, blocks, offsets, winograd, threads)
