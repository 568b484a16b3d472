"""Stands in for ``dataset.mnist``: MNIST in the forms that the book's scripts ask for."""

import os
import sys
from functools import cache
from pathlib import Path

import numpy as np

from fastscratch import data
from fastscratch.files import cache_folder
from fastscratch.types import Array

__all__ = [
    "dataset_dir",
    "download_mnist",
    "img_dim",
    "img_size",
    "init_mnist",
    "key_file",
    "load_mnist",
    "test_num",
    "train_num",
]

key_file = {
    "train_img": "train-images-idx3-ubyte.gz",
    "train_label": "train-labels-idx1-ubyte.gz",
    "test_img": "t10k-images-idx3-ubyte.gz",
    "test_label": "t10k-labels-idx1-ubyte.gz",
}
train_num = 60000
test_num = 10000
img_dim = (1, 28, 28)
img_size = 784
dataset_dir = str(cache_folder() / "mnist")
"""Where a download is kept; files elsewhere are found as `load_mnist` says."""


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Training and test images with their labels.

    The files are those of the folder in ``FASTSCRATCH_DATA``; else those of a folder ``dataset``
    where Python looks for modules, as in a copy of the book's code that has downloaded them; else
    those in the user's cache, downloaded the first time.

    Parameters
    ----------
    normalize : bool
        float32 from 0 to 1, otherwise uint8 from 0 to 255.
    flatten : bool
        Rows of 784 values, otherwise (1, 28, 28).
    one_hot_label : bool
        float64 rows of ten with a single 1, otherwise uint8 class numbers.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : ndarray
        The caller's own copies.
    """
    folder = None if os.environ.get("FASTSCRATCH_DATA") else _downloaded_by_the_book()
    parts = []
    for images, labels in _read(folder):
        x = images.reshape(len(images), -1) if flatten else images
        # A division, so that 255 becomes 1 exactly, as in the book.
        x = np.divide(x, np.float32(255), dtype=np.float32) if normalize else x.copy()
        t = np.eye(10)[labels] if one_hot_label else labels.copy()
        parts.append((x, t))
    return parts[0], parts[1]


def init_mnist() -> None:
    """Make sure that MNIST is there, downloading it if need be."""
    load_mnist()


download_mnist = init_mnist
"""The download is a part of the same."""


def _downloaded_by_the_book() -> str | None:
    """The first folder ``dataset`` on ``sys.path`` in which all four files are."""
    for entry in sys.path:
        folder = Path(entry or os.curdir, "dataset")
        if all((folder / name).is_file() for name in key_file.values()):
            return str(folder.resolve())
    return None


@cache
def _read(folder: str | None) -> tuple[tuple[Array, Array], ...]:
    """Bytes as stored; scripts that load several times wait once."""
    return tuple(
        (images, labels.astype(np.uint8))
        for images, labels in data.load_mnist(folder, normalize=False)
    )
