"""The dense products: the documents' numbers, extents, identities."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fastscratch.errors import ShapeError
from fastscratch.ops import (
    dense_backward_bias,
    dense_backward_input,
    dense_backward_weight,
    dense_forward,
)


def test_products_of_the_documents(backend):
    """Saitoh, sections 3.3 and 3.4."""
    product = dense_forward(
        np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]]), backend=backend
    )
    assert product.tolist() == [[19, 22], [43, 50]]
    x, weight = np.array([[1.0, 2.0]]), np.array([[1.0, 3, 5], [2, 4, 6]])
    assert dense_forward(x, weight, backend=backend).tolist() == [[5, 11, 17]]
    first = dense_forward(
        np.array([[1.0, 0.5]]), np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]),
        np.array([0.1, 0.2, 0.3]), backend=backend,
    )  # fmt: skip
    np.testing.assert_allclose(first, [[0.3, 0.7, 1.1]], rtol=1e-15)


@pytest.mark.parametrize(
    ("function", "first", "second", "text"),
    [
        (dense_forward, (2, 3), (4, 5), r"x has 3 features, .*\(3, out\), got \(4, 5\)"),
        (dense_backward_input, (2, 3), (4, 5), r"weight has 5 outputs, .*\(N, 5\), got \(2, 3\)"),
        (dense_backward_weight, (2, 3), (4, 5), r"x has 4 rows, .*\(4, out\), got \(2, 3\)"),
        (dense_forward, (2, 0), (0, 5), "one feature or more on both sides, got 0 in and 5 out"),
        (dense_forward, (2, 3), (3, 0), "got 3 in and 0 out"),
        (dense_forward, (3,), (3, 5), r"x must have axes \(N, in\), got shape \(3,\)"),
    ],
)
def test_extents_that_do_not_fit(function, first, second, text):
    with pytest.raises(ShapeError, match=f"^{function.__name__}: .*{text}"):
        function(np.ones(first), np.ones(second))


def test_a_bias_of_another_extent():
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"bias must have shape \(2,\), got \(3,\)"):
            dense_forward(np.ones((1, 2)), np.ones((2, 2)), np.ones(3))
        with pytest.raises(ShapeError, match=r"bias must have shape \(2,\), got \(1, 2\)"):
            dense_forward(np.ones((1, 2)), np.ones((2, 2)), np.ones((1, 2)))


extents = st.integers(1, 40)


@given(extents, extents, extents, st.integers(0, 2**32))
def test_adjoint_identities_of_integers(backends, N, in_features, out_features, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, (N, in_features)).astype(np.float32)
    weight = rng.integers(-3, 4, (in_features, out_features)).astype(np.float32)
    dout = rng.integers(-3, 4, (N, out_features)).astype(np.float32)
    for backend in backends:
        y = dense_forward(x, weight, backend=backend)
        np.testing.assert_array_equal(y, x.astype(int) @ weight.astype(int))
        dx = dense_backward_input(dout, weight, backend=backend)
        db = np.empty(out_features, np.float32)
        dw = dense_backward_weight(dout, x, backend=backend, bias_out=db)
        product = np.vdot(dout.astype(int), y.astype(int))
        assert product == np.vdot(dx.astype(int), x.astype(int))
        assert product == np.vdot(dw.astype(int), weight.astype(int))
        np.testing.assert_array_equal(db, dense_backward_bias(dout))


@given(st.integers(2, 30), extents, extents, st.integers(0, 2**32))
def test_rows_do_not_see_each_other(backends, N, in_features, out_features, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, (N, in_features)).astype(np.float64)
    weight = rng.integers(-3, 4, (in_features, out_features)).astype(np.float64)
    for backend in backends:
        y = dense_forward(x, weight, backend=backend)
        order = rng.permutation(N)
        np.testing.assert_array_equal(dense_forward(x[order], weight, backend=backend), y[order])
        np.testing.assert_array_equal(dense_forward(x[:1], weight, backend=backend), y[:1])


def test_gradients_agree_with_differences_along_a_direction(backend):
    rng = np.random.default_rng(5)
    x, x_along = rng.standard_normal((2, 7, 11))
    weight, w_along = rng.standard_normal((2, 11, 5))
    dout = rng.standard_normal((7, 5))

    def loss(x, weight):
        return np.vdot(dout, dense_forward(x, weight, backend=backend))

    dx = dense_backward_input(dout, weight, backend=backend)
    dw = dense_backward_weight(dout, x, backend=backend)
    along_x = (loss(x + x_along, weight) - loss(x - x_along, weight)) / 2
    along_w = (loss(x, weight + w_along) - loss(x, weight - w_along)) / 2
    np.testing.assert_allclose(np.vdot(dx, x_along), along_x, rtol=1e-12)
    np.testing.assert_allclose(np.vdot(dw, w_along), along_w, rtol=1e-12)
