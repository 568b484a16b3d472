"""The transforms of minimal filtering F(m x m, 3x3), as programs along one axis.

m outputs of a window of three taps are coefficients of a product of polynomials, and a product is
known from its values at m + 2 points, one of which is infinity. A program takes a list of whatever
can be added and multiplied (vectors that are yet to be computed, arrays, numbers) to another.

F(2x2) has the points 0, 1, -1 and infinity. Integers stay exact: sums are halved, not their terms.

F(4x4) has 0, A, -A, B, -B and infinity, where A and B are near 1 and their powers are exact: the
error is a quarter of that of the customary 1 and 2, whose fourth powers lie far apart. Two points
p and -p share their work: a polynomial's even part is the same at both, its odd part the opposite.

Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), section 4.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Program = Callable[[Sequence[Any]], list[Any]]

TAPS = 3


class Filtering(NamedTuple):
    """F(m x m, 3x3): what its programs are."""

    step: int
    """m: outputs of a tile along an axis."""
    source: Program
    """B' d: from the m + 2 pixels that a tile sees to their polynomial's factors at the points."""
    weight: Program
    """G g: from three taps to their values at the points."""
    output: Program
    """A' p: from products at the points to m outputs."""
    gradient: Program
    """A dy: from the gradient of m outputs to the points."""
    sums: Program
    """G' s: from sums at the points to three taps."""

    @property
    def side(self) -> int:
        """Pixels that a tile sees along an axis, and points there."""
        return self.step + TAPS - 1

    @property
    def points(self) -> int:
        """Points of both axes."""
        return self.side**2


def _source_2(d: Sequence[Any]) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _weight_2(g: Sequence[Any]) -> list[Any]:
    outer = g[0] + g[2]
    return [g[0], 0.5 * (outer + g[1]), 0.5 * (outer - g[1]), g[2]]


def _output_2(p: Sequence[Any]) -> list[Any]:
    return [(p[0] + p[1]) + p[2], (p[1] - p[2]) - p[3]]


def _gradient_2(dy: Sequence[Any]) -> list[Any]:
    return [dy[0], dy[0] + dy[1], dy[0] - dy[1], -dy[1]]


def _sums_2(s: Sequence[Any]) -> list[Any]:
    total = 0.5 * (s[1] + s[2])
    return [s[0] + total, 0.5 * (s[1] - s[2]), total + s[3]]


A, B = 0.625, 1.5
A2, B2 = A * A, B * B
AT_A, AT_B = 1 / (2 * A2 * (A2 - B2)), 1 / (2 * B2 * (B2 - A2))
"""One over the product of the distances of a point to all others."""


def _source_4(d: Sequence[Any]) -> list[Any]:
    even_a, odd_a = d[4] - B2 * d[2], A * (d[3] - B2 * d[1])
    even_b, odd_b = d[4] - A2 * d[2], B * (d[3] - A2 * d[1])
    return [
        A2 * B2 * d[0] - (A2 + B2) * d[2] + d[4],
        even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b,
        A2 * B2 * d[1] - (A2 + B2) * d[3] + d[5],
    ]  # fmt: skip


def _weight_4(g: Sequence[Any]) -> list[Any]:
    even_a, odd_a = g[0] + A2 * g[2], A * g[1]
    even_b, odd_b = g[0] + B2 * g[2], B * g[1]
    return [
        1 / (A2 * B2) * g[0],
        AT_A * (even_a + odd_a), AT_A * (even_a - odd_a),
        AT_B * (even_b + odd_b), AT_B * (even_b - odd_b),
        g[2],
    ]  # fmt: skip


def _output_4(p: Sequence[Any]) -> list[Any]:
    even_a, odd_a = p[1] + p[2], A * (p[1] - p[2])
    even_b, odd_b = p[3] + p[4], B * (p[3] - p[4])
    return [
        p[0] + even_a + even_b,
        odd_a + odd_b,
        A2 * even_a + B2 * even_b,
        A2 * odd_a + B2 * odd_b + p[5],
    ]


def _gradient_4(dy: Sequence[Any]) -> list[Any]:
    even_a, odd_a = dy[0] + A2 * dy[2], A * (dy[1] + A2 * dy[3])
    even_b, odd_b = dy[0] + B2 * dy[2], B * (dy[1] + B2 * dy[3])
    return [dy[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, dy[3]]


def _sums_4(s: Sequence[Any]) -> list[Any]:
    even_a, odd_a = AT_A * (s[1] + s[2]), AT_A * A * (s[1] - s[2])
    even_b, odd_b = AT_B * (s[3] + s[4]), AT_B * B * (s[3] - s[4])
    return [
        1 / (A2 * B2) * s[0] + even_a + even_b,
        odd_a + odd_b,
        A2 * even_a + B2 * even_b + s[5],
    ]


FILTERINGS = {
    2: Filtering(2, _source_2, _weight_2, _output_2, _gradient_2, _sums_2),
    4: Filtering(4, _source_4, _weight_4, _output_4, _gradient_4, _sums_4),
}
"""By m."""
