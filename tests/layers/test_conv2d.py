import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers import Conv2d, Sequential


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        # The worked sizes of the source documents.
        (Conv2d(1, 3), (1, 4, 4), (1, 2, 2)),
        (Conv2d(1, 3, padding=1), (1, 4, 4), (1, 4, 4)),
        (Conv2d(1, 3, stride=2), (1, 7, 7), (1, 3, 3)),
        (Conv2d(30, 5), (1, 28, 28), (30, 24, 24)),
        (Conv2d(20, 5), (3, 28, 28), (20, 24, 24)),
        # Rectangles, and each other flag.
        (Conv2d(2, (3, 2)), (1, 9, 5), (2, 7, 4)),
        (Conv2d(2, 3, padding="same", stride=2), (1, 9, 6), (2, 5, 3)),
        (Conv2d(2, 3, padding="valid"), (1, 9, 6), (2, 7, 4)),
        (Conv2d(2, 3, padding=(1, 0, 2, 2)), (1, 9, 6), (2, 8, 8)),
        (Conv2d(2, 3, dilation=2), (1, 9, 6), (2, 5, 2)),
        (Conv2d(2, 3, stride=2, rounding="floor"), (1, 6, 6), (2, 2, 2)),
        (Conv2d(2, 3, stride=2, rounding="ceil"), (1, 6, 6), (2, 3, 3)),
    ],
)
def test_output_shapes(layer, shape, expected):
    assert layer.build(shape) == expected
    assert layer.forward(np.zeros((2, *shape), np.float32)).shape == (2, *expected)


def test_weights_are_per_group():
    conv = Conv2d(6, 3, groups=3)
    conv.build((9, 5, 5))
    assert conv.bias is not None
    assert conv.weight.shape == (6, 3, 3, 3) and conv.bias.shape == (6,)
    assert conv.multiply_adds() == 6 * 3 * 3 * 3 * 3 * 3


def test_a_remainder_is_an_error_that_names_the_layer_and_the_way_out():
    model = Sequential(("stem", Conv2d(2, 3, stride=2)))
    with pytest.raises(ShapeError, match=r"layer 'stem' \(Conv2d\).*remainder.*rounding=\"floor\""):
        model.build((1, 6, 6))


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: Conv2d(2, 3), (10,), r"takes images \(N, C, H, W\), got \(N, 10\)"),
        (lambda: Conv2d(2, 5), (1, 3, 3), "reaches over 5"),
        (lambda: Conv2d(4, 3, groups=2), (3, 5, 5), "groups"),
        (lambda: Conv2d(2, 3, padding=-1), (1, 5, 5), "negative"),
        (lambda: Conv2d(2, 3, padding="full"), (1, 5, 5), "same"),  # type: ignore[arg-type]
        (lambda: Conv2d(2, 3, rounding="up"), (1, 5, 5), "rounding"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_found_when_building(make, shape, message):
    with pytest.raises(ValueError, match=f"^Conv2d: .*{message}"):
        make().build(shape)


@pytest.mark.parametrize(
    "arguments",
    [{"out_channels": 0}, {"out_channels": 3, "groups": 2}, {"kernel_size": 0}, {"stride": (1, 0)},
     {"kernel_size": 2.5}, {"dilation": 0}],
)  # fmt: skip
def test_impossible_arguments(arguments):
    with pytest.raises(ArgumentError):
        Conv2d(**{"out_channels": 4, "kernel_size": 3, **arguments})


def test_wrong_channels_name_the_layer():
    conv = Conv2d(2, 3)
    conv.build((3, 8, 8), path="features.2")
    with pytest.raises(
        ShapeError, match=r"'features.2' \(Conv2d\).*\(N, 3, 8, 8\), got \(1, 1, 8, 8\)"
    ):
        conv.forward(np.zeros((1, 1, 8, 8), np.float32))


def test_he_scale_counts_the_window():
    conv = Conv2d(64, 5)
    conv.build((32, 5, 5))
    assert abs(conv.weight.value.std() / np.sqrt(2 / (32 * 25)) - 1) < 0.05
    depthwise = Conv2d(512, 5, groups=512)
    depthwise.build((512, 5, 5))
    assert abs(depthwise.weight.value.std() / np.sqrt(2 / 25) - 1) < 0.05


def test_xavier_scale_counts_the_groups():
    conv = Conv2d(64, 5, groups=4, weight_init="xavier_uniform")
    conv.build((32, 5, 5))
    limit = np.sqrt(6 / (8 * 25 + 16 * 25))
    assert 0.99 * limit < abs(conv.weight.value).max() <= limit


def test_list_arguments_from_json_work():
    conv = Conv2d(2, [3, 3], padding=[1, 1, 1, 1], stride=[1, 1])
    assert conv.forward(np.zeros((1, 1, 4, 4), np.float32)).shape == (1, 2, 4, 4)
    assert conv.padding == (1, 1, 1, 1)


sizes = st.integers(1, 9)
steps = st.integers(1, 3)
paddings = st.one_of(
    st.integers(0, 3), st.tuples(*[st.integers(0, 3)] * 4), st.sampled_from(["same", "valid"])
)


@given(
    st.tuples(sizes, sizes),
    st.tuples(steps, steps),
    st.tuples(steps, steps),
    st.tuples(steps, steps),
    paddings,
    st.sampled_from(["exact", "floor", "ceil"]),
)
def test_the_announced_shape_is_the_shape(extents, kernel, stride, dilation, padding, rounding):
    conv = Conv2d(2, kernel, stride=stride, dilation=dilation, padding=padding, rounding=rounding)
    x = np.ones((2, 1, *extents), np.float32)
    try:
        announced = conv.build((1, *extents))
    except ShapeError:
        with pytest.raises(ShapeError):
            conv.forward(x)
        return
    y = conv.forward(x, training=True)
    assert y.shape == (2, *announced)
    assert conv.backward(y).shape == x.shape


@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_same_padding_of_small_and_even_kernels_has_a_gradient(kernel):
    conv = Conv2d(1, kernel, padding="same", weight_init="constant")
    y = conv.forward(np.ones((1, 1, 4, 4)), training=True)
    assert y.shape == (1, 1, 4, 4)
    dx = conv.backward(np.ones_like(y))
    assert dx.shape == (1, 1, 4, 4) and (dx > 0).all()
