"""Fractional max pooling: an image shrinks by any factor, through windows that are drawn."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from fastscratch import ops
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Buffer
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape, image_shape
from fastscratch.layers.streams import stream
from fastscratch.types import Array


@register_layer
class FractionalMaxPool2d(Layer):
    """The largest element of each of some windows whose extents differ by one, drawn at each step.

    An image of H rows becomes one of ``floor(H/ratio)``. The steps between windows are whole
    numbers next to H/OH, in an order that is ``"random"``, or ``"pseudo"``-random: then they follow
    ``ceil(step*(i + u))`` with a random u, so that long and short ones alternate evenly. Where
    ``training`` is False, u is 1/2, and the windows are always the same.

    Source: B. Graham, "Fractional max-pooling", 2014. All images of a batch share their windows.

    Parameters
    ----------
    ratio : float or (float, float)
        By how much height and width shrink, each above 1.
    method : {"pseudo", "random"}
        How the steps are drawn.
    overlapping : bool
        Whether a window holds the first row (and column) of the next, too.
    backend : str, optional
        Which implementation to prefer.

    Attributes
    ----------
    step : Buffer of int64, shape ()
        Training steps so far.

    Raises
    ------
    ArgumentError
        If a ratio is not above 1, or the method is neither.
    ShapeError
        If the input is no image, or too small for one window.

    Examples
    --------
    >>> x = np.arange(36.0).reshape(1, 1, 6, 6)
    >>> FractionalMaxPool2d(1.5).forward(x)[0, 0]
    array([[ 7.,  9., 10., 11.],
           [19., 21., 22., 23.],
           [25., 27., 28., 29.],
           [31., 33., 34., 35.]])
    """

    step: Buffer

    def __init__(
        self,
        ratio: float | Sequence[float] = math.sqrt(2),
        *,
        method: Literal["pseudo", "random"] = "pseudo",
        overlapping: bool = True,
        backend: str | None = None,
    ) -> None:
        super().__init__(backend=backend)
        pair = tuple(ratio) if isinstance(ratio, Sequence) else (ratio, ratio)
        if len(pair) != 2 or not all(1 < number < math.inf for number in pair):
            raise ArgumentError(
                f"FractionalMaxPool2d: ratio must be a number above 1 or two, got {ratio!r}"
            )
        if method not in ("pseudo", "random"):
            raise ArgumentError(
                f'FractionalMaxPool2d: method must be "pseudo" or "random", got {method!r}'
            )
        self.ratio = pair
        self.method = method
        self.overlapping = overlapping

    @property
    def draws(self) -> bool:
        """Each training pass has other windows."""
        return True

    def _build(self, input_shape: Shape) -> Shape:
        channels, *extents = image_shape(input_shape)
        windows = [int(extent / number) for extent, number in zip(extents, self.ratio, strict=True)]
        for extent, count in zip(extents, windows, strict=True):
            if not 1 <= count <= extent - self.overlapping:
                raise ShapeError(
                    f"fractional pooling by {self.ratio} makes {count} windows of {extent} rows or "
                    "columns; pass a larger image or another ratio"
                )
        self.step = self.add_buffer("step", np.zeros((), np.int64))
        return (channels, *windows)

    def _forward(self, x: Array, training: bool) -> Array:
        assert self.output_shape is not None and self.seed is not None
        rng = None
        if training:
            rng = stream(self.seed, f"{self._dotted('windows')}:{int(self.step.value)}")
            self.step.value += 1
        rows, cols = (
            pooling_windows(extent, count, rng, self.method, self.overlapping)
            for extent, count in zip(x.shape[2:], self.output_shape[1:], strict=True)
        )
        y, argmax = ops.fractional_max_pool2d_forward(x, rows, cols)
        if training:
            self._saved = (argmax, x.shape)
        return y

    def _backward(self, dout: Array) -> Array:
        argmax, input_shape = self._saved
        return ops.fractional_max_pool2d_backward(dout, argmax, input_shape)


def pooling_windows(
    extent: int,
    count: int,
    rng: np.random.Generator | None = None,
    method: Literal["pseudo", "random"] = "pseudo",
    overlapping: bool = True,
) -> Array:
    """Where the windows along one axis begin and end; together they cover it.

    Parameters
    ----------
    extent : int
        Elements of the axis.
    count : int
        Windows: at most the extent, one less if they overlap.
    rng : numpy.random.Generator, optional
        What to draw with; None means the middle one of the pseudo-random choices.
    method : {"pseudo", "random"}
        How the steps between windows are drawn.
    overlapping : bool
        Whether a window holds the first element of the next, too.

    Returns
    -------
    ndarray of int64, shape (count, 2)
        The first element of each, and the one behind its last.

    Examples
    --------
    >>> pooling_windows(7, 4).tolist()
    [[0, 3], [2, 4], [3, 6], [5, 7]]
    >>> pooling_windows(7, 4, np.random.default_rng(0), "random", overlapping=False).tolist()
    [[0, 2], [2, 4], [4, 6], [6, 7]]
    """
    reach = extent - overlapping  # from the first window's beginning to the last one's next
    if rng is not None and method == "random":
        short, longer = divmod(reach, count)
        steps = np.full(count, short)
        steps[:longer] += 1
        edges = np.concatenate([[0], np.cumsum(rng.permutation(steps))])
    else:
        u = 0.5 if rng is None else rng.random()
        edges = np.ceil(reach / count * (np.arange(count + 1) + u)).astype(np.int64)
        edges -= edges[0]
        edges[-1] = reach  # in exact arithmetic it is
    return np.stack([edges[:-1], edges[1:] + overlapping], axis=1).astype(np.int64)
