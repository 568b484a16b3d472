"""Files are whole or not there."""

import os
import time

import pytest

from fastscratch.files import remove_parts, remove_stale_parts, written_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with written_whole(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_writer_leaves_nothing(tmp_path, error):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(error), written_whole(target) as file:
        file.write(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_parts_are_removed_once_nobody_writes_them(tmp_path):
    for name, age in ((".a.1-2.part", 2 * 24 * 3600), (".a.3-4.part", 60), (".b.1-2.part", 60)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_stale_parts(tmp_path)
    assert names(tmp_path) == [".a.3-4.part", ".b.1-2.part"]
    remove_parts(tmp_path / "a")
    assert names(tmp_path) == [".b.1-2.part"]
