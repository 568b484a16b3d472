"""Algorithms beside the direct one: what they serve, when they are preferred, how exact they are.

An algorithm is an entry of its own in the catalogue because it changes the numerics or serves only
some problems. It has the same name in every backend that has it: ``"cython:winograd2"``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from fastscratch.kernels import cython_ext
from fastscratch.kernels.geometry import pieces_of
from fastscratch.kernels.problem import DTYPES, Problem, WindowProblem

Accuracy = Literal["default", "fast"]

_VECTOR_BYTES = 64 if cython_ext.level == "avx512" else 32
"""Of a vector; without compiled kernels Numba's may be wider, and some of its choices slower."""


@dataclass(frozen=True)
class Algorithm:
    """One way to compute some operations, beside the direct one.

    Attributes
    ----------
    name : str
        What stands behind the colon: ``"winograd2"``.
    module : str
        The basename of the file that holds it, in every backend.
    functions : mapping of str to str
        The function's name, by operation; its signature is that of the operation's kernels.
    backends : tuple of str
        The backends that have it.
    supports : callable
        Whether it can serve a problem.
    prefers : callable
        Whether it is chosen for a problem that it can serve, where no algorithm is named: a pure
        function of the problem, so that the same call gives the same bits.
    accuracy : {"default", "fast"}
        "fast": only chosen, where it is not named, inside of ``accuracy("fast")``.
    tolerance_factor : float
        How far its results may differ from the reference, in units of the table of tolerances.
    exact_integers : bool
        Whether results are exact for small integers.
    """

    name: str
    module: str
    functions: Mapping[str, str]
    backends: tuple[str, ...]
    supports: Callable[[Problem], bool]
    prefers: Callable[[Problem], bool]
    accuracy: Accuracy = "default"
    tolerance_factor: float = 1.0
    exact_integers: bool = True


_MOST_DILATION = 8
"""A block has at least a tile for each phase of the columns: this bounds its memory."""


_MOST_PIECES = 4
"""Along an axis; each of the sixteen has transforms of its own."""

_MOST_CHANNELS = 2**15
"""Of all pieces: a block has at least one tile, and this bounds its memory."""


def winograd2_supports(p: Problem) -> TypeGuard[WindowProblem]:
    """Windows that are cut into pieces of two or three taps."""
    return _transforms(p, (2, 3))


def gauss_supports(p: Problem) -> TypeGuard[WindowProblem]:
    """Windows that are cut into pieces of three or four taps."""
    return _transforms(p, (3, 4))


def winograd4_supports(p: Problem) -> TypeGuard[WindowProblem]:
    """Windows of 3x3 at stride 1."""
    return _transforms(p, (3,)) and p.kernel_size == (3, 3) and p.stride == (1, 1)


def _transforms(p: Problem, taps: tuple[int, ...]) -> TypeGuard[WindowProblem]:
    """Square windows over several channels, dilated by no more than 8, or strided; or lines.

    Lines are windows of a single row or column, at stride 1. A group of a single channel has
    nothing to sum at the points.
    """
    if not isinstance(p, WindowProblem):
        return False
    window, stride = max(p.kernel_size), p.stride[0]
    axes = p.kernel_size.count(window)
    dilations = (d for d, length in zip(p.dilation, p.kernel_size, strict=True) if length > 1)
    if p.stride != (stride, stride) or (axes == 1 and (min(p.kernel_size) > 1 or stride > 1)):
        return False
    length, pieces = pieces_of(window, stride)
    return (
        length in taps
        and pieces <= _MOST_PIECES
        and pieces**axes * max(_channels(p)) <= _MOST_CHANNELS
        and max(dilations, default=1) <= (_MOST_DILATION if stride == 1 else 1)
        and (p.groups == 1 or p.groups < p.C)
    )


def dense_supports(p: Problem) -> bool:
    """Windows as large as the image, without padding: each sees it all, as a dense layer does.

    Four such layers, in all directions: 1.3 to 40 times as fast as directly (one thread).
    """
    return (
        isinstance(p, WindowProblem)
        and p.kernel_size == (p.H, p.W)
        and not any(p.padding)
        and p.dilation == (1, 1)
        and p.groups == 1
    )


def winograd2_prefers(p: Problem) -> bool:
    """Enough channels on either side, and at least a fifth fewer multiplications.

    A tile saves multiplications for each pair of channels, and costs a transform for each channel.
    Narrow maps and few filters leave the direct algorithm's vectors half empty, so that less is
    enough there; and its own are half empty where the channels that it makes do not fill two
    vectors, or one. Measured with one thread, 3 to 256 channels, against the direct algorithm
    there: with two full vectors made and 16 channels summed 1.0 to 2.0 times as fast; on maps 14 or
    more wide, with 24 of 32 channels 0.7 to 1.0 times up to 24 summed ones, with fewer 0.2 to 1.1
    times; on narrower maps 0.7 to 1.9 times from 16 summed channels on. With one full vector made
    (16 channels at AVX-512) and as many summed it was 1.2 to 1.5 times on a processor with one such
    multiply-add a cycle; on those with two it was not measured. The weights' gradient: 0.9 to 2.0
    times from 16 channels of x on; with 3 or 5 filters 0.6 to 1.1 times on wide maps and 1.2 to 8.6
    times on narrow ones. A single tile does not pay for the transform of the weights (0.9 times).

    All but windows of 3x3 at stride 1 go by `_cost`.

    Dilated windows must save more, as the direct algorithm does not mind them: 1.1 to 1.5 times in
    the mean with 24 channels or more and three eighths fewer multiplications (0.8 to 1.8), 0.8 to
    1.1 times with 16 channels, 0.7 to 1.1 times where less is saved. What it needs for the gradient
    of an input goes by the outputs, what tiles need by the input.
    """
    if not winograd2_supports(p):
        return False
    if p.kernel_size != (3, 3) or p.stride != (1, 1):
        return _cost(p, 4) < _direct_cost(p)
    return _repays_transforms(p)


def _repays_transforms(p: WindowProblem) -> bool:
    """The same of 3x3 windows at stride 1."""
    OH, OW = p.outputs
    tiles, (channels, filters) = _tiles(p, 2), _channels(p)
    if max(p.dilation) > 1:
        return min(channels, filters) >= 24 and 16 * tiles <= 0.625 * 9 * p.N * OH * OW
    if tiles < 2 or 16 * tiles > 0.8 * 9 * p.N * math.prod(_made(p)):
        return False
    if p.op.endswith("backward_weight"):
        if filters >= 8:
            return channels >= 16
        return filters >= 3 and OW <= 16 and channels >= (8 if OW <= 8 else 16)
    summed, made = channels, filters
    if p.op.endswith("backward_input"):
        summed, made = made, summed
    if OW <= 8:
        return summed >= 16 and made >= (3 if OW <= 4 else 8)
    lanes = _VECTOR_BYTES // DTYPES[p.dtype].itemsize
    if made <= lanes:
        return made >= 16 and summed >= lanes
    if 4 * made < 3 * 2 * lanes:
        return made >= 16 and summed >= 4 * lanes
    return made >= 16 and summed >= (16 if made >= 2 * lanes else 2 * lanes)


def gauss_prefers(p: Problem) -> bool:
    """Windows that are not 3x3 at stride 1 by `_cost`, and those if their weights are used often.

    Of them it is where there is a fifth fewer multiplications than F(2x2) has. At the points their
    weights are three times as many: they must fit the cache, and be met by many tiles. What is won
    depends on how fast memory is, beside the arithmetic. With vectors of 64 bytes and memory of
    40 GB/s 1.2 times in the mean of 50 random shapes, the weights' gradient 1.15 times (0.95 to
    1.36; one thread). With memory of 5 GB/s and vectors of 16, 32 and 64 bytes it was 1.2, 1.1 and
    1.1 times (0.95 to 1.3), the weights' gradient 1.2, 1.0 and 0.9 times (0.75 to 1.6); there with
    192 channels 0.4 to 1.1 times, with 64 tiles 0.7 to 1.1 times. With one vector made and one
    summed it was 1.4 to 1.7 times as fast as directly, with one multiply-add a cycle. Groups of up
    to 64 channels are small problems that threads share out: 32 tiles of each are enough (1.2 to
    1.3 times).
    """
    if not gauss_supports(p):
        return False
    if p.kernel_size != (3, 3) or p.stride != (1, 1):
        cost = _cost(p, 6)
        return cost < _direct_cost(p) and not (winograd2_supports(p) and _cost(p, 4) < cost)
    channels, pairs, tiles = min(_channels(p)), math.prod(_channels(p)), _tiles(p, 4)
    few_weights = p.groups > 1 and tiles >= 32 and pairs <= 64 * 64
    if channels < 16 or pairs > 128 * 128 or (p.groups if few_weights else 1) * tiles < 128:
        return False
    return _repays_transforms(p) and 46 * tiles <= 0.8 * 16 * _tiles(p, 2)


_VALUE, _WEIGHT = {1: 10, 2: 14}, {1: 40, 2: 60}
"""What a value of a tile, or a weight, costs at a point: as much as so many multiply-adds. By the
axes that are transformed."""


def _cost(p: WindowProblem, values: int) -> float:
    """What points take, four or six on an axis, counted in multiply-adds of full vectors.

    What is zero is left out: a phase whose windows lack the last tap has nothing at infinity. The
    channels of a piece take up whole slices. On 460 random layers (strides of 2 to 4, up to 11x11
    large, and 2x2 windows; 3 to 256 channels, one thread and two, float32 and float64, a processor
    with one 512-bit multiply-add a cycle), a value cost what 8 to 17 multiply-adds do and a weight
    up to 113, and the gradient of a strided window's input took a fifth longer directly. Where it
    is chosen, all directions together, it was 0.78 to 2.8 times as fast as directly, 1.6 times in
    the mean, in 1 of 598 cases below 0.97. On 320 layers of 4x4 to 13x13 at stride 1 it was 0.90 to
    2.7 times, 1.7 in the mean, in 1 of 537 below 0.97; on 150 of a single row or column 0.80 to 6.3
    times, 1.3 in the mean, in 2 of 206 below 0.97.
    """
    window, stride = max(p.kernel_size), p.stride[0]
    taps, pieces = pieces_of(window, stride)
    axes = p.kernel_size.count(window)
    phases = p.op.endswith("backward_input") and stride > 1
    tiles = p.N
    for length, extent, pad, dilation in zip(
        p.kernel_size, _made(p), p.padding[::2], p.dilation, strict=True
    ):
        if length == 1:  # of a line
            tiles *= extent
            continue
        if phases:  # of an input, which have the same tiles
            extent = -(-(pad % stride + extent) // stride)
        tiles *= dilation * -(-extent // (dilation * (values + 1 - taps)))
    summed, made = _summed_and_made(p)
    if made < _VECTOR_BYTES // 4:
        return math.inf
    # Of real values, one is infinity; two that are complex are three products, or four parts six.
    real, places = 3 * pieces + window - pieces * (taps - 1), pieces if axes == 1 else pieces**2
    if values == 4:
        points, products = (4, real) if axes == 1 else (16, real**2)
    elif axes == 1:
        points, products = 7, real + 3 * pieces
    else:
        points, products = 46, real**2 + 6 * real * pieces + 6 * pieces**2
    if places > 1 and not phases and summed > 64 // DTYPES[p.dtype].itemsize:
        summed = _whole_slices(p, summed)  # from a piece to the next
    transformed = _whole_vectors(p, summed) * (1 if phases else places)
    transformed += _whole_vectors(p, made) * (places if phases else 1)
    cost = tiles * products * summed * _whole_vectors(p, made)
    cost += tiles * points * transformed * _VALUE[axes]
    return cost + points * places * summed * made * _WEIGHT[axes]


def _direct_cost(p: WindowProblem) -> float:
    """What the direct sum takes, likewise: with vectors of channels, or of the pixels of rows."""
    summed, made = _summed_and_made(p)
    lanes, columns = _VECTOR_BYTES // DTYPES[p.dtype].itemsize, _made(p)[1]
    computed = float(_whole_vectors(p, made))
    if not p.op.endswith("backward_weight"):
        computed = min(computed, 13 / 12 * made * -(-columns // lanes) * lanes / columns)
    cost = math.prod(p.kernel_size) * p.N * math.prod(p.outputs) * summed * computed
    strided = p.stride != (1, 1) and p.op.endswith("backward_input")
    return 1.2 * cost if strided else cost


def _summed_and_made(p: WindowProblem) -> tuple[int, int]:
    """Channels of a group that a product sums, and those that it makes."""
    channels, filters = _channels(p)
    return (filters, channels) if p.op.endswith("backward_input") else (channels, filters)


def _whole_slices(p: WindowProblem, channels: int) -> int:
    """Channels that are transformed together take up a line of the cache."""
    side = 64 // DTYPES[p.dtype].itemsize
    return -(-channels // side) * side


def _whole_vectors(p: WindowProblem, channels: int) -> int:
    lanes = _VECTOR_BYTES // DTYPES[p.dtype].itemsize
    return -(-channels // lanes) * lanes


def winograd4_prefers(p: Problem) -> bool:
    """Where it has a quarter fewer multiplications than F(2x2), and tiles enough for its weights.

    Below 32 tiles their transform takes longer than is saved (0.5 to 1.1 times as fast as F(2x2)).
    """
    if not isinstance(p, WindowProblem) or min(_channels(p)) < 16:
        return False
    return _tiles(p, 4) >= 32 and 36 * _tiles(p, 4) <= 0.75 * 16 * _tiles(p, 2)


def _channels(p: WindowProblem) -> tuple[int, int]:
    """Channels of the input and of the output that a group has."""
    return p.C // p.groups, p.OC // p.groups


def _made(p: WindowProblem) -> tuple[int, int]:
    """The extents of what is cut into tiles."""
    return (p.H, p.W) if p.op.endswith("backward_input") else p.outputs


def _tiles(p: WindowProblem, m: int) -> int:
    """Tiles of m x m of all images, or of the phases that dilated windows see."""
    tiles = p.N
    for extent, dilation in zip(_made(p), p.dilation, strict=True):
        tiles *= dilation * -(-extent // (dilation * m))
    return tiles


_CONVOLUTIONS = ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")


def _transform(
    name: str,
    supports: Callable[[Problem], bool],
    prefers: Callable[[Problem], bool],
    **promises: Any,
) -> Algorithm:
    functions = {op: op.replace("conv2d", name) for op in _CONVOLUTIONS}
    return Algorithm(
        name,
        "conv2d_winograd",
        functions,
        ("cython", "numba"),
        supports,
        prefers,
        **promises,
    )


ALGORITHMS = (
    Algorithm(
        "dense", "dense", {op: op.replace("conv2d", "whole") for op in _CONVOLUTIONS},
        ("cython", "numba"), dense_supports, dense_supports,
    ),
    _transform(
        "winograd4", winograd4_supports, winograd4_prefers,
        accuracy="fast", tolerance_factor=8.0, exact_integers=False,
    ),
    _transform("gauss", gauss_supports, gauss_prefers),
    # The nine gradients of a tile of 3x3 are added up before they are multiplied: where there is
    # but one tile, the weights' gradient was up to 1.15 times the table off.
    _transform("winograd2", winograd2_supports, winograd2_prefers, tolerance_factor=1.25),
)  # fmt: skip
"""Best first; the direct algorithm, which serves everything, stands behind them."""

TRANSFORMED = frozenset(op for algorithm in ALGORITHMS for op in algorithm.functions)
"""Operations that have more than the direct algorithm, which has a name there."""
