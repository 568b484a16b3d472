"""The few type names that signatures share."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
"""An array; its dtype and shape stand in the docstring."""

Pair = tuple[int, int]
"""``(height, width)``."""

Padding = tuple[int, int, int, int]
"""``(top, bottom, left, right)``."""

IntOrPair = int | Sequence[int]
"""One int for both directions, or ``(height, width)``."""

PaddingLike = int | Sequence[int] | Literal["same", "valid"]
"""One int, ``(height, width)``, ``(top, bottom, left, right)``, ``"same"`` or ``"valid"``."""

Rounding = Literal["exact", "floor", "ceil"]
"""What a window that leaves a remainder does: an error, fewer windows, or one more."""
