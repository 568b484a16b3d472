"""Window arithmetic: output sizes, pairs, padding, and the offset of an element in a window.

Along one axis an array of extent ``H`` is seen through windows of ``K`` elements, ``D`` apart, that
start every ``S`` elements, the first one ``before`` elements ahead of the array::

    ih = oh*S - before + kh*D              0 <= oh < OH,  0 <= kh < K
    OH = (H + before + after - D*(K - 1) - 1)/S + 1
"""

from typing import Any

import numpy as np

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.types import Array, IntOrPair, Padding, PaddingLike, Pair

ROUNDINGS = ("exact", "floor", "ceil")
_MOST = 2**31 - 1
"""The largest extent, stride, padding or dilation, and window: kernels count elements in an int."""
_MOST_PADDED = 2**34
"""Elements of a padded plane: beyond any memory, and far below where addresses wrap around."""


def as_pair(value: IntOrPair, name: str, op: str, *, minimum: int = 1) -> Pair:
    """``value`` as ``(height, width)``, checked."""
    try:
        pair = tuple(value) if not isinstance(value, int | np.integer) else (value, value)
    except TypeError:
        raise ArgumentError(
            f"{op}: {name} must be an int or a pair of ints, got {value!r}"
        ) from None
    if len(pair) != 2 or not all(_is_int(v) for v in pair):
        raise ArgumentError(f"{op}: {name} must be an int or a pair of ints, got {value!r}")
    if min(pair) < minimum:
        raise ArgumentError(f"{op}: {name} must be {minimum} or more, got {value!r}")
    return int(pair[0]), int(pair[1])


def pieces_of(window: int, stride: int) -> tuple[int, int]:
    """Taps of the pieces that Winograd's transforms cut a window into, and how many they are.

    A strided window sees each phase of an image through every n-th tap. At stride 1 a window of
    more than four taps is cut into some that are side by side. Some pieces lack the last tap.
    """
    taps = -(-window // stride)
    if stride > 1:
        return taps, stride
    if taps > 4:
        taps = 3 if window in (5, 6, 9) else 4
    return taps, -(-window // taps)


def as_padding(
    padding: PaddingLike, extents: Pair, kernel_size: Pair, stride: Pair, dilation: Pair, op: str
) -> Padding:
    """``padding`` as ``(top, bottom, left, right)``.

    ``"valid"`` is none; ``"same"`` gives ``ceil(H/S)`` windows, the odd pixel at the end.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0, 0, 0
        if padding == "same":
            top, bottom = _same_padding(extents[0], kernel_size[0], stride[0], dilation[0])
            left, right = _same_padding(extents[1], kernel_size[1], stride[1], dilation[1])
            return top, bottom, left, right
        raise ArgumentError(
            f'{op}: padding must be an int, a pair, four ints, "same" or "valid", got {padding!r}'
        )
    if _is_int(padding):
        values: tuple[Any, ...] = (padding,) * 4
    else:
        try:
            values = tuple(padding)  # type: ignore[arg-type]
        except TypeError:
            values = ()
        if len(values) == 2:
            values = (values[0], values[0], values[1], values[1])
    if len(values) != 4 or not all(_is_int(v) for v in values):
        raise ArgumentError(
            f"{op}: padding must be an int, (height, width), (top, bottom, left, right), "
            f'"same" or "valid", got {padding!r}'
        )
    if min(values) < 0:
        raise ArgumentError(f"{op}: padding must not be negative, got {padding!r}")
    top, bottom, left, right = (int(v) for v in values)
    return top, bottom, left, right


def output_size(
    extent: int,
    kernel: int,
    stride: int,
    before: int,
    after: int,
    dilation: int = 1,
    rounding: str = "exact",
    *,
    op: str = "window",
    axis: str = "height",
) -> int:
    """Number of windows along one axis: ``(H + P - D*(K - 1) - 1)/S + 1``.

    Parameters
    ----------
    extent, kernel, stride, before, after, dilation : int
        ``H``, ``K``, ``S``, the two halves of ``P``, and ``D``.
    rounding : {"exact", "floor", "ceil"}
        What a remainder does: an error, a window fewer, a window more (unless that window would
        start beyond the array and its leading padding).
    op, axis : str
        Words for the error message.

    Returns
    -------
    int
        One or more.

    Raises
    ------
    ShapeError
        If the window is larger than the padded array, or leaves a remainder under ``"exact"``.

    Examples
    --------
    >>> output_size(28, 5, 1, 0, 0)
    24
    >>> output_size(112, 3, 2, 0, 0, rounding="ceil")
    56
    """
    if rounding not in ROUNDINGS:
        raise ArgumentError(f'{op}: rounding must be "exact", "floor" or "ceil", got {rounding!r}')
    reach = dilation * (kernel - 1) + 1
    room = extent + before + after - reach
    what = f"{op}: input {axis} {extent} with kernel {kernel}, stride {stride}"
    if dilation != 1:
        what += f", dilation {dilation}"
    what += f", padding {before}" if before == after else f", padding ({before}, {after})"
    if extent < 1 or room < 0:
        raise ShapeError(
            f"{what}: the window reaches over {reach} elements and only {extent + before + after} "
            "are there; pass a larger input, more padding=… or a smaller kernel"
        )
    steps, remainder = divmod(room, stride)
    if remainder:
        if rounding == "exact":
            raise ShapeError(f'{what} leaves a remainder; pass padding=… or rounding="floor"')
        if rounding == "ceil" and (steps + 1) * stride < extent + before:
            steps += 1
    return steps + 1


def output_extents(
    extents: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    rounding: str = "exact",
    *,
    op: str = "window",
) -> Pair:
    """`output_size` along the height and the width."""
    H, W = extents[0] + padding[0] + padding[1], extents[1] + padding[2] + padding[3]
    largest = max(H, W, *stride, *dilation, kernel_size[0] * kernel_size[1])
    if largest > _MOST or H * W > _MOST_PADDED:
        raise ShapeError(
            f"{op}: input {extents} with kernel {kernel_size}, stride {stride}, padding {padding}, "
            f"dilation {dilation} is out of range: none may exceed {_MOST}, nor the elements of "
            f"a window, and the padded input may have {_MOST_PADDED} elements; pass smaller ones"
        )
    return (
        output_size(
            extents[0], kernel_size[0], stride[0], padding[0], padding[1], dilation[0], rounding,
            op=op, axis="height",
        ),
        output_size(
            extents[1], kernel_size[1], stride[1], padding[2], padding[3], dilation[1], rounding,
            op=op, axis="width",
        ),
    )  # fmt: skip


def infer_rounding(
    extents: Pair, outputs: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> str | None:
    """The rounding under which windows over ``extents`` are ``outputs`` many; None if none is."""
    for rounding in ROUNDINGS:
        try:
            found = output_extents(extents, kernel_size, stride, padding, dilation, rounding)
        except ShapeError:
            continue
        if found == tuple(outputs):
            return rounding
    return None


def window_counts(
    extent: int, outputs: int, kernel: int, stride: int, before: int, dilation: int = 1
) -> Array:
    """For each window along one axis, how many of its elements lie inside the array.

    >>> window_counts(4, 4, 3, 1, 1).tolist()
    [2, 3, 3, 2]
    """
    positions = window_positions(outputs, kernel, stride, before, dilation)
    return np.asarray(((positions >= 0) & (positions < extent)).sum(axis=1))


def window_positions(
    outputs: int, kernel: int, stride: int, before: int, dilation: int = 1
) -> Array:
    """``ih = oh*S - before + kh*D`` as an array over ``(oh, kh)``."""
    return np.asarray(
        np.arange(outputs)[:, None] * stride - before + np.arange(kernel)[None, :] * dilation
    )


def flat_index(
    argmax: Array,
    input_shape: tuple[int, ...],
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """A window's argmax as an index into the flattened input plane, as PyTorch gives it.

    Parameters
    ----------
    argmax : ndarray of int, shape (N, C, OH, OW)
        ``kh*KW + kw``, as `fastscratch.ops.max_pool2d_forward` returns it.
    input_shape : tuple of int
        ``(N, C, H, W)``.
    kernel_size, stride, padding, dilation
        As they were given to the forward pass.

    Returns
    -------
    ndarray of int64, shape (N, C, OH, OW)
        ``ih*W + iw``.

    Examples
    --------
    >>> flat_index(np.array([[[[3]]]], dtype=np.uint8), (1, 1, 2, 2), 2).item()
    3
    """
    op = "flat_index"
    kernel = as_pair(kernel_size, "kernel_size", op)
    step = kernel if stride is None else as_pair(stride, "stride", op)
    spread = as_pair(dilation, "dilation", op)
    top, _, left, _ = as_padding(
        padding, (input_shape[2], input_shape[3]), kernel, step, spread, op
    )
    kh, kw = np.divmod(argmax.astype(np.int64), kernel[1])
    oh, ow = np.ogrid[: argmax.shape[2], : argmax.shape[3]]
    ih = oh * step[0] - top + kh * spread[0]
    iw = ow * step[1] - left + kw * spread[1]
    return np.asarray(ih * input_shape[3] + iw)


def argmax_dtype(kernel_size: Pair) -> np.dtype[Any]:
    """The dtype that holds a window offset: uint8 for up to 256 elements, int32 above."""
    return np.dtype(np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> Pair:
    reach = dilation * (kernel - 1) + 1
    total = max((-(-extent // stride) - 1) * stride + reach - extent, 0)
    return total // 2, total - total // 2


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
