"""Algorithms beside the direct one: what they serve, when they are preferred, how exact they are.

An algorithm is an entry of its own in the catalogue because it changes the numerics or serves only
some problems. It has the same name in every backend that has it: ``"cython:winograd2"``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

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
    """From 16 channels on either side: below, transforming costs what it saves."""
    return isinstance(p, WindowProblem) and min(p.C, p.OC) >= 16


ALGORITHMS = (
    Algorithm(
        "winograd2",
        "conv2d_winograd",
        {
            "conv2d_forward": "winograd2_forward",
            "conv2d_backward_input": "winograd2_backward_input",
            "conv2d_backward_weight": "winograd2_backward_weight",
        },
        (),
        winograd_supports,
        winograd2_prefers,
    ),
)
"""Best first; the direct algorithm, which serves everything, stands behind them."""

TRANSFORMED = frozenset(op for algorithm in ALGORITHMS for op in algorithm.functions)
"""Operations that have more than the direct algorithm, which has a name there."""
