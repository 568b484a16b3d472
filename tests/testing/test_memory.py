"""Hostile memory: where arrays lie, and that a stray write is seen."""

import mmap

import numpy as np
import pytest

from fastscratch.testing.memory import PLACEMENTS, Placed, place

DTYPES = [np.dtype(name) for name in ("float32", "float64", "uint8", "int32")]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (1,), (0, 4), (2, 3, 33, 41)])
def test_lies_where_it_should(shape, dtype, placement):
    placed = Placed(shape, dtype, placement)
    array = placed.array
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert placed.intact()
    if array.size:
        end = array.ctypes.data + array.nbytes
        assert (array.ctypes.data % mmap.PAGESIZE == 0) == (placement == "begin")
        assert end % mmap.PAGESIZE == 0 or placement != "end"
        assert array.ctypes.data % 64 == dtype.itemsize or placement != "odd"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_begins_as_garbage(dtype):
    array = Placed((4, 4), dtype, "end").array
    assert np.isnan(array).all() if dtype.kind == "f" else (array.view(np.uint8) == 0xFF).all()


def test_an_input_is_a_read_only_copy():
    placed = place(np.arange(6.0).reshape(2, 3), "end")
    np.testing.assert_array_equal(placed.array, [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(ValueError, match="read-only"):
        placed.array[0, 0] = 1


@pytest.mark.parametrize(
    ("placement", "offset"), [("begin", 1), ("end", -1), ("odd", 1), ("odd", -1)]
)
def test_a_stray_write_is_seen(placement, offset):
    placed = Placed((3,), np.dtype(np.float64), placement)
    everything = placed.array
    while isinstance(everything.base, np.ndarray):
        everything = everything.base
    first = placed.array.ctypes.data - everything.ctypes.data
    placed.array[:] = 0
    assert placed.intact()
    everything[first + placed.array.nbytes if offset > 0 else first - 1] = 0
    assert not placed.intact()
