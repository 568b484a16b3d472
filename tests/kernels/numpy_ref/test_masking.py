import numpy as np
import pytest

from fastscratch.kernels.numpy_ref.masking import keep_where


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_where(dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 7, 3)).astype(dtype)
    x.flat[:6] = [np.inf, -np.inf, np.nan, -0.0, 1e-40, np.finfo(dtype).max]
    for mask in (rng.random(x.shape) < 0.5, np.ones(x.shape, bool), np.zeros(x.shape, bool)):
        ref = np.where(mask, x, dtype(0))
        out = keep_where(mask, x)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, ref)
        assert not np.signbit(out[~mask]).any()


def test_any_layout_and_read_only():
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    x.flags.writeable = False
    mask = np.array([[True, False, True], [False, True, False]])
    assert keep_where(mask, x).tolist() == [[0, 0, 2], [0, 4, 0]]
    assert keep_where(mask.T, x.T).tolist() == [[0, 0], [0, 4], [2, 0]]
    assert keep_where(np.zeros((0, 3), bool), np.zeros((0, 3))).shape == (0, 3)
