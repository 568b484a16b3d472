"""A small data set in the format of MNIST."""

import struct

import numpy as np
import pytest

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def small_files(train: int = 7, test: int = 3) -> dict[str, bytes]:
    """File contents by name: images whose every pixel tells its place."""
    contents = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = (np.arange(count * 784) % 251).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        contents[f"{prefix}-images-idx3-ubyte"] = (
            struct.pack(">4I", 2051, count, 28, 28) + images.tobytes()
        )
        contents[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, count) + labels.tobytes()
    return contents


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Whatever the machine offers, these tests neither read it nor write to it."""
    monkeypatch.delenv("FASTSCRATCH_DATA", raising=False)
    monkeypatch.delenv("FASTSCRATCH_MIRRORS", raising=False)
    monkeypatch.setenv("FASTSCRATCH_CACHE", str(tmp_path / "cache"))
