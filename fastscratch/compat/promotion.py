"""NumPy's promotion of mixed dtypes around operations that compute in float32 and float64."""

from typing import Any

import numpy as np

from fastscratch.errors import DtypeError
from fastscratch.types import Array

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_INTEGERS = "biu"


def promote(*operands: Any, floating: bool = False) -> tuple[np.dtype[Any], tuple[Array, ...]]:
    """The dtype that NumPy would give a result, and the operands in the dtype to compute in.

    float32 and float64 are computed in as they are. float16 is computed in float32, everything
    else in float64: whole numbers up to 2**53 come out exact. `demote` takes results back.

    Parameters
    ----------
    *operands : array_like
        Arrays decide, numbers without a dtype adapt, as everywhere in NumPy.
    floating : bool
        Whether the result is a fraction whatever goes in: integers give float64 then.

    Returns
    -------
    (dtype, tuple of ndarray)

    Raises
    ------
    DtypeError
        If an operand is complex, or no number.

    Examples
    --------
    >>> dtype, (x, weight) = promote(np.ones(2, np.uint8), np.ones(2, np.float32))
    >>> dtype, x.dtype
    (dtype('float32'), dtype('float32'))
    >>> promote(np.ones(2, np.float32), np.ones(2))[0]
    dtype('float64')
    >>> dtype, (x,) = promote(np.ones(2, np.float16))
    >>> dtype, x.dtype
    (dtype('float16'), dtype('float32'))
    """
    result = np.result_type(*operands)
    if result.kind not in _INTEGERS + "f":
        raise DtypeError(f"an array of {result} came where numbers are computed with; convert it")
    if floating and result.kind in _INTEGERS:
        result = np.dtype(np.float64)
    return result, tuple(
        np.asarray(operand).astype(_computed_in(result), copy=False) for operand in operands
    )


def _computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype in _FLOATS:
        return dtype
    return _FLOATS[0] if dtype == np.float16 else _FLOATS[1]


def demote(result: Array, dtype: np.dtype[Any]) -> Array:
    """A result in the dtype that `promote` promised; integers wrap around as NumPy's do.

    Examples
    --------
    >>> demote(np.array([1.0, 258.0]), np.dtype(np.uint8))
    array([1, 2], dtype=uint8)
    """
    if dtype.kind in "iu":
        result = result.astype(np.int64, copy=False)
    return result.astype(dtype, copy=False)
