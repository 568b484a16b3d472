"""Data sets: what a network is trained on, as arrays.

::

    load_digits          1,797 images of 8x8, in the package            digits.py
    load_mnist           60,000 + 10,000 images of 28x28, from a        mnist.py, with download.py,
    load_fashion_mnist     folder, the cache, or a mirror                 and idx.py: the format
    split_validation     a part of a training set, set aside            arrays.py
    train_validation_test_split     samples parted in three

Every loader returns ``(x_train, t_train), (x_test, t_test)``: images float32, NCHW, in [0, 1], and
integer labels.
"""

from fastscratch.data.arrays import split_validation, train_validation_test_split
from fastscratch.data.digits import load_digits
from fastscratch.data.idx import read_idx
from fastscratch.data.mnist import load_fashion_mnist, load_mnist

__all__ = [
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "read_idx",
    "split_validation",
    "train_validation_test_split",
]
