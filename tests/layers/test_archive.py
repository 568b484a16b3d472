"""Model files: round trips, damage of every kind, and never half a file."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, CheckpointError, TrainingError
from fastscratch.layers import BatchNorm, Conv2d, Dense, Dropout, Flatten, Layer, ReLU, Sequential
from fastscratch.layers.archive import HEADER, load_model, read_archive, write_archive

X = np.random.default_rng(0).standard_normal((4, 1, 6, 6)).astype(np.float32)


def make_net(dtype=np.float32):
    net = Sequential(
        ("conv", Conv2d(3, 3)), ("norm", BatchNorm()), ReLU(), Flatten(), Dropout(0.5),
        ("dense", Dense(2)), seed=11,
    )  # fmt: skip
    net.forward(X.astype(dtype), training=True)
    return net


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.npz"
    make_net().save(path)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path, dtype):
    net = make_net(dtype)
    path = tmp_path / "any name, no ending"
    net.save(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    again = load_model(path)
    x = X.astype(dtype)
    assert np.array_equal(again.predict(x), net.predict(x))
    for name, array in net.state_dict().items():
        assert np.array_equal(again.state_dict()[name], array)
        assert again.state_dict()[name].dtype == array.dtype
    # Dropout goes on where it was, under the same seed.
    assert np.array_equal(again.forward(x, training=True), net.forward(x, training=True))


def test_an_unbuilt_network_is_not_saved(tmp_path):
    with pytest.raises(TrainingError, match="build"):
        Sequential(Dense(2)).save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_numpy_reads_it_without_pickle(saved):
    with np.load(saved, allow_pickle=False) as content:
        header = json.loads(content[HEADER].tobytes())
        assert content["conv.weight"].shape == (3, 1, 3, 3)
    assert header["format"] == "fastscratch model" and header["version"] == 1
    assert header["input_shape"] == [1, 6, 6] and header["dtype"] == "float32"


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        make_net().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parameters_called_like_arguments_of_savez(tmp_path):
    arrays = {"file": np.ones(2), "arr_0": np.zeros(3), "a b/ö": np.array(5)}
    write_archive(tmp_path / "f", {"format": "x", "version": 1}, arrays)
    _, again = read_archive(tmp_path / "f", "x", 1)
    assert {name: array.tolist() for name, array in again.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def test_objects_are_not_stored(tmp_path):
    with pytest.raises(ArgumentError, match="objects"):
        write_archive(tmp_path / "f", {}, {"a": np.array([None])})
    with pytest.raises(ArgumentError, match="taken"):
        write_archive(tmp_path / "f", {}, {HEADER: np.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_every_truncation_is_an_error(saved):
    content = saved.read_bytes()
    for length in [0, 1, 3, 4, 30, *range(100, len(content), 97), len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"model\.npz"):
            load_model(saved)


def test_every_damaged_byte_is_an_error_or_changes_nothing(saved):
    content = saved.read_bytes()
    reference = load_model(saved).state_dict()
    caught = 0
    positions = [*range(0, len(content), 13), *range(len(content) - 300, len(content))]
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        saved.write_bytes(bytes(damaged))
        try:
            state = load_model(saved).state_dict()
        except CheckpointError as error:
            assert "model.npz" in str(error)
            caught += 1
            continue
        # Times and attributes in the archive's directory mean nothing.
        assert state.keys() == reference.keys()
        assert all(np.array_equal(state[name], reference[name]) for name in state)
    assert caught > 0.6 * len(positions)


@pytest.mark.parametrize(
    "content", [b"", b"no zip at all", b"PK\x03\x04" + b"\0" * 200, b"\x93NUMPY"]
)
def test_foreign_bytes(tmp_path, content):
    path = tmp_path / "foreign.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"foreign\.bin.*fastscratch model"):
        load_model(path)


def test_other_archives(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"arrays\.npz"):
        load_model(tmp_path / "arrays.npz")
    with zipfile.ZipFile(tmp_path / "book.zip", "w") as archive:
        archive.writestr("chapter1.txt", "text")
    with pytest.raises(CheckpointError, match=r"book\.zip"):
        load_model(tmp_path / "book.zip")
    write_archive(tmp_path / "other", {"format": "fastscratch checkpoint", "version": 1}, {})
    with pytest.raises(CheckpointError, match="other is not a fastscratch model"):
        load_model(tmp_path / "other")


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_model(tmp_path)


def test_pickled_members_are_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Bomb()]), allow_pickle=True)
    write_archive(tmp_path / "f", {"format": "fastscratch model", "version": 1}, {})
    with zipfile.ZipFile(tmp_path / "f", "a") as archive:
        archive.writestr("dense.weight.npy", buffer.getvalue())
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "f")
    assert not (tmp_path / "exploded").exists()


def rewrite(path, change):
    """The file again with its header and arrays changed."""
    with np.load(path) as content:
        arrays = dict(content)
    header = json.loads(arrays.pop(HEADER).tobytes())
    change(header, arrays)
    write_archive(path, header, arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, a: h.update(version=2), "format version 2, this fastscratch reads version 1"),
        (lambda h, a: h.pop("version"), "format version None"),
        (lambda h, a: h.pop("architecture"), "architecture"),
        (lambda h, a: h["architecture"].update(kind="Unknown"), "unknown kind of layer 'Unknown'"),
        (lambda h, a: h["architecture"].update(config={}), "layers"),
        (lambda h, a: h["architecture"]["config"].update(layers=3), "model"),
        (lambda h, a: h.update(input_shape=[2, 6, 6]), "conv.weight"),
        (lambda h, a: h.update(input_shape="x"), "model"),
        (lambda h, a: h.update(dtype="int8"), "int8"),
        (lambda h, a: h.update(dtype="nonsense"), "nonsense"),
        (lambda h, a: a.pop("dense.bias"), "missing: dense.bias"),
        (lambda h, a: a.update(more=np.zeros(1)), "unexpected: more"),
        (lambda h, a: a.update({"dense.bias": np.zeros(7, np.float32)}), "dense.bias"),
    ],
)
def test_contents_that_make_no_model(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=f"model.npz.*{message}"):
        load_model(saved)


def test_a_failed_save_leaves_the_old_file_and_nothing_beside(saved, monkeypatch):
    old = saved.read_bytes()

    def fails(*arguments, **options):
        raise OSError("disk full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fails)
            with pytest.raises(OSError, match="disk full"):
                make_net().save(saved)
        assert saved.read_bytes() == old
        assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_data_reaches_the_disk_before_the_name(saved, monkeypatch):
    order = []

    def noting(name, function):
        def noted(*arguments):
            order.append(name)
            return function(*arguments)

        return noted

    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", noting("replace", os.replace))
    make_net().save(saved)
    assert order == ["fsync", "replace", "fsync"]


def test_an_unregistered_layer_is_refused_before_anything_is_written(tmp_path):
    class Mine(Layer):
        def _build(self, input_shape):
            return input_shape

    net = Sequential(Mine())
    net.build((3,))
    with pytest.raises(ArgumentError, match="Mine is not registered"):
        net.save(tmp_path / "f")
    assert not list(tmp_path.iterdir())
