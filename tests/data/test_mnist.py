"""MNIST and Fashion-MNIST from folders: where files are found, and which are refused."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from fastscratch.data import load_fashion_mnist, load_mnist, mnist
from fastscratch.errors import DataError

from .conftest import NAMES, small_files

REAL = os.environ.get("FASTSCRATCH_DATA")


def write(folder: Path, contents: dict[str, bytes], rename=lambda name: name, packed=False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / rename(name)).write_bytes(gzip.compress(content) if packed else content)


def check(split) -> None:
    (x_train, t_train), (x_test, t_test) = split
    assert x_train.shape == (7, 1, 28, 28) and x_test.shape == (3, 1, 28, 28)
    assert x_train.dtype == np.float32 and t_train.dtype == np.int64
    np.testing.assert_array_equal(t_train, np.arange(7))
    np.testing.assert_array_equal(t_test, np.arange(3))
    np.testing.assert_array_equal(x_train.ravel()[:251] * 255, np.arange(251, dtype=np.float32))


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inner", ["", "mnist"])
def test_folder_given(tmp_path, dotted, packed, inner):
    def rename(name: str) -> str:
        return (name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else "")

    write(tmp_path / "files" / inner, small_files(), rename, packed)
    check(load_mnist(tmp_path / "files"))
    check(load_mnist(str(tmp_path / "files")))


def test_folder_from_the_environment(tmp_path, monkeypatch):
    write(tmp_path / "files" / "mnist", small_files())
    write(tmp_path / "files" / "fashion_mnist", small_files(2, 1))
    monkeypatch.setenv("FASTSCRATCH_DATA", str(tmp_path / "files"))
    check(load_mnist())
    (x, _), _ = load_fashion_mnist()
    assert len(x) == 2


def test_argument_comes_before_the_environment(tmp_path, monkeypatch):
    write(tmp_path / "files", small_files())
    write(tmp_path / "other", small_files(1, 1))
    monkeypatch.setenv("FASTSCRATCH_DATA", str(tmp_path / "other"))
    check(load_mnist(tmp_path / "files"))


def test_forms(tmp_path):
    write(tmp_path, small_files())
    (x, t), _ = load_mnist(tmp_path, flatten=True, one_hot=True, normalize=False)
    assert x.shape == (7, 784) and x.dtype == np.uint8 and x.max() == 250
    np.testing.assert_array_equal(t, np.eye(10, dtype=np.float32)[:7])


def test_folder_without_the_files(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds none of the files train-images-idx3-ubyte"):
        load_mnist(tmp_path)
    with pytest.raises(DataError, match="nowhere, is no folder"):
        load_mnist(tmp_path / "nowhere")
    monkeypatch.setenv("FASTSCRATCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"FASTSCRATCH_DATA names .*nowhere, which is no folder"):
        load_mnist()


def test_one_file_missing(tmp_path):
    write(tmp_path, {name: small_files()[name] for name in NAMES[:3]})
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte"):
        load_mnist(tmp_path)


def test_counts_disagree(tmp_path):
    write(tmp_path, small_files() | {NAMES[3]: small_files(7, 4)[NAMES[3]]})
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte holds 3 images, but .* 4 labels"):
        load_mnist(tmp_path)


def test_files_swapped(tmp_path):
    contents = small_files()
    write(tmp_path, contents | {NAMES[0]: contents[NAMES[1]]})
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte holds no images"):
        load_mnist(tmp_path)
    write(tmp_path, contents | {NAMES[1]: contents[NAMES[0]]})
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte holds no labels"):
        load_mnist(tmp_path)


def test_label_out_of_range(tmp_path):
    contents = small_files()
    write(tmp_path, contents | {NAMES[1]: contents[NAMES[1]][:-1] + b"\x0a"})
    with pytest.raises(DataError, match="holds a label 10"):
        load_mnist(tmp_path)


def test_damaged_file_is_named(tmp_path):
    contents = small_files()
    write(tmp_path, contents | {NAMES[2]: contents[NAMES[2]][:-5]})
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is truncated"):
        load_mnist(tmp_path)


@pytest.mark.skipif(not REAL, reason="FASTSCRATCH_DATA names no folder with the real files")
class TestRealFiles:
    @pytest.mark.parametrize(
        ("load", "counts"),
        [
            (load_mnist, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
            (load_fashion_mnist, [6000] * 10),
        ],
    )
    def test_counts(self, load, counts):
        (x_train, t_train), (x_test, _) = load(REAL, normalize=False)
        assert x_train.shape == (60000, 1, 28, 28) and x_test.shape == (10000, 1, 28, 28)
        assert np.bincount(t_train).tolist() == counts

    def test_the_other_set_is_refused(self):
        folder = Path(str(REAL)) / "fashion_mnist"
        with pytest.raises(DataError, match="belongs to Fashion-MNIST"):
            load_mnist(folder)

    @pytest.mark.parametrize("source", [mnist.MNIST, mnist.FASHION_MNIST], ids=lambda s: s.name)
    def test_hashes_are_those_of_the_real_files(self, source):
        import hashlib

        from fastscratch.data.idx import unpack

        for name, sha256 in zip(NAMES, source.sha256, strict=True):
            path = next((Path(str(REAL)) / source.folder).glob(f"{name}*"))
            assert hashlib.sha256(unpack(path.read_bytes())).hexdigest() == sha256
