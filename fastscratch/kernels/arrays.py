"""What one array argument of a kernel is, and the arrays of operations on elements and channels."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from fastscratch.kernels.problem import (
    DTYPES,
    ChannelsProblem,
    ElementsProblem,
    RegionsProblem,
)

LABELS: np.dtype[Any] = np.dtype(np.int64)
"""Of class numbers, and of the words of a key."""

NUMBERS: np.dtype[Any] = np.dtype(np.float64)
"""Of what is not part of a problem and comes as a small array: rates, a ratio, eps; of sums."""

SUMMED = 8192
"""Elements of one partial sum: a number of its own, so that threads change no bit."""

FLAT: np.dtype[Any] = np.dtype(np.int32)
"""Of an element's place in its plane, ih*W + iw."""

Role = Literal["in", "out", "inout"]


class ArraySpec(NamedTuple):
    """One array argument of a kernel: read, overwritten whole, or updated in place."""

    role: Role
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def one_array(role: Role, dtype: str, *shape: int) -> ArraySpec:
    """An array of a problem's own dtype."""
    return ArraySpec(role, shape, DTYPES[dtype])


def elementwise(p: ElementsProblem) -> dict[str, ArraySpec]:
    """y from x."""
    return {"x": one_array("in", p.dtype, *p.shape), "y": one_array("out", p.dtype, *p.shape)}


def elementwise_backward(p: ElementsProblem) -> dict[str, ArraySpec]:
    """dx from dout and y."""
    names = {"dout": "in", "y": "in", "dx": "out"}
    return {name: one_array(role, p.dtype, *p.shape) for name, role in names.items()}  # type: ignore[arg-type]


def elementwise_sum(p: ElementsProblem) -> dict[str, ArraySpec]:
    """y from x and another."""
    names = {"x": "in", "other": "in", "y": "out"}
    return {name: one_array(role, p.dtype, *p.shape) for name, role in names.items()}  # type: ignore[arg-type]


def rectifier_forward(p: ElementsProblem) -> dict[str, ArraySpec]:
    """y from x, and a number."""
    return _rectifier(p, "x", target="y")


def rectifier_backward(saved: str) -> Callable[[ElementsProblem], dict[str, ArraySpec]]:
    """dx from dout, from what the forward pass took or gave, and a number."""
    return lambda p: _rectifier(p, "dout", saved, target="dx")


def _rectifier(p: ElementsProblem, *sources: str, target: str) -> dict[str, ArraySpec]:
    return {
        **{name: one_array("in", p.dtype, *p.shape) for name in sources},
        "alpha": ArraySpec("in", (1,), NUMBERS), target: one_array("out", p.dtype, *p.shape),
    }  # fmt: skip


def sloped_forward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """y from x, and a slope for each channel."""
    return {
        "x": one_array("in", p.dtype, p.N, p.C, p.S), "slopes": one_array("in", p.dtype, p.C),
        "y": one_array("out", p.dtype, p.N, p.C, p.S),
    }  # fmt: skip


def sloped_backward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """The gradients of both."""
    return {
        "dout": one_array("in", p.dtype, p.N, p.C, p.S),
        "x": one_array("in", p.dtype, p.N, p.C, p.S), "slopes": one_array("in", p.dtype, p.C),
        "dx": one_array("out", p.dtype, p.N, p.C, p.S), "dslopes": one_array("out", p.dtype, p.C),
    }  # fmt: skip


def regions_forward(p: RegionsProblem) -> dict[str, ArraySpec]:
    """The first row and the one behind the last of each row of windows; columns likewise."""
    y = (p.N, p.C, p.OH, p.OW)
    return {
        "x": one_array("in", p.dtype, p.N, p.C, p.H, p.W),
        "rows": ArraySpec("in", (p.OH, 2), LABELS), "cols": ArraySpec("in", (p.OW, 2), LABELS),
        "y": one_array("out", p.dtype, *y), "argmax": ArraySpec("out", y, FLAT),
    }  # fmt: skip


def regions_backward(p: RegionsProblem) -> dict[str, ArraySpec]:
    """The largest elements alone have a gradient."""
    y = (p.N, p.C, p.OH, p.OW)
    return {
        "dout": one_array("in", p.dtype, *y), "argmax": ArraySpec("in", y, FLAT),
        "dx": one_array("out", p.dtype, p.N, p.C, p.H, p.W),
    }  # fmt: skip


def losses_forward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """The loss of each row, and its probabilities."""
    return {
        "scores": one_array("in", p.dtype, p.N, p.C), "labels": ArraySpec("in", (p.N,), LABELS),
        "probabilities": one_array("out", p.dtype, p.N, p.C),
        "losses": one_array("out", p.dtype, p.N),
    }  # fmt: skip


def losses_backward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """The gradient of the mean loss."""
    return {
        "probabilities": one_array("in", p.dtype, p.N, p.C),
        "labels": ArraySpec("in", (p.N,), LABELS),
        "dscores": one_array("out", p.dtype, p.N, p.C),
    }


def update_of(*state: str, rates: int) -> Callable[[ElementsProblem], dict[str, ArraySpec]]:
    """An optimizer's update: values and its own arrays in place, by gradients and some numbers."""

    def arrays(p: ElementsProblem) -> dict[str, ArraySpec]:
        inout = {name: one_array("inout", p.dtype, *p.shape) for name in ("value", *state)}
        return {
            **inout, "grad": one_array("in", p.dtype, *p.shape),
            "rates": ArraySpec("in", (rates,), NUMBERS),
        }  # fmt: skip

    return arrays


def partial_sums(p: ElementsProblem) -> dict[str, ArraySpec]:
    """One sum for each run of `SUMMED` elements."""
    return {
        "x": one_array("in", p.dtype, *p.shape),
        "sums": ArraySpec("out", (-(-p.size // SUMMED),), NUMBERS),
    }


def channels_forward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """Normalised by the batch's own mean and variance."""
    return {
        "x": one_array("in", p.dtype, p.N, p.C, p.S), "gamma": one_array("in", p.dtype, p.C),
        "beta": one_array("in", p.dtype, p.C), "eps": ArraySpec("in", (1,), NUMBERS),
        "y": one_array("out", p.dtype, p.N, p.C, p.S),
        "mean": one_array("out", p.dtype, p.C), "var": one_array("out", p.dtype, p.C),
    }  # fmt: skip


def channels_inference(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """Normalised by a mean and a variance that are given."""
    names = ("gamma", "beta", "mean", "var")
    return {
        "x": one_array("in", p.dtype, p.N, p.C, p.S),
        **{name: one_array("in", p.dtype, p.C) for name in names},
        "eps": ArraySpec("in", (1,), NUMBERS), "y": one_array("out", p.dtype, p.N, p.C, p.S),
    }  # fmt: skip


def channels_backward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """Through the batch's mean and variance, too."""
    return {
        "dout": one_array("in", p.dtype, p.N, p.C, p.S),
        "x": one_array("in", p.dtype, p.N, p.C, p.S), "gamma": one_array("in", p.dtype, p.C),
        "mean": one_array("in", p.dtype, p.C), "var": one_array("in", p.dtype, p.C),
        "eps": ArraySpec("in", (1,), NUMBERS), "dx": one_array("out", p.dtype, p.N, p.C, p.S),
        "dgamma": one_array("out", p.dtype, p.C), "dbeta": one_array("out", p.dtype, p.C),
    }  # fmt: skip


def channels_relu_backward(p: ChannelsProblem) -> dict[str, ArraySpec]:
    """As `channels_backward`, where y is positive."""
    arrays = channels_backward(p)
    y = one_array("in", p.dtype, p.N, p.C, p.S)
    return {"dout": arrays.pop("dout"), "y": y, **arrays}


def masked_forward(p: ElementsProblem) -> dict[str, ArraySpec]:
    """The mask is a function of the key and an element's place."""
    return _masked(p, "x", "y")


def masked_backward(p: ElementsProblem) -> dict[str, ArraySpec]:
    """The same mask."""
    return _masked(p, "dout", "dx")


def _masked(p: ElementsProblem, source: str, target: str) -> dict[str, ArraySpec]:
    return {
        source: one_array("in", p.dtype, *p.shape), "key": ArraySpec("in", (2,), LABELS),
        "ratio": ArraySpec("in", (1,), NUMBERS), target: one_array("out", p.dtype, *p.shape),
    }  # fmt: skip
