"""Updates in place: the formulas, what may not be written to, the same bits from any threads."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch import ops
from fastscratch.errors import ArgumentError, DtypeError, ShapeError

RNG = np.random.default_rng(0)
VALUE, GRAD, M = RNG.standard_normal((3, 20_001))
V = np.square(RNG.standard_normal(20_001))


def test_sgd(backend):
    value = VALUE.copy()
    ops.sgd_update(value, GRAD, lr=0.1, weight_decay=0.3, backend=backend)
    np.testing.assert_allclose(value, VALUE - 0.1 * (GRAD + 0.3 * VALUE), rtol=0, atol=1e-14)


def test_momentum(backend):
    value, velocity = VALUE.copy(), M.copy()
    ops.momentum_update(
        value, velocity, GRAD, momentum=0.9, gain=0.5, step=-0.1, weight_decay=0.3, backend=backend
    )
    expected = 0.9 * M + 0.5 * (GRAD + 0.3 * VALUE)
    np.testing.assert_allclose(velocity, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(value, VALUE - 0.1 * expected, rtol=0, atol=1e-14)


def test_adam(backend):
    value, m, v = VALUE.copy(), M.copy(), V.copy()
    ops.adam_update(
        value, m, v, GRAD, t=3, lr=0.1, beta1=0.8, beta2=0.99, eps=1e-3, weight_decay=0.3,
        backend=backend,
    )  # fmt: skip
    g = GRAD + 0.3 * VALUE
    mean, square = 0.8 * M + 0.2 * g, 0.99 * V + 0.01 * g * g
    step = 0.1 * mean / (1 - 0.8**3) / (np.sqrt(square / (1 - 0.99**3)) + 1e-3)
    np.testing.assert_allclose(m, mean, rtol=0, atol=1e-14)
    np.testing.assert_allclose(v, square, rtol=0, atol=1e-13)
    np.testing.assert_allclose(value, VALUE - step, rtol=0, atol=1e-12)


def momentum(value, velocity, **options):
    ops.momentum_update(value, velocity, np.zeros_like(value), momentum=0.5, gain=1.0, **options)


def nesterov(value, velocity, **options):
    ops.nesterov_update(value, velocity, np.zeros_like(value), momentum=0.5, gain=1.0, **options)


def adam(value, m, **options):
    ops.adam_update(
        value, m, np.ones_like(m), np.zeros_like(m), t=3, lr=0.1, beta1=0.5, beta2=0.9, eps=1e-8,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("update", [momentum, nesterov, adam])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_fades_gets_to_zero(update, dtype, backend):
    """Not to the smallest numbers that there are, which half of them round to again and again."""
    tiny = np.finfo(dtype).tiny
    states = np.array([1.5, -1.5, 0.1, 2.0, -2.0, 3.0, 0.0, np.nan, np.inf] * 9, dtype) * tiny
    states[8::9] = np.inf
    value = np.zeros_like(states)
    update(value, states, backend=backend)
    expected = np.array([0, 0, 0, tiny, -tiny, 1.5 * tiny, 0, np.nan, np.inf] * 9, dtype)
    np.testing.assert_array_equal(states, expected)


def test_squared_norm(backend):
    assert ops.squared_norm(GRAD, backend=backend) == pytest.approx(GRAD @ GRAD, rel=1e-13)
    assert ops.squared_norm(GRAD[::3], backend=backend) == pytest.approx(GRAD[::3] @ GRAD[::3])
    assert ops.squared_norm(np.zeros(0), backend=backend) == 0
    for bad in (np.nan, np.inf, -np.inf):
        row = GRAD.astype(np.float32)
        row[-1] = bad
        assert not np.isfinite(ops.squared_norm(row, backend=backend))


def test_threads_change_no_bit(backend):
    results = []
    for threads in (1, 3):
        value, m, v = (a.astype(np.float32) for a in (VALUE, M, V))
        with fs.threads(threads):
            ops.adam_update(value, m, v, GRAD.astype(np.float32), t=2, backend=backend)
        results.append(value.tobytes() + m.tobytes() + v.tobytes())
    assert results[0] == results[1]


def test_what_cannot_be_written_is_refused():
    read_only = VALUE.copy()
    read_only.flags.writeable = False
    for value in (read_only, np.ones((4, 2))[:, 0], np.ones((2, 3)).T):
        with pytest.raises(ArgumentError, match="value must be C-contiguous, aligned and writeabl"):
            ops.sgd_update(value, np.ones_like(value))
    with pytest.raises(DtypeError, match="value must be a NumPy array, got list"):
        ops.sgd_update([1.0], np.ones(1))  # type: ignore[arg-type]
    value = np.ones(4)
    for grad in (value, value[:], value[::-1]):
        with pytest.raises(ArgumentError, match="value overlaps another array"):
            ops.sgd_update(value, grad)
    with pytest.raises(ArgumentError, match="velocity overlaps another array"):
        ops.momentum_update(np.ones(4), value, value)
    with pytest.raises(ShapeError, match="grad must have the shape of value"):
        ops.sgd_update(value, np.ones(5))
    with pytest.raises(DtypeError, match="m is float32 and value is float64"):
        ops.adam_update(value, np.ones(4, np.float32), np.ones(4), np.ones(4))
    assert value.tolist() == [1, 1, 1, 1]


def test_a_gradient_in_another_layout_is_read_as_what_it_shows(backend):
    value = np.zeros((3, 4))
    grad = np.arange(12.0).reshape(4, 3).T
    ops.sgd_update(value, grad, lr=1.0, backend=backend)
    np.testing.assert_array_equal(value, -grad)
