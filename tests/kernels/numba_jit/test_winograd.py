"""How the minimal-filtering convolutions are cut: bounded memory, blocks that cover every tile."""

import numpy as np
import pytest

from fastscratch.kernels.numba_jit import winograd, winograd_weight
from fastscratch.kernels.numba_jit.winograd_blocks import cut_tiles, find_block

EACH = 16 * 1024 * 1024


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("N", "C", "side"), [(64, 64, 224), (64, 512, 7), (2, 4096, 14)])
def test_a_worker_takes_bounded_memory(N, C, side, dtype):
    x, dtype = (N, C, side, side), np.dtype(dtype)
    forward = winograd.plan(x, x, (C, C), 1, (-1, -1), False, dtype)
    weight = winograd_weight.plan(x, x, (C, C, 3, 3), (1, 1, 1, 1), 1, dtype)
    own = (
        forward.taps_size + forward.turned_size + forward.local_size + forward.sources_size
        + forward.products_size + forward.sums_size,
        weight.turned_size + weight.local_size + weight.sources_size + weight.gradients_size
        + weight.sums_size + weight.line_size,
    )  # fmt: skip
    assert max(own) * dtype.itemsize <= EACH


@pytest.mark.parametrize(
    ("N", "OH", "OW", "most"), [(5, 7, 7, 64), (1, 1, 1, 64), (3, 9, 301, 64), (7, 4, 3, 10)]
)
def test_blocks_cover_every_tile_once(N, OH, OW, most):
    b = cut_tiles(N, OH, OW, most)
    seen = np.zeros((N, -(-OH // 2), -(-OW // 2)), int)
    for index in range(b.batches * b.blocks_h * b.blocks_w):
        find = getattr(find_block, "py_func", find_block)
        batch, top, left, height, across = find(index, OH, OW, b.blocks_h, b.blocks_w)
        assert height <= b.block_h
        assert across <= b.block_w
        n = batch * b.images
        assert min(b.images, N - n) * height * across <= most
        seen[n : n + b.images, top : top + height, left : left + across] += 1
    assert (seen == 1).all()


def test_no_image_makes_no_block():
    assert cut_tiles(0, 8, 8, 64).batches == 0
