"""The transforms of minimal filtering F(m x m, taps x taps), as programs along one axis.

m outputs of a window of some taps are coefficients of a product of polynomials, and a product is
known from its values at m + taps - 1 points, one of which is infinity. A program takes a list of
whatever can be added and multiplied (vectors that are yet to be computed, arrays, numbers) to
another. The values of both axes are then what is multiplied at the points, but for ``gauss``.

F(2x2, 3x3) and F(3x3, 2x2), ``winograd2``, have the points 0, 1, -1 and infinity. Integers stay
exact: sums are halved, not their terms.

F(4x4, 3x3) as ``winograd4`` has 0, A, -A, B, -B and infinity, where A and B are near 1 and their
powers are exact: the error is a quarter of that of the customary 1 and 2, whose fourth powers lie
far apart. Two points p and -p share their work: a polynomial's even part is the same at both, its
odd part the opposite.

``gauss`` has 0, 1, -1, infinity and the pair i and -i, whose values are conjugate: one complex
value stands for both. There are no factors but halves and quarters of weights: integers stay exact,
and the error is about that of F(2x2, 3x3). Six values of an axis are a product of polynomials of
any two lengths that come to seven, so that this is F(4x4, 3x3) and F(3x3, 4x4); the image's part is
the same for both.

Windows of a single row or column have lines for tiles: their programs are applied along one axis,
and its values are the points.

Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), section 4; Meng and
Brothers, "Efficient Winograd convolution via integer arithmetic" (2019).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Program = Callable[[Sequence[Any]], list[Any]]
Spread = Callable[[Sequence[Sequence[Any]]], list[Any]]
"""From the values of both axes, row by row, to the points."""
Gather = Callable[[Sequence[Any]], list[list[Any]]]
"""The way back."""


class Meeting(NamedTuple):
    """How the values of the axes become points, where these are others."""

    points: int
    source: Spread
    weight: Spread
    output: Gather
    gradient: Spread
    sums: Gather


class Filtering(NamedTuple):
    """F(m x m, taps x taps): what its programs are."""

    step: int
    """m: outputs of a tile along an axis."""
    taps: int
    source: Program
    """B' d: from the pixels that a tile sees to their polynomial's factors at the points."""
    weight: Program
    """G g: from an axis' taps to their values at the points."""
    output: Program
    """A' p: from products at the points to m outputs."""
    gradient: Program
    """A dy: from the gradient of m outputs to the points."""
    sums: Program
    """G' s: from sums at the points to taps."""
    meeting: Meeting | None = None
    lines: bool = False
    """Whether tiles have but one axis: F(m, taps)."""

    @property
    def side(self) -> int:
        """Pixels that a tile sees along an axis, and values there."""
        return self.step + self.taps - 1

    @property
    def points(self) -> int:
        """Points of both axes."""
        return self.meeting.points if self.meeting else self.side**2

    @property
    def line(self) -> int:
        """Points that count as a row: those of an axis, or all of them."""
        return self.meeting.points if self.meeting else self.side


def _sum(g: Sequence[Any]) -> Any:
    total = g[0]
    for value in g[1:]:
        total = total + value
    return total


def _source_2(d: Sequence[Any]) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _weight_2(g: Sequence[Any]) -> list[Any]:
    even, odd = _sum(g[::2]), _sum(g[1::2])
    return [g[0], 0.5 * (even + odd), 0.5 * (even - odd), g[-1]]


def _gradient_2(dy: Sequence[Any]) -> list[Any]:
    even, odd = _sum(dy[::2]), _sum(dy[1::2])
    return [dy[0], even + odd, even - odd, -dy[-1]]


def _winograd2(taps: int) -> Filtering:
    step = 5 - taps

    def output(p: Sequence[Any]) -> list[Any]:
        even, odd = p[1] + p[2], p[1] - p[2]
        y = [odd if k % 2 else even for k in range(step)]
        y[0] = p[0] + y[0]
        y[-1] = y[-1] - p[3]
        return y

    def sums(s: Sequence[Any]) -> list[Any]:
        even, odd = 0.5 * (s[1] + s[2]), 0.5 * (s[1] - s[2])
        g = [odd if k % 2 else even for k in range(taps)]
        g[0] = s[0] + g[0]
        g[-1] = g[-1] + s[3]
        return g

    return Filtering(step, taps, _source_2, _weight_2, output, _gradient_2, sums)


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


def _source_gauss(d: Sequence[Any]) -> list[Any]:
    even, odd = d[2] + d[4], d[1] + d[3]
    return [d[0] - d[4], even + odd, even - odd, d[4] - d[2], d[1] - d[3], d[5] - d[1]]


def _alternating(g: Sequence[Any]) -> Any:
    """The sum of coefficients whose signs alternate."""
    total = g[0]
    for k, value in enumerate(g[1:], 1):
        total = total - value if k % 2 else total + value
    return total


def _weight_gauss(g: Sequence[Any]) -> list[Any]:
    even, odd = _sum(g[::2]), _sum(g[1::2])
    re, im = _alternating(g[::2]), _alternating(g[1::2])
    return [g[0], 0.25 * (even + odd), 0.25 * (even - odd), 0.5 * re, 0.5 * im, g[-1]]


def _gradient_gauss(dy: Sequence[Any]) -> list[Any]:
    even, odd = _sum(dy[::2]), _sum(dy[1::2])
    re, im = _alternating(dy[::2]), _alternating(dy[1::2])
    return [dy[0], even + odd, even - odd, re, im, dy[-1]]


def _coefficients(count: int, even: Any, odd: Any, re: Any, im: Any, ends: Sequence[Any]) -> Any:
    """The way back: the first coefficient and the last have a part of their own."""
    result = []
    for k in range(count):
        value, other = (odd, im) if k % 2 else (even, re)
        result.append(value - other if k % 4 > 1 else value + other)
    result[0] = ends[0] + result[0]
    result[-1] = result[-1] + ends[1]
    return result


def _gauss(taps: int) -> Filtering:
    step = 7 - taps

    def output(p: Sequence[Any]) -> list[Any]:
        parts: list[Any] = _coefficients(step, p[1] + p[2], p[1] - p[2], p[RE], p[IM], (p[0], p[5]))
        return parts

    def sums(s: Sequence[Any]) -> list[Any]:
        even, odd = 0.25 * (s[1] + s[2]), 0.25 * (s[1] - s[2])
        parts: list[Any] = _coefficients(taps, even, odd, 0.5 * s[RE], 0.5 * s[IM], (s[0], s[5]))
        return parts

    return Filtering(
        step, taps, _source_gauss, _weight_gauss, output, _gradient_gauss, sums, _MEETING
    )


REAL, RE, IM = (0, 1, 2, 5), 3, 4
"""Which values of an axis of ``gauss`` are real, and the parts of the complex one."""

Pair = Callable[[Any, Any], list[Any]]
Whole = Callable[[Any, Any, Any], tuple[Any, Any]]
"""Three points of a complex value, and the way back.

Of an image's z and weights w, z times the conjugate of w is (p0 + p1) + (p0 - p2)i with
p0 = (re z + im z) re w, p1 = im z (im w - re w) and p2 = re z (re w + im w).
"""


def _spread(pair: Pair, scale: float = 1.0) -> Spread:
    """Where an axis has a complex value, a real one of the other axis leaves it as it is.

    Two complex ones have four parts, with a root of -1 for each axis. Where both roots are the
    same, and where one is the negative of the other, that is a complex value again: these two tell
    as much as the four parts.
    """

    def spread(rows: Sequence[Sequence[Any]]) -> list[Any]:
        points: list[Any] = []
        for i in REAL:
            points += [rows[i][k] for k in REAL] + pair(rows[i][RE], rows[i][IM])
        re, im = rows[RE], rows[IM]
        for k in REAL:
            points += pair(re[k], im[k])
        same, other = (re[RE] - im[IM], im[RE] + re[IM]), (re[RE] + im[IM], im[RE] - re[IM])
        for value in (same, other):
            points += pair(*(part if scale == 1.0 else scale * part for part in value))
        return points

    return spread


def _gather(pair: Whole, scale: float = 1.0) -> Gather:
    """The way back of `_spread`."""

    def gather(points: Sequence[Any]) -> list[list[Any]]:
        rows: list[list[Any]] = [[None] * 6 for _ in range(6)]
        rest = iter(points)

        def value() -> tuple[Any, Any]:
            return pair(next(rest), next(rest), next(rest))

        for i in REAL:
            for k in REAL:
                rows[i][k] = next(rest)
            rows[i][RE], rows[i][IM] = value()
        for k in REAL:
            rows[RE][k], rows[IM][k] = value()
        (same_re, same_im), (other_re, other_im) = value(), value()
        parts = same_re + other_re, same_im - other_im, same_im + other_im, other_re - same_re
        if scale != 1.0:
            parts = tuple(scale * part for part in parts)
        rows[RE][RE], rows[RE][IM], rows[IM][RE], rows[IM][IM] = parts
        return rows

    return gather


_PARTS: dict[str, Pair] = {
    "source": lambda re, im: [re + im, im, re],
    "weight": lambda re, im: [re, im - re, re + im],
    "gradient": lambda re, im: [re + im, re, -im],
}
_WHOLES: dict[str, Whole] = {
    "output": lambda p0, p1, p2: (p0 + p1, p0 - p2),
    "sums": lambda p0, p1, p2: ((p0 - p1) + p2, p1 + p2),
}

_MEETING = Meeting(
    46,
    source=_spread(_PARTS["source"]),
    weight=_spread(_PARTS["weight"], 0.5),
    output=_gather(_WHOLES["output"]),
    gradient=_spread(_PARTS["gradient"]),
    sums=_gather(_WHOLES["sums"], 0.5),
)


def _spread_line(pair: Pair) -> Spread:
    """The values of a line, a column of them, as points."""

    def spread(rows: Sequence[Sequence[Any]]) -> list[Any]:
        values = [row[0] for row in rows]
        if len(values) == 4:
            return values
        return [values[k] for k in REAL] + pair(values[RE], values[IM])

    return spread


def _gather_line(pair: Whole) -> Gather:
    """The way back."""

    def gather(points: Sequence[Any]) -> list[list[Any]]:
        values = list(points)
        if len(points) > 4:
            values[RE], values[IM] = pair(*points[4:])
            values[5:] = [points[3]]
        return [[value] for value in values]

    return gather


def _line(filtering: Filtering) -> Filtering:
    """The same along one axis."""
    spreads = {factor: _spread_line(pair) for factor, pair in _PARTS.items()}
    gathers = {factor: _gather_line(pair) for factor, pair in _WHOLES.items()}
    points = 7 if filtering.meeting else filtering.side
    return filtering._replace(lines=True, meeting=Meeting(points, **spreads, **gathers))


_RECTANGLES = (
    {("winograd4", 3): Filtering(4, 3, _source_4, _weight_4, _output_4, _gradient_4, _sums_4)}
    | {("winograd2", taps): _winograd2(taps) for taps in (2, 3)}
    | {("gauss", taps): _gauss(taps) for taps in (3, 4)}
)

FILTERINGS = {(*key, False): filtering for key, filtering in _RECTANGLES.items()} | {
    (*key, True): _line(filtering)
    for key, filtering in _RECTANGLES.items()
    if key[0] != "winograd4"
}
"""By the algorithm's name, the taps of a window, or of its pieces, and whether tiles are lines."""
