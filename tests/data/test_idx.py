"""IDX files: every way in which one can be wrong."""

import gzip
import struct

import numpy as np
import pytest

from fastscratch.data import read_idx
from fastscratch.errors import DataError


def idx(array: np.ndarray) -> bytes:
    code = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[
        array.dtype.str[1:]
    ]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(tmp_path, dtype, packed):
    ref = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(ref)) if packed else idx(ref))
    out = read_idx(path)
    assert out.dtype == ref.dtype and out.dtype.isnative
    np.testing.assert_array_equal(out, ref)


GOOD = idx(np.arange(30, dtype="u1").reshape(2, 3, 5))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "begins with nothing", id="empty"),
        pytest.param(GOOD[:3], "no IDX file", id="magic_cut"),
        pytest.param(GOOD[:9], "ends within its header", id="header_cut"),
        pytest.param(GOOD[:-1], "29 follow; get it again", id="truncated"),
        pytest.param(GOOD + b"\0", "more than the 30 bytes", id="trailing"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", "web page", id="html"),
        pytest.param(b"\n <html>", "web page", id="html_indented"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(50), "no IDX file", id="png"),
        pytest.param(b"\0\0\x0a" + GOOD[3:], "no IDX file", id="unknown_type"),
        pytest.param(b"\0\0\x08\0" + GOOD[4:], "no IDX file", id="no_dimensions"),
        pytest.param(b"\0\0\x08\x03" + b"\xff" * 12 + GOOD[16:], "truncated", id="absurd_shape"),
        pytest.param(PACKED[:-1], "gzip", id="gzip_cut"),
        pytest.param(PACKED[:20], "gzip", id="gzip_cut_early"),
        pytest.param(PACKED[:5], "gzip", id="gzip_header_cut"),
        pytest.param(PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "CRC", id="gzip_crc"),
        pytest.param(PACKED[:12] + b"\xff\xff" + PACKED[14:], "gzip", id="gzip_damaged"),
        pytest.param(PACKED + b"rubbish", "gzip", id="gzip_trailing"),
        pytest.param(gzip.compress(GOOD[:-1]), "truncated", id="content_of_gzip_cut"),
    ],
)
def test_damage_names_the_file(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)
