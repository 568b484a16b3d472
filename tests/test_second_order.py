"""L-BFGS against SciPy and on networks, its line search, its refusals; Newton's method."""

from itertools import pairwise

import numpy as np
import pytest

from fastscratch.data import load_digits
from fastscratch.errors import ArgumentError, TrainingError
from fastscratch.layers import (
    BatchNorm,
    Dense,
    DropConnect,
    Dropout,
    Flatten,
    FractionalMaxPool2d,
    Residual,
    Sequential,
    Tanh,
)
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.optimizers import FlatParameters
from fastscratch.second_order import LBFGS, line_search, newton_path, two_loop
from fastscratch.training import Trainer


def rosenbrock(x):
    value = float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    gradient[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return value, gradient


class Point:
    """A function's argument as the only parameter of a layer."""

    def __init__(self, function, start):
        self.function = function
        self.dense = Dense(len(start), bias=False)
        self.dense.build((1,), np.float64)
        self.flat = FlatParameters(self.dense)
        self.dense.weight.value = np.array([start])
        self.evaluations = 0

    def evaluate(self):
        self.evaluations += 1
        value, gradient = self.function(self.dense.weight.value[0])
        self.dense.weight.grad = gradient[None]
        return value

    def minimise(self, steps, optimizer):
        values = []
        for _ in range(steps):
            values.append(self.evaluate())
            optimizer.minimise(self.flat, self.evaluate, values[-1])
        return self.dense.weight.value[0].copy(), values


@pytest.mark.parametrize("size", [2, 10])
def test_rosenbrock_is_minimised_as_scipy_does(size):
    scipy = pytest.importorskip("scipy.optimize", reason="SciPy, the outside judge, is missing")
    start = np.tile([-1.2, 1.0], size // 2)
    ref = scipy.minimize(rosenbrock, start, jac=True, method="L-BFGS-B")
    point = Point(rosenbrock, start)
    out, values = point.minimise(2 * ref.nit + 20, LBFGS())
    np.testing.assert_allclose(out, np.ones(size), atol=1e-6)
    np.testing.assert_allclose(out, ref.x, atol=1e-4)
    assert (np.diff(values) <= 0).all()
    reached = next(step for step, value in enumerate(values) if value < 1e-8)
    assert reached < 2 * ref.nit + 5


def test_the_line_search_meets_the_conditions_of_scipys():
    scipy = pytest.importorskip("scipy.optimize", reason="SciPy, the outside judge, is missing")
    rng = np.random.default_rng(0)
    for _ in range(30):
        start = rng.uniform(-2, 2, 4)
        value, gradient = rosenbrock(start)
        direction = -gradient / np.linalg.norm(gradient)
        first = float(rng.choice([1e-3, 0.1, 1.0, 10.0]))
        found = line_search(rosenbrock, start, value, gradient, direction, first)
        step = (found.point - start) @ direction
        slope = gradient @ direction
        assert found.value <= value + 1e-4 * step * slope
        assert abs(found.gradient @ direction) <= 0.9 * abs(slope)
        assert scipy.line_search(
            lambda x: rosenbrock(x)[0], lambda x: rosenbrock(x)[1], start, direction
        )[0], "there is such a point"


def test_a_line_that_rises_is_not_followed():
    start = np.array([3.0])
    found = line_search(lambda x: (float(x @ x), 2 * x), start, 9.0, 2 * start, start)
    assert found.point is start and found.evaluations == 0


def test_a_function_that_is_not_finite_ahead_is_not_entered():
    def wall(x):
        return (float("nan"), x * np.nan) if x[0] > 1 else (-float(x[0]), -np.ones(1))

    found = line_search(wall, np.zeros(1), 0.0, -np.ones(1), np.ones(1), first=64.0)
    assert 0 < found.point[0] <= 1 and np.isfinite(found.value)


def test_the_estimate_is_exact_where_curvature_is_known():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((4, 4))
    hessian = root @ root.T + np.eye(4)
    moves = np.linalg.eigh(hessian)[1].T  # conjugate directions
    g = rng.standard_normal(4)
    np.testing.assert_allclose(
        two_loop(g, [(s, hessian @ s) for s in moves]), np.linalg.solve(hessian, g), rtol=1e-10
    )


def network(seed=0, dtype=np.float32):
    model = Sequential(("a", Dense(12)), Tanh(), ("b", Dense(10)), seed=seed)
    model.build((64,), dtype)
    return model


(X, T), _ = load_digits(flatten=True)


def trainer(model, optimizer=None, **options):
    options = {"batch_size": len(X), **options}
    return Trainer(model, SoftmaxCrossEntropy(), optimizer or LBFGS(), **options)


def test_a_network_learns_in_full_batches():
    history = trainer(network()).fit(X, T, epochs=60)
    losses = history["train_loss"]
    assert all(after <= before for before, after in pairwise(losses))
    assert history.last["train_accuracy"] > 0.99


@pytest.mark.parametrize(("batch_size", "options"), [(100, {}), (len(X) - 1, {"drop_last": True})])
def test_mini_batches_are_refused_with_the_reason(batch_size, options):
    with pytest.raises(ArgumentError, match=r"LBFGS .*curvature is noise.*batch_size=len\(x\)"):
        trainer(network(), batch_size=batch_size, **options).fit(X, T, epochs=1)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Dropout(0.2), "Dropout 'drawing'"),
        (DropConnect(8, 0.2), "DropConnect 'drawing'"),
        (Residual(Tanh(), survival=0.8), "Residual 'drawing'"),
        (FractionalMaxPool2d(1.5), "FractionalMaxPool2d 'drawing'"),
        (FractionalMaxPool2d(1.5, method="random"), "FractionalMaxPool2d 'drawing'"),
        (Sequential(("inside", Dropout(0.5)), Tanh()), "Dropout 'drawing.inside'"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value.split()[0],
)
def test_a_network_that_draws_at_random_is_refused_with_the_reason(layer, named):
    model = Sequential(("drawing", layer), Flatten(), ("b", Dense(10)))
    x = X.reshape(-1, 1, 8, 8)[:50] if "Fractional" in named else X[:50]
    with pytest.raises(ArgumentError, match=rf"LBFGS .*at random.*{named}.*curvature is noise"):
        trainer(model, batch_size=50).fit(x, T[:50], epochs=1)


@pytest.mark.parametrize(
    "layer", [Dropout(0), DropConnect(8, 0), Residual(Tanh()), BatchNorm()], ids=repr
)
def test_what_could_draw_and_does_not_is_trained(layer):
    losses = trainer(Sequential(layer, Dense(10))).fit(X, T, epochs=3)["train_loss"]
    assert losses[2] < losses[0]


def test_weight_decay_is_part_of_what_is_minimised():
    def norm(decay):
        model = network()
        run = trainer(model, LBFGS(weight_decay=decay))
        losses = run.fit(X, T, epochs=15)["train_loss"]
        assert all(after <= before for before, after in pairwise(losses))
        return float((model["a"].weight.value ** 2).sum())

    assert norm(0.1) < 0.5 * norm(0.0)


def test_a_run_resumed_is_the_same_bit_for_bit(tmp_path):
    whole = network()
    trainer(whole, LBFGS(history=3)).fit(X, T, epochs=8)
    first = network()
    trainer(first, LBFGS(history=3), checkpoint=tmp_path).fit(X, T, epochs=4)
    second = network()
    trainer(second, LBFGS(history=3), checkpoint=tmp_path).fit(X, T, epochs=8, resume=True)
    for ref, out in zip(whole.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(out.value, ref.value)


def test_a_plain_step_is_refused():
    model = network()
    with pytest.raises(TrainingError, match="within a step"):
        LBFGS().step(FlatParameters(model))
    with pytest.raises(ArgumentError, match="history"):
        LBFGS(history=0)


def test_newtons_method_needs_no_rate_and_few_steps():
    # f = x0**4 + x1**2: the first coordinate shrinks by 2/3, the second is solved at once.
    path = newton_path(
        lambda x: np.array([4 * x[0] ** 3, 2 * x[1]]),
        lambda x: np.diag([12 * x[0] ** 2, 2.0]),
        np.array([3.0, 5.0]),
        4,
    )
    np.testing.assert_allclose(path[:, 0], 3 * (2 / 3) ** np.arange(5))
    np.testing.assert_allclose(path[1:, 1], 0)
    with pytest.raises(TrainingError, match="cannot be inverted"):
        newton_path(lambda x: x, lambda x: np.zeros((1, 1)), np.ones(1), 1)
