import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.initializers import (
    Constant,
    HeNormal,
    HeUniform,
    Initializer,
    Normal,
    XavierNormal,
    XavierUniform,
    Zeros,
    get_initializer,
)

FAN_IN, FAN_OUT = 300, 200

STD = {
    HeNormal(): np.sqrt(2 / FAN_IN),
    HeUniform(): np.sqrt(2 / FAN_IN),
    XavierNormal(): np.sqrt(2 / (FAN_IN + FAN_OUT)),
    XavierUniform(): np.sqrt(2 / (FAN_IN + FAN_OUT)),
    XavierNormal("in"): np.sqrt(1 / FAN_IN),
    XavierUniform("in"): np.sqrt(1 / FAN_IN),
    Normal(0.01): 0.01,
    Normal(1.0): 1.0,
}


def draw(initializer, seed=0):
    return initializer(np.random.default_rng(seed), (FAN_IN, FAN_OUT), FAN_IN, FAN_OUT)


@pytest.mark.parametrize("initializer", STD, ids=repr)
def test_mean_and_standard_deviation(initializer):
    values = draw(initializer)
    std = STD[initializer]
    assert values.shape == (FAN_IN, FAN_OUT) and values.dtype == np.float64
    # Five standard errors for 60,000 draws.
    assert abs(values.mean()) < 5 * std / np.sqrt(values.size)
    assert abs(values.std() / std - 1) < 5 / np.sqrt(2 * values.size)


@pytest.mark.parametrize(
    ("initializer", "limit"),
    [(HeUniform(), np.sqrt(6 / FAN_IN)), (XavierUniform(), np.sqrt(6 / (FAN_IN + FAN_OUT)))],
)
def test_uniform_ones_keep_to_their_limit_and_fill_it(initializer, limit):
    values = draw(initializer)
    assert 0.999 * limit < abs(values).max() <= limit
    histogram, _ = np.histogram(values, bins=10, range=(-limit, limit))
    assert abs(histogram / 6000 - 1).max() < 0.07


def test_normal_ones_have_tails():
    for initializer in (HeNormal(), XavierNormal(), Normal(1.0)):
        values = draw(initializer)
        assert abs(values).max() > 3.5 * values.std()


def test_constants():
    assert not draw(Zeros()).any()
    assert (draw(Constant(0.1)) == 0.1).all()


def test_by_name():
    names = {
        "zeros": Zeros(), "constant": Constant(1.0), "normal": Normal(0.01),
        "standard_normal": Normal(1.0), "he_normal": HeNormal(), "he_uniform": HeUniform(),
        "xavier_normal": XavierNormal(), "xavier_uniform": XavierUniform(),
    }  # fmt: skip
    for name, expected in names.items():
        assert get_initializer(name) == expected
        assert get_initializer(expected) is expected
        assert get_initializer(expected.config()) == expected


@pytest.mark.parametrize("name", ["he", "", None, 3, {"std": 1.0}, {"name": []}])
def test_unknown_names_list_the_known(name):
    with pytest.raises(ArgumentError, match="there are constant, he_normal"):
        get_initializer(name)


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="normal"):
        get_initializer({"name": "normal", "sigma": 1.0})
    for make in (lambda: Normal(-1.0), lambda: Normal(float("nan")), lambda: XavierNormal("out")):
        with pytest.raises(ArgumentError):
            make()


def test_the_same_stream_draws_the_same():
    for initializer in STD:
        assert np.array_equal(draw(initializer, 3), draw(initializer, 3))
        assert not np.array_equal(draw(initializer, 3), draw(initializer, 4))


def test_ones_own():
    class Ramp(Initializer):
        name = "ramp"

        def __call__(self, rng, shape, fan_in, fan_out):
            return np.arange(np.prod(shape)).reshape(shape)

    from fastscratch.layers import Dense

    dense = Dense(2, weight_init=Ramp())
    dense.build((2,))
    assert (
        dense.weight.value.tolist() == [[0, 1], [2, 3]] and dense.weight.value.dtype == np.float32
    )


def test_scaled_weights_keep_activations_alive_where_fixed_ones_do_not():
    # The documents' five layers of 100 sigmoid units.
    def last_activations(initializer):
        rng = np.random.default_rng(0)
        z = rng.standard_normal((1000, 100))
        for _ in range(5):
            z = 1 / (1 + np.exp(-z @ initializer(rng, (100, 100), 100, 100)))
        return z

    saturated = last_activations(Normal(1.0))
    assert ((saturated < 0.05) | (saturated > 0.95)).mean() > 0.5
    assert last_activations(Normal(0.01)).std() < 0.03
    assert last_activations(XavierNormal()).std() > 0.06
