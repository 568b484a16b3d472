"""CS231n's layer functions against naive formulas, differences and PyTorch."""

from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.compat import cs231n
from fastscratch.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(5)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers():
    """Whichever tests ran before in this process."""
    RNG.bit_generator.state = START
    np.random.seed(5)


def numeric(f: Any, x: Any, dout: Any, h: float = 1e-5) -> Any:
    """The gradient of ``(f() * dout).sum()`` by an array that f looks at."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        here = x[index]
        x[index] = here + h
        above = (f() * dout).sum()
        x[index] = here - h
        below = (f() * dout).sum()
        x[index] = here
        gradient[index] = (above - below) / (2 * h)
    return gradient


def conv_naive(x: Any, w: Any, b: Any, conv_param: Any) -> Any:
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    out = np.zeros((N, F, 1 + (H + 2 * pad - HH) // stride, 1 + (W + 2 * pad - WW) // stride))
    for n, f, i, j in np.ndindex(out.shape):
        rows, columns = slice(i * stride, i * stride + HH), slice(j * stride, j * stride + WW)
        out[n, f, i, j] = (x[n, :, rows, columns] * w[f]).sum() + b[f]
    return out


def pool_naive(x: Any, pool_param: Any) -> Any:
    h, w, s = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    N, C, H, W = x.shape
    out = np.zeros((N, C, 1 + (H - h) // s, 1 + (W - w) // s))
    for n, c, i, j in np.ndindex(out.shape):
        out[n, c, i, j] = x[n, c, i * s : i * s + h, j * s : j * s + w].max()
    return out


POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


@pytest.mark.parametrize(("stride", "pad"), [(1, 1), (2, 1), (1, 0), (3, 2)])
def test_convolution(stride, pad):
    conv_param = {"stride": stride, "pad": pad}
    x, w, b = (RNG.standard_normal(s) for s in ((2, 3, 5, 8), (4, 3, 3, 3), (4,)))
    if stride > 1:
        x = x[:, :, :, :5].copy()
    out, cache = cs231n.conv_forward_fast(x, w, b, conv_param)
    np.testing.assert_allclose(out, conv_naive(x, w, b, conv_param), rtol=1e-10, atol=1e-12)
    assert cache[0] is x and cache[1] is w and cache[3] is conv_param
    dout = np.asarray(RNG.standard_normal(out.shape))
    for array, gradient in zip((x, w, b), cs231n.conv_backward_fast(dout, cache), strict=True):
        ref = numeric(lambda: conv_naive(x, w, b, conv_param), array, dout)
        np.testing.assert_allclose(gradient, ref, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("key", ["stride", "pad"])
def test_an_option_of_convolution_is_missing(key):
    arrays = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), np.zeros(1)
    whole = {"stride": 1, "pad": 1}
    given = {name: value for name, value in whole.items() if name != key}
    with pytest.raises(ArgumentError, match=rf"conv_param lacks '{key}': expected.*got {{'"):
        cs231n.conv_forward_fast(*arrays, given)
    out, cache = cs231n.conv_forward_fast(*arrays, whole)
    with pytest.raises(ArgumentError, match=f"conv_param lacks '{key}'"):
        cs231n.conv_backward_fast(out, (*cache[:3], given))


@pytest.mark.parametrize("key", POOL)
def test_an_option_of_pooling_is_missing(key):
    x = np.ones((1, 1, 4, 4))
    given = {name: value for name, value in POOL.items() if name != key}
    with pytest.raises(ArgumentError, match=f"pool_param lacks '{key}': expected a dict such as"):
        cs231n.max_pool_forward_fast(x, given)
    with pytest.raises(ArgumentError, match=f"pool_param lacks '{key}'"):
        cs231n.conv_relu_pool_forward(
            x, np.ones((1, 1, 1, 1)), np.zeros(1), {"stride": 1, "pad": 0}, given
        )
    out, cache = cs231n.max_pool_forward_fast(x, POOL)
    with pytest.raises(ArgumentError, match=f"pool_param lacks '{key}'"):
        cs231n.max_pool_backward_fast(out, (*cache[:2], given))


def test_other_options_that_are_missing():
    x, one = np.ones((2, 3)), np.ones(3)
    with pytest.raises(ArgumentError, match="bn_param lacks 'mode'"):
        cs231n.batchnorm_forward(x, one, one, {"eps": 1e-5})
    with pytest.raises(ArgumentError, match="dropout_param lacks 'mode' and 'p'"):
        cs231n.dropout_forward(x, {"seed": 1})
    with pytest.raises(ArgumentError, match=r"conv_param is no dict: expected.*got 1"):
        cs231n.conv_forward_fast(x[None, None], x[None, None], np.zeros(1), 1)  # type: ignore[arg-type]


def test_windows_that_leave_a_remainder():
    with pytest.raises(ShapeError, match="remainder"):
        cs231n.conv_forward_fast(
            np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3)), np.zeros(1), {"stride": 2, "pad": 0}
        )
    with pytest.raises(ShapeError, match="remainder"):
        cs231n.max_pool_forward_fast(np.ones((1, 1, 5, 5)), POOL)


@pytest.mark.parametrize(
    "pool_param",
    [
        POOL, {"pool_height": 3, "pool_width": 2, "stride": 1},
        {"pool_height": 2, "pool_width": 4, "stride": 2},
    ],
)  # fmt: skip
def test_max_pooling(pool_param):
    x = RNG.standard_normal((2, 3, 6, 8))
    out, cache = cs231n.max_pool_forward_fast(x, pool_param)
    np.testing.assert_array_equal(out, pool_naive(x, pool_param))
    dout = np.asarray(RNG.standard_normal(out.shape))
    ref = numeric(lambda: pool_naive(x, pool_param), x, dout)
    np.testing.assert_allclose(cs231n.max_pool_backward_fast(dout, cache), ref, atol=1e-8)


def test_max_pooling_has_one_rule_for_ties_and_pads_with_minus_infinity():
    """The first of equals gets all, whether windows overlap or not."""
    x = np.ones((1, 1, 4, 4))
    for pool_param in (POOL, {**POOL, "stride": 1}):
        out, cache = cs231n.max_pool_forward_fast(x, pool_param)
        dx = cs231n.max_pool_backward_fast(np.ones_like(out), cache)
        assert set(dx.ravel()) == {0.0, 1.0} and dx.sum() == out.size
    out, cache = cs231n.max_pool_forward_fast(-x, {**POOL, "pad": 1})
    assert out.shape == (1, 1, 3, 3) and (out == -1).all()
    assert cs231n.max_pool_backward_fast(out, cache).shape == x.shape


def test_affine():
    x, w, b = (RNG.standard_normal(s) for s in ((3, 2, 4), (8, 5), (5,)))
    out, cache = cs231n.affine_forward(x, w, b)
    np.testing.assert_allclose(out, x.reshape(3, 8) @ w + b, rtol=1e-12)
    dout = RNG.standard_normal((3, 5))
    dx, dw, db = cs231n.affine_backward(dout, cache)
    np.testing.assert_allclose(dx, (dout @ w.T).reshape(x.shape), rtol=1e-12)
    np.testing.assert_allclose(dw, x.reshape(3, 8).T @ dout, rtol=1e-12)
    np.testing.assert_allclose(db, dout.sum(axis=0), rtol=1e-12)


def test_relu_leaves_its_arrays():
    x, dout = np.array([[-1.0, 0.0, 2.0]]), np.full((1, 3), 4.0)
    out, cache = cs231n.relu_forward(x)
    np.testing.assert_array_equal(cs231n.relu_backward(dout, cache), [[0, 0, 4]])
    np.testing.assert_array_equal(out, [[0, 0, 2]])
    assert cache is x and (dout == 4).all()


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 5)])
def test_batch_normalisation(shape):
    spatial = len(shape) == 4
    name = "spatial_batchnorm" if spatial else "batchnorm"
    forward, backward = (getattr(cs231n, f"{name}_{way}") for way in ("forward", "backward"))
    x, gamma, beta = RNG.standard_normal(shape), RNG.random(3), RNG.random(3)
    axes, wide = ((0, 2, 3), (1, 3, 1, 1)) if spatial else ((0,), (1, 3))

    def formula(x, mean, var):
        xn = (x - mean.reshape(wide)) / np.sqrt(var + 1e-3).reshape(wide)
        return gamma.reshape(wide) * xn + beta.reshape(wide)

    def of_batch():
        return formula(x, x.mean(axis=axes), x.var(axis=axes))

    bn_param: dict[str, Any] = {"mode": "train", "eps": 1e-3, "momentum": 0.8}
    out, cache = forward(x, gamma, beta, bn_param)
    np.testing.assert_allclose(out, of_batch(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(bn_param["running_mean"], 0.2 * x.mean(axis=axes), atol=1e-14)
    np.testing.assert_allclose(bn_param["running_var"], 0.2 * x.var(axis=axes), rtol=1e-12)
    dout = RNG.standard_normal(shape)
    gradients = backward(dout, cache)
    for array, gradient in zip((x, gamma, beta), gradients, strict=True):
        np.testing.assert_allclose(gradient, numeric(of_batch, array, dout), atol=1e-6)

    bn_param["mode"] = "test"
    before = bn_param["running_mean"].copy()
    out, cache = forward(x, gamma, beta, bn_param)
    ref = formula(x, bn_param["running_mean"], bn_param["running_var"])
    np.testing.assert_allclose(out, ref, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(bn_param["running_mean"], before)
    with pytest.raises(ArgumentError, match='mode "train"'):
        backward(dout, cache)
    with pytest.raises(ArgumentError, match="got 'best'"):
        forward(x, gamma, beta, {"mode": "best"})


def test_spatial_batch_normalisation_takes_images():
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\)"):
        cs231n.spatial_batchnorm_forward(np.ones((2, 3)), np.ones(3), np.ones(3), {"mode": "test"})


@pytest.mark.parametrize("p", [0.25, 0.7, 1.0])
def test_dropout_keeps_a_share_p_and_the_mean(p):
    x = np.ones((200, 200))
    param = {"mode": "train", "p": p, "seed": 3}
    out, cache = cs231n.dropout_forward(x, param)
    assert set(np.unique(out)) <= {0.0, 1 / p}
    assert abs((out > 0).mean() - p) < 0.02 and abs(out.mean() - 1) < 0.05
    np.testing.assert_array_equal(cs231n.dropout_backward(x, cache), out)
    np.testing.assert_array_equal(cs231n.dropout_forward(x, param)[0], out)
    out, cache = cs231n.dropout_forward(x, {"mode": "test", "p": p})
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(cs231n.dropout_backward(x, cache), x)


def test_dropout_without_a_seed_is_new_each_time_and_numpy_s_seed_s():
    x, param = np.ones(100), {"mode": "train", "p": 0.5}
    first, second = (cs231n.dropout_forward(x, param)[0] for _ in range(2))
    assert (first != second).any()
    np.random.seed(1)
    first = cs231n.dropout_forward(x, param)[0]
    np.random.seed(1)
    np.testing.assert_array_equal(cs231n.dropout_forward(x, param)[0], first)
    with pytest.raises(ArgumentError, match="the share kept"):
        cs231n.dropout_forward(x, {"mode": "train", "p": 0})


@pytest.mark.parametrize("name", ["svm_loss", "softmax_loss"])
def test_losses(name):
    x, y = RNG.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    loss, dx = getattr(cs231n, name)(x, y)
    if name == "svm_loss":
        ref = sum(max(0, x[n, c] - x[n, y[n]] + 1) for n in range(5) for c in range(4) if c != y[n])
    else:
        ref = -sum(np.log(np.exp(x[n, y[n]]) / np.exp(x[n]).sum()) for n in range(5))
    assert isinstance(loss, float) and loss == pytest.approx(ref / 5, rel=1e-12)
    value = numeric(lambda: np.array(getattr(cs231n, name)(x, y)[0]), x, 1.0)
    np.testing.assert_allclose(dx, value, atol=1e-8)


@pytest.mark.parametrize("loss", [cs231n.svm_loss, cs231n.softmax_loss])
@pytest.mark.parametrize("label", [3, -1])
def test_labels_are_class_numbers(loss, label):
    with pytest.raises(ArgumentError, match=rf"{loss.__name__}: class .*0\.\.2, got {label}"):
        loss(np.ones((2, 3)), np.array([0, label]))


SANDWICHES = [
    "affine_relu", "affine_bn_relu", "conv_relu", "conv_relu_pool", "conv_bn_relu",
    "conv_bn_relu_pool",
]  # fmt: skip


@pytest.mark.parametrize("name", SANDWICHES)
def test_sandwiches_against_differences(name):
    forward, backward = (getattr(cs231n, f"{name}_{way}") for way in ("forward", "backward"))
    if "affine" in name:
        arrays = [RNG.standard_normal(s) for s in ((5, 2, 3), (6, 4), (4,))]
    else:
        arrays = [RNG.standard_normal(s) for s in ((2, 2, 4, 4), (4, 2, 3, 3), (4,))]
    options: list[dict[str, Any]] = [{"stride": 1, "pad": 1}] if "conv" in name else []
    if "bn" in name:
        arrays += [1 + RNG.random(4), RNG.random(4)]
        options.append({"mode": "train"})
    if "pool" in name:
        options.append(POOL)
    out, cache = forward(*arrays, *options)
    dout = np.asarray(RNG.standard_normal(out.shape))
    gradients = backward(dout, cache)
    assert len(gradients) == len(arrays)
    for array, gradient in zip(arrays, gradients, strict=True):
        ref = numeric(lambda: forward(*arrays, *options)[0], array, dout)
        np.testing.assert_allclose(gradient, ref, rtol=1e-5, atol=1e-6)


def test_conv_relu_pool_against_torch():
    torch = pytest.importorskip("torch")
    x, w, b = (RNG.standard_normal(s) for s in ((3, 3, 8, 8), (7, 3, 5, 5), (7,)))
    out, cache = cs231n.conv_relu_pool_forward(x, w, b, {"stride": 1, "pad": 2}, POOL)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, w, b)]
    ref = torch.relu(torch.nn.functional.conv2d(*tensors, padding=2))
    ref = torch.nn.functional.max_pool2d(ref, 2)
    np.testing.assert_allclose(out, ref.detach().numpy(), rtol=1e-11)
    dout = np.asarray(RNG.standard_normal(out.shape))
    ref.backward(torch.tensor(dout))
    gradients = cs231n.conv_relu_pool_backward(dout, cache)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-9, atol=1e-11)


def test_dtypes_are_promoted():
    x, w, b = np.ones((1, 1, 4, 4), "f4"), np.ones((2, 1, 3, 3)), np.zeros(2)
    out, cache = cs231n.conv_relu_pool_forward(x, w, b, {"stride": 1, "pad": 1}, POOL)
    assert out.dtype == np.float64
    assert all(gradient.dtype == np.float64 for gradient in
               cs231n.conv_relu_pool_backward(out.astype("f4"), cache))  # fmt: skip
    out, _ = cs231n.affine_forward(x, np.ones((16, 2), "f4"), np.zeros(2, "f4"))
    assert out.dtype == np.float32


def test_functions_run_on_the_operations():
    x, w, b = np.ones((2, 1, 4, 4)), np.ones((2, 1, 3, 3)), np.zeros(2)
    one = np.ones(2)
    with fs.record_choices() as choices:
        out, cache = cs231n.conv_bn_relu_pool_forward(
            x, w, b, one, one, {"stride": 1, "pad": 1}, {"mode": "train"}, POOL
        )
        cs231n.conv_bn_relu_pool_backward(out, cache)
        scores, cache = cs231n.affine_forward(out, np.ones((8, 3)), np.zeros(3))
        cs231n.affine_backward(scores, cache)
        cs231n.softmax_loss(scores, np.array([0, 1]))
        cs231n.dropout_forward(x, {"mode": "train", "p": 0.5})
    assert len(choices) == 15
