"""MNIST and Fashion-MNIST: from a folder, else from the cache, else from a mirror."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from fastscratch.data.arrays import CLASSES, Split, present_images, present_labels
from fastscratch.data.download import fetch
from fastscratch.data.idx import read_idx
from fastscratch.errors import DataError
from fastscratch.files import cache_folder
from fastscratch.types import Array

INK = 255
SIDE = 28

_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and the SHA-256 of its uncompressed files."""

    name: str
    folder: str
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...]


MNIST = Source(
    name="MNIST",
    folder="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

FASHION_MNIST = Source(
    name="Fashion-MNIST",
    folder="fashion_mnist",
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)


def load_mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    flatten: bool = False,
    one_hot: bool = False,
    normalize: bool = True,
) -> Split:
    """Load MNIST, the 70,000 handwritten digits of LeCun, Cortes and Burges.

    The files are looked for in `folder` if it is given; else in the folder that the environment
    variable ``FASTSCRATCH_DATA`` names; else in the user's cache, into which they are downloaded
    the first time (11 MB, needs the extra ``data``), from several mirrors in turn, checked by the
    hash of the uncompressed bytes. A folder holds the four files, or holds ``mnist/`` with them;
    they may be gzipped or not, with a dot or a dash before ``idx``.

    Parameters
    ----------
    folder : path-like, optional
        Where the files are; nothing is downloaded then.
    flatten : bool
        Images as rows of 784 values instead of (1, 28, 28).
    one_hot : bool
        Labels as float32 rows of ten instead of integers.
    normalize : bool
        float32 in [0, 1]; otherwise uint8 from 0 to 255, as stored.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : ndarray
        60,000 images for training and 10,000 for the test, with their labels. (Files in a folder of
        yours may hold other numbers.)

    Raises
    ------
    DataError
        If a file is missing, truncated, damaged or of another kind, or no mirror delivers it.
    MissingExtraError
        If a download is needed and pooch is not installed.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return _load(MNIST, folder, flatten=flatten, one_hot=one_hot, normalize=normalize)


def load_fashion_mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    flatten: bool = False,
    one_hot: bool = False,
    normalize: bool = True,
) -> Split:
    """Load Fashion-MNIST, Zalando's 70,000 images of clothing, in the format of MNIST.

    The classes: 0 T-shirt/top, 1 Trouser, 2 Pullover, 3 Dress, 4 Coat, 5 Sandal, 6 Shirt,
    7 Sneaker, 8 Bag, 9 Ankle boot. Arguments, returned arrays and errors are those of `load_mnist`,
    with ``fashion_mnist/`` for ``mnist/`` and a download of 31 MB.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_fashion_mnist()  # doctest: +SKIP
    """
    return _load(FASHION_MNIST, folder, flatten=flatten, one_hot=one_hot, normalize=normalize)


def _load(
    source: Source,
    folder: str | os.PathLike[str] | None,
    *,
    flatten: bool,
    one_hot: bool,
    normalize: bool,
) -> Split:
    paths = _locate(source, folder)
    raw = []
    for images_path, labels_path in (paths[:2], paths[2:]):
        images, labels = _read_pair(images_path, labels_path)
        raw.append(
            (
                present_images(images, flatten=flatten, normalize=normalize, maximum=INK),
                present_labels(labels, one_hot=one_hot),
            )
        )
    return raw[0], raw[1]


def _locate(source: Source, folder: str | os.PathLike[str] | None) -> list[Path]:
    """Paths of the four files, downloaded if need be."""
    environment = os.environ.get("FASTSCRATCH_DATA")
    if folder is not None:
        return _in_folder(source, Path(folder), "the folder given")
    if environment and _holds_any(source, Path(environment)):
        return _in_folder(source, Path(environment), "FASTSCRATCH_DATA")
    if environment and not Path(environment).is_dir():
        raise DataError(f"FASTSCRATCH_DATA names {environment}, which is no folder")
    return [
        fetch(name, sha256, source.mirrors, cache_folder() / source.folder, source.folder)
        for name, sha256 in zip(_NAMES, source.sha256, strict=True)
    ]


def _holds_any(source: Source, folder: Path) -> bool:
    return any(_find(place, name) for place in (folder, folder / source.folder) for name in _NAMES)


def _in_folder(source: Source, folder: Path, said_by: str) -> list[Path]:
    """The four files of a folder of the user's."""
    if not folder.is_dir():
        raise DataError(f"{source.name}: {said_by}, {folder}, is no folder")
    places = (folder / source.folder, folder)
    place = next((p for p in places if any(_find(p, name) for name in _NAMES)), None)
    if place is None:
        raise DataError(
            f"{source.name}: {said_by}, {folder}, holds none of the files {', '.join(_NAMES)} "
            f"(with or without .gz), nor does a folder {source.folder} in it"
        )
    found = [_find(place, name) for name in _NAMES]
    missing = [name for name, path in zip(_NAMES, found, strict=True) if path is None]
    if missing:
        raise DataError(f"{source.name}: {place} lacks {', '.join(missing)} (with or without .gz)")
    paths = [path for path in found if path is not None]
    _refuse_the_other(source, paths[1])
    return paths


def _find(folder: Path, name: str) -> Path | None:
    """A file under its usual name, the form with a dot, or either with .gz."""
    dotted = name.replace("-idx", ".idx")
    candidates = (folder / f"{stem}{end}" for stem in (name, dotted) for end in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _refuse_the_other(source: Source, labels_path: Path) -> None:
    """The two data sets have the same file names; the labels tell them apart."""
    digest = hashlib.sha256(_label_file_bytes(labels_path)).hexdigest()
    for other in (MNIST, FASHION_MNIST):
        if other is not source and digest == other.sha256[1]:
            raise DataError(f"{source.name}: {labels_path} belongs to {other.name}")


def _label_file_bytes(path: Path) -> bytes:
    """The label file as it is on disk when uncompressed: its header, then its values."""
    labels = read_idx(path)
    return b"\0\0\x08\x01" + len(labels).to_bytes(4, "big") + labels.tobytes()


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Array, Array]:
    """Images and their labels, once they are seen to fit each other."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != "u1" or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"{images_path} holds no images of {SIDE}x{SIDE} bytes, "
            f"but {images.dtype} of shape {images.shape}"
        )
    if labels.ndim != 1 or labels.dtype != "u1":
        raise DataError(
            f"{labels_path} holds no labels, but {labels.dtype} of shape {labels.shape}"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images)} images, but {labels_path} {len(labels)} labels"
        )
    if labels.size and labels.max() >= CLASSES:
        raise DataError(f"{labels_path} holds a label {labels.max()}; they must be 0 to 9")
    return images, labels
