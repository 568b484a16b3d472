"""Windows that minimal filtering cuts into pieces of a few taps, on either axis, or on one.

A strided window sees each phase of an image through every n-th tap; a large one is some that are
side by side. All pieces have the same tiles, and their sums are added up: each has source channels
of its own. Some lack the last tap, which counts as zero: so is its value at infinity, and there the
sum is over the other pieces only. They are so ordered that those are always side by side.
"""

from typing import NamedTuple

from fastscratch.kernels.geometry import pieces_of
from fastscratch.kernels.numba_jit.compile import inner
from fastscratch.types import Pair


def first_tap(piece: int, stride: int, taps: int, whole: int) -> int:
    """The first tap of a piece, and so the first pixel that it sees."""
    return piece if stride > 1 else piece * taps - max(piece - whole, 0)


class Cut(NamedTuple):
    """How windows are cut along an axis."""

    window: int
    """Taps."""
    stride: int
    taps: int
    """Of a piece."""
    pieces: int
    whole: int
    """Pieces with all taps; the others follow."""

    @property
    def reach(self) -> int:
        """Pixels that the last piece sees beyond the first one's, stride aside."""
        return first_tap(self.pieces - 1, self.stride, self.taps, self.whole)


def cut_window(window: int, stride: int) -> Cut:
    """The pieces of a window."""
    taps, pieces = pieces_of(window, stride)
    return Cut(window, stride, taps, pieces, window - pieces * (taps - 1))


ALONG_COLUMNS, ALONG_ROWS = 1, 2
"""How tiles lie that are lines; 0 where they have two axes."""


def lines_of(kernel_size: Pair) -> int:
    """How the tiles of a window lie."""
    if min(kernel_size) > 1:
        return 0
    return ALONG_COLUMNS if kernel_size[0] == 1 else ALONG_ROWS


def on_axes(along: int, across: int, lines: int) -> Pair:
    """A number for the rows and one for the columns: that of an axis which is transformed, or not.

    Examples
    --------
    >>> on_axes(4, 1, 0), on_axes(4, 1, ALONG_COLUMNS), on_axes(4, 1, ALONG_ROWS)
    ((4, 4), (1, 4), (4, 1))
    """
    return (across if lines == ALONG_COLUMNS else along), (across if lines == ALONG_ROWS else along)


def places_of(pieces: int, lines: int) -> int:
    """Pieces of a window on all axes."""
    return pieces if lines else pieces * pieces


piece_start = inner(first_tap)
axes = inner(on_axes)
places = inner(places_of)


@inner
def piece_at(place: int, pieces: int, whole: int, lines: int) -> tuple[int, int]:
    """Which piece is at a place, as its indices along the rows and the columns.

    First those whose rows, but not columns, have all taps, then those with all taps on both axes,
    on the columns alone, and on neither; of lines, those with all taps, then the others.
    """
    if lines > 0:
        return (place, 0) if lines == ALONG_ROWS else (0, place)
    some = pieces - whole
    if place < whole * some:
        return place // some, whole + place % some
    if place < whole * pieces:
        place -= whole * some
        return place // whole, place % whole
    place -= whole * pieces
    if place < some * whole:
        return whole + place // whole, place % whole
    place -= some * whole
    return whole + place // some, whole + place % some


@inner
def values_at(point: int, points: int) -> tuple[int, int]:
    """Which values of the axes a point is of: that of infinity counts as the fourth."""
    if points != 46:
        return point // 4, point % 4
    if point < 28:
        return point // 7, min(point % 7, 4)
    if point < 40:
        return 4, (point - 28) // 3
    return 4, 4


@inner
def places_at(point: int, points: int, pieces: int, whole: int, lines: int) -> tuple[int, int]:
    """The pieces with a part in the sum at a point, from the first to the end."""
    if lines > 0:
        return 0, whole if point == 3 else pieces
    row, column = values_at(point, points)
    first, end = 0, pieces * pieces
    if row == 3:
        end = whole * pieces
    if column == 3:
        first = whole * (pieces - whole)
        if row != 3:
            end = first + pieces * whole
    return first, end


def piece_channels(channels: int, pieces: int, side: int) -> int:
    """Channels from a piece to the next: whole slices of them, if they are more than one."""
    if pieces == 1 or channels <= side:
        return channels
    return -(-channels // side) * side
