"""Algorithms beside the direct one: what they serve, when they are preferred, how exact they are.

An algorithm is an entry of its own in the catalogue because it changes the numerics or serves only
some problems. It has the same name in every backend that has it: ``"cython:winograd2"``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastscratch.kernels.problem import Problem, WindowProblem

Accuracy = Literal["default", "fast"]


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


def winograd_supports(p: Problem) -> bool:
    """Windows of 3x3 with stride 1, without dilation, over all channels."""
    return (
        isinstance(p, WindowProblem)
        and p.kernel_size == (3, 3)
        and p.stride == (1, 1)
        and p.dilation == (1, 1)
        and p.groups == 1
    )


def winograd2_prefers(p: Problem) -> bool:
    """Enough channels on either side, and at least a fifth fewer multiplications.

    A tile saves multiplications for each pair of channels, and costs a transform for each channel:
    what counts is the channels' harmonic mean. 16 on both sides, or 12 and 24, are just enough.

    Measured on AVX2 with one thread, in all three directions: 1.0 to 3.4 times as fast as the
    direct algorithm there; with 12 and 48 channels 1.0 to 1.4 times, with 12 and 16 0.9, with 12 on
    both sides or 8 on one 0.7 to 2.3 times, with 3 0.6 to 1.7 times. A single tile does not pay for
    the transform of the weights (0.9 times).
    """
    if not isinstance(p, WindowProblem) or min(p.C, p.OC) < 12 or p.C * p.OC < 8 * (p.C + p.OC):
        return False
    OH, OW = p.outputs
    return _tiles(p, 2) >= 2 and 16 * _tiles(p, 2) <= 0.8 * 9 * p.N * OH * OW


def winograd4_prefers(p: Problem) -> bool:
    """Where it has a quarter fewer multiplications than F(2x2), and tiles enough for its weights.

    Below 32 tiles their transform takes longer than is saved (0.5 to 1.1 times as fast as F(2x2)).
    """
    if not isinstance(p, WindowProblem) or min(p.C, p.OC) < 16:
        return False
    return _tiles(p, 4) >= 32 and 36 * _tiles(p, 4) <= 0.75 * 16 * _tiles(p, 2)


def _tiles(p: WindowProblem, m: int) -> int:
    """Tiles of m x m outputs, of all images."""
    OH, OW = p.outputs
    return p.N * -(-OH // m) * -(-OW // m)


def _winograd(
    m: int, backends: tuple[str, ...], prefers: Callable[[Problem], bool], **promises: Any
) -> Algorithm:
    functions = {
        f"conv2d_{name}": f"winograd{m}_{name}"
        for name in ("forward", "backward_input", "backward_weight")
    }
    return Algorithm(
        f"winograd{m}",
        "conv2d_winograd",
        functions,
        backends,
        winograd_supports,
        prefers,
        **promises,
    )


ALGORITHMS = (
    _winograd(
        4, ("cython", "numba"), winograd4_prefers,
        accuracy="fast", tolerance_factor=8.0, exact_integers=False,
    ),
    _winograd(2, ("cython", "numba"), winograd2_prefers),
)  # fmt: skip
"""Best first; the direct algorithm, which serves everything, stands behind them."""

TRANSFORMED = frozenset(op for algorithm in ALGORITHMS for op in algorithm.functions)
"""Operations that have more than the direct algorithm, which has a name there."""
