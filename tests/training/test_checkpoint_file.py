"""Checkpoint files: whole or not there, and every damage told."""

import json

import numpy as np
import pytest

from fastscratch.errors import CheckpointError, FallbackWarning
from fastscratch.training import CheckpointFolder, checkpoint_file, read_checkpoint
from fastscratch.training.checkpoint_file import is_checkpoint


def arrays(value: int) -> dict[str, np.ndarray]:
    return {
        "model/weight": np.full((3, 4), value, np.float32),
        "model/step": np.array(value, np.int64),
        "optimizer/empty": np.zeros((0, 2)),
    }


@pytest.fixture
def folder(tmp_path):
    folder = CheckpointFolder(tmp_path / "run")
    folder.save({"epoch": 1}, arrays(1))
    folder.save({"epoch": 2}, arrays(2))
    return folder


def test_newest_and_the_one_before(folder):
    header, found = folder.load()
    assert header["epoch"] == 2
    assert found.keys() == arrays(2).keys()
    for name, ref in arrays(2).items():
        assert found[name].dtype == ref.dtype and found[name].shape == ref.shape
        np.testing.assert_array_equal(found[name], ref)
    assert read_checkpoint(folder.previous)[0]["epoch"] == 1
    assert sorted(p.name for p in folder.folder.iterdir()) == [
        "checkpoint.npz", "checkpoint.previous.npz",
    ]  # fmt: skip


def test_numpy_opens_it_without_pickle(folder):
    with np.load(folder.newest, allow_pickle=False) as content:
        header = json.loads(content["__header__"].tobytes())
        np.testing.assert_array_equal(content["model/weight"], arrays(2)["model/weight"])
    assert (header["format"], header["version"], header["epoch"]) == (
        "fastscratch checkpoint",
        1,
        2,
    )


def test_no_checkpoint_at_all(tmp_path):
    folder = CheckpointFolder(tmp_path / "nothing")
    assert not folder.exists()
    assert folder.load() is None


def test_killed_between_the_renames(folder):
    folder.newest.unlink()
    assert folder.exists()
    assert folder.load()[0]["epoch"] == 1


def test_every_truncation_falls_back(folder):
    content = folder.newest.read_bytes()
    for length in {0, 1, 4, 30, len(content) // 2, len(content) - 1}:
        folder.newest.write_bytes(content[:length])
        with pytest.warns(FallbackWarning, match=r"checkpoint\.npz.*going on from the one before"):
            assert folder.load()[0]["epoch"] == 1


def test_any_changed_byte_is_an_error_or_without_effect(folder):
    ref_header, ref = folder.load()
    content = bytearray(folder.newest.read_bytes())
    rng = np.random.default_rng(0)
    path = folder.folder / "damaged.npz"
    found = 0
    for place in rng.choice(len(content), 250, replace=False):
        damaged = content.copy()
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            header, out = read_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error)
            found += 1
            continue
        # A date or a flag of the archive that nobody reads.
        assert header == ref_header
        assert all(np.array_equal(out[name], ref[name]) for name in ref)
    assert found > 150


def test_both_damaged(folder):
    for path in (folder.newest, folder.previous):
        path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"checkpoint\.previous\.npz"):
        folder.load()


def test_damaged_without_one_before(folder):
    folder.previous.unlink()
    folder.newest.write_bytes(folder.newest.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz is damaged"):
        folder.load()


def test_other_formats_and_versions(folder, tmp_path, monkeypatch):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(CheckpointError, match="checkpoint"):
        read_checkpoint(tmp_path / "other.npz")
    assert not is_checkpoint(tmp_path / "other.npz") and is_checkpoint(folder.newest)
    monkeypatch.setattr(checkpoint_file, "VERSION", 2)
    with pytest.raises(CheckpointError, match="version 1, this fastscratch reads version 2"):
        read_checkpoint(folder.newest)


def test_failed_writing_leaves_what_was_there(folder, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: No space left.*untouched"):
        folder.save({"epoch": 3}, arrays(3))
    assert folder.load()[0]["epoch"] == 2
    assert len(list(folder.folder.iterdir())) == 2


def test_one_run_at_a_time(folder):
    pytest.importorskip("fcntl", reason="folders are locked on POSIX systems only")
    with folder.hold():
        other = CheckpointFolder(folder.folder)
        with pytest.raises(CheckpointError, match="in use by another run"), other.hold():
            pass
    with other.hold():
        pass
    assert len(list(folder.folder.iterdir())) == 2


def test_what_a_killed_writer_left_is_swept(folder):
    (folder.folder / ".checkpoint.npz.part.123-456.part").write_bytes(b"half")
    folder.save({"epoch": 3}, arrays(3))
    assert len(list(folder.folder.iterdir())) == 2
