"""What an operation is asked to compute, in one written form.

A problem is everything that matters to the choice and the speed of a kernel, and nothing else::

    conv2d_forward:f32:n8c64h56w56:oc128k3s2p1
    max_pool2d_backward:f64:n2c3h7w9:k3x2s2p1x0ceil
    dense_forward:f32:n100i784:o50
    relu_forward:f32:n100x30x24x24
    batch_norm_forward:f32:n100c30s576
    conv2d_relu_max_pool2d_forward:f32:n100c1h28w28:oc30k5s1p0m2
    fractional_max_pool2d_forward:f32:n100c30h24w24:oh16ow16

Operations on single elements are posed by the shape of their arrays, whatever its axes mean; those
on rows (N, C), and on channels (N, C, S) with S pixels, by these extents, ``s`` left out at 1.

Pairs are ``h x w`` and shrink to one number where both agree; padding is one number, ``h x w`` or
``top x bottom x left x right``. ``d`` (dilation) and ``g`` (groups) are left out at 1; ``m`` is the
window of the max pooling behind a convolution, whose remainders are left out; and a word
closes the form where windows do not fit exactly (``floor``, ``ceil``) or where average pooling
leaves the padding out of its divisor (``nopad``).
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastscratch.errors import ArgumentError
from fastscratch.kernels.geometry import ROUNDINGS, output_extents
from fastscratch.types import Padding, Pair

DTYPES: dict[str, np.dtype[Any]] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
"""The dtypes that the library computes with, by their short name."""

DENSE_OPS = ("dense_forward", "dense_backward_input", "dense_backward_weight")
CONV_OPS = ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")
CONV_POOL_OPS = (
    "conv2d_relu_max_pool2d_forward", "conv2d_relu_max_pool2d_backward_weight",
)  # fmt: skip
MAX_POOL_OPS = ("max_pool2d_forward", "max_pool2d_backward")
AVG_POOL_OPS = ("avg_pool2d_forward", "avg_pool2d_backward")
COLUMN_OPS = ("im2col", "col2im")
ACTIVATION_OPS = (
    "relu_forward", "relu_backward", "sigmoid_forward", "sigmoid_backward",
    "tanh_forward", "tanh_backward",
)  # fmt: skip
RECTIFIER_OPS = ("leaky_relu_forward", "leaky_relu_backward", "elu_forward", "elu_backward")
PRELU_OPS = ("prelu_forward", "prelu_backward")
FRACTIONAL_POOL_OPS = ("fractional_max_pool2d_forward", "fractional_max_pool2d_backward")
LOSS_OPS = ("softmax_cross_entropy_forward", "softmax_cross_entropy_backward")
UPDATE_OPS = (
    "sgd_update", "momentum_update", "nesterov_update", "adagrad_update", "rmsprop_update",
    "adam_update", "squared_norm",
)  # fmt: skip
BATCH_NORM_OPS = (
    "batch_norm_forward", "batch_norm_inference", "batch_norm_backward",
    "batch_norm_relu_forward", "batch_norm_relu_backward",
)  # fmt: skip
SUM_OPS = ("add_forward", "add_relu_forward")
DROPOUT_OPS = ("dropout_forward", "dropout_backward")
ELEMENT_OPS = ACTIVATION_OPS + RECTIFIER_OPS + SUM_OPS + UPDATE_OPS + DROPOUT_OPS
CHANNEL_OPS = LOSS_OPS + BATCH_NORM_OPS + PRELU_OPS
FAMILIES = (
    CONV_OPS, CONV_POOL_OPS, MAX_POOL_OPS, AVG_POOL_OPS, DENSE_OPS, COLUMN_OPS, ACTIVATION_OPS,
    RECTIFIER_OPS, PRELU_OPS, FRACTIONAL_POOL_OPS, SUM_OPS, LOSS_OPS, UPDATE_OPS, BATCH_NORM_OPS,
    DROPOUT_OPS,
)  # fmt: skip
"""Every operation, by the form of its problems."""


@dataclass(frozen=True)
class ElementsProblem:
    """Something done to every element by itself."""

    op: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.op}:{self.dtype}:n{'x'.join(map(str, self.shape))}"


@dataclass(frozen=True)
class ChannelsProblem:
    """Something done to rows of C classes, or to C channels of S pixels in each of N samples."""

    op: str
    dtype: str
    N: int
    C: int
    S: int = 1

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.N * self.C * self.S

    def __str__(self) -> str:
        pixels = f"s{self.S}" if self.S != 1 else ""
        return f"{self.op}:{self.dtype}:n{self.N}c{self.C}{pixels}"


@dataclass(frozen=True)
class RegionsProblem:
    """A grid of ``OH x OW`` windows, each of its own extent, over images."""

    op: str
    dtype: str
    N: int
    C: int
    H: int
    W: int
    OH: int
    OW: int

    def __str__(self) -> str:
        images = f"n{self.N}c{self.C}h{self.H}w{self.W}"
        return f"{self.op}:{self.dtype}:{images}:oh{self.OH}ow{self.OW}"


@dataclass(frozen=True)
class DenseProblem:
    """A dense product: ``N`` rows from ``in_features`` to ``out_features``."""

    op: str
    dtype: str
    N: int
    in_features: int
    out_features: int

    def __str__(self) -> str:
        return f"{self.op}:{self.dtype}:n{self.N}i{self.in_features}:o{self.out_features}"


@dataclass(frozen=True)
class WindowProblem:
    """Windows over images: convolution, pooling, and the columns of im2col."""

    op: str
    dtype: str
    N: int
    C: int
    H: int
    W: int
    kernel_size: Pair
    OC: int = 0
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    rounding: str = "exact"
    count_include_pad: bool = True
    pool: Pair = (1, 1)

    @property
    def outputs(self) -> Pair:
        """``(OH, OW)``."""
        return output_extents(
            (self.H, self.W), self.kernel_size, self.stride, self.padding, self.dilation,
            self.rounding, op=self.op,
        )  # fmt: skip

    @property
    def pooled(self) -> Pair:
        """``(OH, OW)`` after the max pooling behind a convolution."""
        return self.outputs[0] // self.pool[0], self.outputs[1] // self.pool[1]

    def __str__(self) -> str:
        text = f"{self.op}:{self.dtype}:n{self.N}c{self.C}h{self.H}w{self.W}:"
        text += f"oc{self.OC}" if self.op in CONV_OPS + CONV_POOL_OPS else ""
        text += f"k{_short(self.kernel_size)}s{_short(self.stride)}p{_short_padding(self.padding)}"
        text += f"d{_short(self.dilation)}" if self.dilation != (1, 1) else ""
        text += f"g{self.groups}" if self.groups != 1 else ""
        text += f"m{_short(self.pool)}" if self.op in CONV_POOL_OPS else ""
        text += self.rounding if self.rounding != "exact" else ""
        return text + ("" if self.count_include_pad else "nopad")


Problem = DenseProblem | WindowProblem | ElementsProblem | ChannelsProblem | RegionsProblem


def parse_problem(text: str) -> Problem:
    """Read a problem from its written form.

    Parameters
    ----------
    text : str
        Such as ``"conv2d_forward:f32:n8c64h56w56:oc128k3s2p1floor"``.

    Returns
    -------
    Problem
        Of the class that its operation has.

    Raises
    ------
    ArgumentError
        If the text is not of that form; the message shows the form.

    Examples
    --------
    >>> problem = parse_problem("max_pool2d_forward:f32:n100c30h24w24:k2s2p0")
    >>> problem.outputs
    (12, 12)
    >>> str(problem)
    'max_pool2d_forward:f32:n100c30h24w24:k2s2p0'
    """
    op, *rest = text.strip().split(":")
    every = [name for family in FAMILIES for name in family]
    if op not in every:
        raise ArgumentError(
            f"problem {text!r}: unknown operation {op!r}; one of {', '.join(every)}"
        )
    if op in ELEMENT_OPS + CHANNEL_OPS:
        return _parse_extents(text, op, rest)
    if op in FRACTIONAL_POOL_OPS:
        return _parse_regions(text, op, rest)
    if op in DENSE_OPS:
        form, needed, optional = f"{op}:f32:n100i784:o50", "n i o", ""
    elif op in CONV_OPS:
        form, needed, optional = f"{op}:f32:n8c64h56w56:oc128k3s1p1", "n c h w oc k", "s p d g"
    elif op in CONV_POOL_OPS:
        form, needed, optional = f"{op}:f32:n100c1h28w28:oc30k5m2", "n c h w oc k m", "s p d g"
    else:
        form, needed = f"{op}:f32:n8c64h56w56:k2s2p0", "n c h w k"
        optional = "s p" if op in AVG_POOL_OPS else "s p d"
    if len(rest) != 3 or rest[0] not in DTYPES:
        raise ArgumentError(f"problem {text!r} is not of the form {form}")
    words, numbers = _tokens(rest[1], rest[2])
    wrong = (set(needed.split()) - numbers.keys()) | (
        numbers.keys() - set(needed.split()) - set(optional.split())
    )
    allowed = set() if op in DENSE_OPS else {"floor"} if op in COLUMN_OPS else {"floor", "ceil"}
    allowed |= {"nopad"} if op in AVG_POOL_OPS else set()
    if wrong or set(words) - allowed or {"floor", "ceil"} <= set(words):
        raise ArgumentError(f"problem {text!r} is not of the form {form}")
    try:
        if op in DENSE_OPS:
            N, in_features, out_features = (_one(numbers[name]) for name in "nio")
            if min(in_features, out_features) < 1:
                raise ArgumentError(f"problem {text!r}: i and o are 1 or more")
            return DenseProblem(op, rest[0], N, in_features, out_features)
        kernel_size = _pair(numbers["k"])
        default_stride = kernel_size if op in MAX_POOL_OPS + AVG_POOL_OPS else (1, 1)
        N, C, H, W = (_one(numbers[name]) for name in "nchw")
        problem = WindowProblem(
            op, rest[0], N, C, H, W, kernel_size,
            OC=_one(numbers.get("oc", (0,))),
            stride=_pair(numbers["s"]) if "s" in numbers else default_stride,
            padding=_padding(numbers.get("p", (0,))),
            dilation=_pair(numbers.get("d", (1,))),
            groups=_one(numbers.get("g", (1,))),
            rounding=next((word for word in words if word in ROUNDINGS), "exact"),
            count_include_pad="nopad" not in words,
            pool=_pair(numbers.get("m", (1,))),
        )  # fmt: skip
    except ValueError:
        raise ArgumentError(f"problem {text!r} is not of the form {form}") from None
    sizes = problem.kernel_size + problem.stride + problem.dilation + problem.pool
    if min(*sizes, problem.groups) < 1:
        raise ArgumentError(f"problem {text!r}: k, s, d, g and m are 1 or more")
    convolves = op in CONV_OPS + CONV_POOL_OPS
    if problem.C < 1 or (convolves and problem.OC < 1):
        raise ArgumentError(f"problem {text!r}: c and oc are 1 or more")
    if convolves and (problem.C % problem.groups or problem.OC % problem.groups):
        raise ArgumentError(f"problem {text!r}: c and oc must be multiples of g")
    # Raises a ShapeError where no window fits.
    if min(problem.pooled) < 1:
        raise ArgumentError(f"problem {text!r}: no window of m fits the outputs")
    return problem


def _parse_extents(text: str, op: str, rest: list[str]) -> ElementsProblem | ChannelsProblem:
    """The problem of an operation on elements, rows or channels."""
    form = "n100x30x24x24" if op in ELEMENT_OPS else "n100c10" if op in LOSS_OPS else "n100c30s576"
    words, numbers = _tokens(*rest[1:])
    needed, allowed = {"n"}, {"n"}
    if op in CHANNEL_OPS:
        needed, allowed = {"n", "c"}, {"n", "c"} if op in LOSS_OPS else {"n", "c", "s"}
    fits = len(rest) == 2 and rest[0] in DTYPES and not words
    if not fits or not needed <= numbers.keys() <= allowed:
        raise ArgumentError(f"problem {text!r} is not of the form {op}:f32:{form}")
    if op in ELEMENT_OPS:
        return ElementsProblem(op, rest[0], numbers["n"])
    if any(len(extents) != 1 for extents in numbers.values()) or not numbers["c"][0]:
        raise ArgumentError(f"problem {text!r} is not of the form {op}:f32:{form}")
    return ChannelsProblem(op, rest[0], *(_one(numbers.get(name, (1,))) for name in "ncs"))


def _parse_regions(text: str, op: str, rest: list[str]) -> RegionsProblem:
    """The problem of windows that have an extent each."""
    words, numbers = _tokens(*rest[1:])
    wanted = ("n", "c", "h", "w", "oh", "ow")
    fits = len(rest) == 3 and rest[0] in DTYPES and not words and numbers.keys() == set(wanted)
    if not fits or any(len(extents) != 1 for extents in numbers.values()):
        raise ArgumentError(f"problem {text!r} is not of the form {op}:f32:n1c3h9w9:oh6ow6")
    N, C, H, W, OH, OW = (_one(numbers[name]) for name in wanted)
    if min(C, OH, OW) < 1 or OH > H or OW > W:
        raise ArgumentError(f"problem {text!r}: c, oh and ow are 1 or more, oh <= h and ow <= w")
    return RegionsProblem(op, rest[0], N, C, H, W, OH, OW)


def _tokens(*parts: str) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """Words without a number, and the numbers of the others."""
    words: list[str] = []
    numbers: dict[str, tuple[int, ...]] = {}
    for text in parts:
        end = 0
        for match in re.finditer(r"(floor|ceil|nopad)|([a-z]+?)([0-9]+(?:x[0-9]+)*)", text):
            if match.start() != end or match[2] in numbers:
                break
            end = match.end()
            if match[1]:
                words.append(match[1])
            else:
                numbers[match[2]] = tuple(int(number) for number in match[3].split("x"))
        if end != len(text):
            numbers[text[end:]] = ()  # not a name that any form has
    return words, numbers


def _one(numbers: tuple[int, ...]) -> int:
    (value,) = numbers
    return value


def _pair(numbers: tuple[int, ...]) -> Pair:
    height, width = numbers * 2 if len(numbers) == 1 else numbers
    return height, width


def _padding(numbers: tuple[int, ...]) -> Padding:
    if len(numbers) == 4:
        top, bottom, left, right = numbers
        return top, bottom, left, right
    height, width = _pair(numbers)
    return height, height, width, width


def _short(pair: Pair) -> str:
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _short_padding(padding: Padding) -> str:
    top, bottom, left, right = padding
    if top == bottom and left == right:
        return _short((top, left))
    return f"{top}x{bottom}x{left}x{right}"
