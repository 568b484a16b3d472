"""Batch normalisation as an operation: any number of axes, gradients, threads, what is refused."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch import ops
from fastscratch.errors import ArgumentError, DtypeError, ShapeError

RNG = np.random.default_rng(0)
SHAPES = [(6, 4), (3, 4, 5), (2, 4, 3, 5), (2, 4, 1, 1)]


def arrays(shape, dtype=np.float64):
    x, dout = (RNG.standard_normal(shape).astype(dtype) for _ in range(2))
    gamma, beta = RNG.standard_normal((2, shape[1])).astype(dtype)
    return x, dout, gamma, beta


@pytest.mark.parametrize("shape", SHAPES)
def test_is_normalised_scaled_and_shifted(shape, backend):
    x, _, gamma, beta = arrays(shape)
    y, mean, var = ops.batch_norm_forward(5 + 3 * x, gamma, beta, eps=1e-12, backend=backend)
    axes = (0, *range(2, len(shape)))
    assert y.shape == shape
    np.testing.assert_allclose(mean, 5 + 3 * x.mean(axis=axes), rtol=1e-13)
    np.testing.assert_allclose(var, 9 * x.var(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(y.mean(axis=axes), beta, rtol=0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=axes), np.abs(gamma), rtol=1e-9)
    again = ops.batch_norm_inference(5 + 3 * x, gamma, beta, mean, var, eps=1e-12, backend=backend)
    np.testing.assert_allclose(again, y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape, backend):
    x, dout, gamma, beta = arrays(shape)
    _, mean, var = ops.batch_norm_forward(x, gamma, beta, backend=backend)
    found = ops.batch_norm_backward(dout, x, gamma, mean, var, backend=backend)
    for gradient, name in zip(found, ("x", "gamma", "beta"), strict=True):
        given = {"x": x, "gamma": gamma, "beta": beta}
        direction = RNG.standard_normal(given[name].shape)
        losses = []
        for sign in (1, -1):
            moved = given | {name: given[name] + sign * 1e-6 * direction}
            losses.append((ops.batch_norm_forward(**moved, backend="numpy")[0] * dout).sum())
        slope = (losses[0] - losses[1]) / 2e-6
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_a_large_mean_does_not_spoil_the_variance(backend):
    x = (1000 + RNG.standard_normal((64, 3, 9, 9))).astype(np.float32)
    _, _, var = ops.batch_norm_forward(
        x, np.ones(3, np.float32), np.zeros(3, np.float32), backend=backend
    )
    np.testing.assert_allclose(var, x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(300, 130), (5, 130, 9, 8)])
def test_threads_change_no_bit(shape, backend):
    x, dout, gamma, beta = arrays(shape, np.float32)
    results = []
    for threads in (1, 3):
        with fs.threads(threads):
            y, mean, var = ops.batch_norm_forward(x, gamma, beta, backend=backend)
            back = ops.batch_norm_backward(dout, x, gamma, mean, var, backend=backend)
        results.append([a.tobytes() for a in (y, mean, var, *back)])
    assert results[0] == results[1]


def test_writes_into_out(backend):
    x, dout, gamma, beta = arrays((2, 4, 3, 5))
    ref, mean, var = ops.batch_norm_forward(x, gamma, beta, backend=backend)
    out = np.empty_like(x)
    assert ops.batch_norm_forward(x, gamma, beta, backend=backend, out=out)[0] is out
    np.testing.assert_array_equal(out, ref)
    refs = ops.batch_norm_backward(dout, x, gamma, mean, var, backend=backend)
    outs = np.empty_like(x), np.empty(4), np.empty(4)
    found = ops.batch_norm_backward(
        dout, x, gamma, mean, var, backend=backend, out=outs[0], gamma_out=outs[1],
        beta_out=outs[2],
    )  # fmt: skip
    for out, array, expected in zip(outs, found, refs, strict=True):
        assert array is out
        np.testing.assert_array_equal(out, expected)
    with pytest.raises(ArgumentError, match="overlaps"):
        ops.batch_norm_forward(x, gamma, beta, out=x)
    with pytest.raises(ShapeError, match=r"out \(y\) must have shape"):
        ops.batch_norm_inference(x, gamma, beta, mean, var, out=np.empty((2, 4, 3, 4)))
    with pytest.raises(ShapeError, match=r"out \(y\) must have shape"):
        ops.batch_norm_inference(x, gamma, beta, mean, var, out=np.empty_like(x).T)


def test_any_layout(backend):
    x, _, gamma, beta = arrays((4, 6))
    ref = ops.batch_norm_forward(x, gamma, beta, backend=backend)[0]
    out = ops.batch_norm_forward(np.asfortranarray(x), gamma, beta[::1], backend=backend)[0]
    np.testing.assert_array_equal(out, ref)


def test_what_does_not_fit_is_refused():
    x, _, gamma, beta = arrays((4, 6))
    with pytest.raises(ShapeError, match=r"x has 6 channels, so beta must have shape \(6,\)"):
        ops.batch_norm_forward(x, gamma, beta[:5])
    with pytest.raises(ShapeError, match=r"x must have axes \(N, C, \.\.\.\)"):
        ops.batch_norm_forward(x[0], gamma, beta)
    with pytest.raises(DtypeError, match="gamma is float32 and x is float64"):
        ops.batch_norm_forward(x, gamma.astype(np.float32), beta)
    with pytest.raises(ShapeError, match="x must have the shape of dout"):
        ops.batch_norm_backward(x, x[:3], gamma, beta, beta)
