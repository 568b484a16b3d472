"""The handwritten digits that come with the package: 1,797 images of 8x8 (UCI, CC BY 4.0)."""

import hashlib
import io
from importlib import resources

import numpy as np

from fastscratch.data.arrays import CLASSES, Split, present_images, present_labels
from fastscratch.errors import DataError
from fastscratch.types import Array

TEST_COUNT = 360
INK = 16
"""The largest value of a pixel."""

_SHA256 = "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"


def load_digits(*, flatten: bool = False, one_hot: bool = False, normalize: bool = True) -> Split:
    """Load the handwritten digits that come with the package; no network, no download.

    The split is fixed and stratified: see `split_indices` for its rule. As in any random split of
    these images, the same writers occur in both parts.

    Parameters
    ----------
    flatten : bool
        Images as rows of 64 values instead of (1, 8, 8).
    one_hot : bool
        Labels as float32 rows of ten instead of integers.
    normalize : bool
        float32 in [0, 1]; otherwise uint8 from 0 to 16, as stored.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : ndarray
        1,437 images for training and 360 for the test, with their labels.

    Raises
    ------
    DataError
        If the file in the package is damaged.

    Notes
    -----
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository (1998), DOI 10.24432/C50P49, licence CC BY 4.0.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_digits()
    >>> x_train.shape, x_train.dtype, x_test.shape
    ((1437, 1, 8, 8), dtype('float32'), (360, 1, 8, 8))
    >>> t_test[:5]
    array([0, 1, 2, 3, 4])
    """
    images, labels = _read()
    x = present_images(images, flatten=flatten, normalize=normalize, maximum=INK)
    t = present_labels(labels, one_hot=one_hot)
    train, test = split_indices(labels)
    return (x[train], t[train]), (x[test], t[test])


def split_indices(labels: Array) -> tuple[Array, Array]:
    """Indices of the training images and of the 360 test images, each ascending.

    The rule uses no random numbers. Each class gets its share of the 360 (the fractions that
    rounding down leaves over go to the largest remainders, lower class first), and within a class
    of n images in file order its k test images are the numbers floor((i + 1/2) n/k), i = 0 ... k-1:
    evenly spread over the file, and so over the people who wrote it.
    """
    counts = np.bincount(labels, minlength=CLASSES)
    share, remainder = np.divmod(counts * TEST_COUNT, len(labels))
    left_over = TEST_COUNT - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:left_over]] += 1
    chosen = np.zeros(len(labels), bool)
    for digit in range(CLASSES):
        members = np.flatnonzero(labels == digit)
        n, k = len(members), int(share[digit])
        chosen[members[(2 * np.arange(k) + 1) * n // (2 * k)]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _read() -> tuple[Array, Array]:
    """The arrays of the bundled file, once its bytes are seen to be the right ones."""
    source = resources.files("fastscratch.data").joinpath("bundled", "digits.npz")
    advice = "it belongs to the package: reinstall fastscratch"
    try:
        content = source.read_bytes()
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error}); {advice}") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise DataError(f"{source} is damaged (its SHA-256 is not the one expected); {advice}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]
