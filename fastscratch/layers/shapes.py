"""Small questions about shapes that several layers ask."""

from typing import Any

import numpy as np

from fastscratch.errors import ShapeError
from fastscratch.types import Array, PaddingLike

Shape = tuple[int, ...]
"""Of one sample: without the batch axis."""


def checked_shape(shape: Any) -> Shape:
    """An input shape as a tuple of positive ints, or a ShapeError.

    Parameters
    ----------
    shape : sequence of int
        Without the batch axis.

    Returns
    -------
    tuple of int
    """
    try:
        checked = tuple(int(extent) for extent in shape)
    except TypeError:
        checked = ()
    if not checked or min(checked) < 1:
        raise ShapeError(
            "an input shape is a tuple of positive ints without the batch axis, such as "
            f"(1, 28, 28), got {shape!r}"
        )
    return checked


def blank(shape: Shape, dtype: Any) -> Array:
    """An array of zeros that takes no room, to ask an operation what it would return.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
        Read-only.
    """
    return np.broadcast_to(np.zeros((), dtype), shape)


def image_shape(input_shape: Shape) -> tuple[int, int, int]:
    """``(C, H, W)``, or a ShapeError if the input is no image.

    Parameters
    ----------
    input_shape : tuple of int
        Without the batch axis.

    Returns
    -------
    tuple of int
    """
    if len(input_shape) != 3:
        raise ShapeError(f"takes images (N, C, H, W), got (N, {', '.join(map(str, input_shape))})")
    channels, height, width = input_shape
    return channels, height, width


def hashable(padding: PaddingLike) -> PaddingLike:
    """Padding that a plan can be found by: a list (as JSON gives it) becomes a tuple.

    Parameters
    ----------
    padding : int, sequence or str

    Returns
    -------
    int, tuple or str
    """
    return tuple(padding) if isinstance(padding, list) else padding
