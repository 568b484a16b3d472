"""The written form of problems: it is read back, and what is not of that form is refused."""

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from fastscratch.errors import ArgumentError, FastscratchError, ShapeError
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import (
    AVG_POOL_OPS,
    CHANNEL_OPS,
    COLUMN_OPS,
    CONV_OPS,
    CONV_POOL_OPS,
    DENSE_OPS,
    ELEMENT_OPS,
    FAMILIES,
    FRACTIONAL_POOL_OPS,
    LOSS_OPS,
    ChannelsProblem,
    DenseProblem,
    ElementsProblem,
    RegionsProblem,
    WindowProblem,
    parse_problem,
)

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def problems(draw):
    op = draw(st.sampled_from(list(OPS)))
    dtype = draw(st.sampled_from(["f32", "f64"]))
    if op in DENSE_OPS:
        features = draw(st.integers(1, 900)), draw(st.integers(1, 900))
        return DenseProblem(op, dtype, draw(st.integers(0, 900)), *features)
    if op in ELEMENT_OPS:
        return ElementsProblem(op, dtype, draw(st.lists(st.integers(0, 90), min_size=1).map(tuple)))
    if op in CHANNEL_OPS:
        pixels = 1 if op in LOSS_OPS else draw(st.integers(0, 90))
        N, C = draw(st.integers(0, 90)), draw(st.integers(1, 90))
        return ChannelsProblem(op, dtype, N, C, pixels)
    if op in FRACTIONAL_POOL_OPS:
        H, W = draw(st.integers(1, 90)), draw(st.integers(1, 90))
        windows = draw(st.integers(1, H)), draw(st.integers(1, W))
        N, C = draw(st.integers(0, 90)), draw(st.integers(1, 90))
        return RegionsProblem(op, dtype, N, C, H, W, *windows)
    convolves = op in CONV_OPS + CONV_POOL_OPS
    groups = draw(st.integers(1, 4)) if convolves else 1
    problem = WindowProblem(
        op, dtype, draw(st.integers(0, 9)), groups * draw(st.integers(1, 9)),
        draw(st.integers(1, 30)), draw(st.integers(1, 30)), draw(pairs),
        OC=groups * draw(st.integers(1, 9)) if convolves else 0,
        stride=draw(pairs),
        padding=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilation=draw(pairs) if op not in AVG_POOL_OPS else (1, 1),
        groups=groups,
        rounding=draw(st.sampled_from(["exact", "floor", "ceil"][: 2 if op in COLUMN_OPS else 3])),
        count_include_pad=draw(st.booleans()) if op in AVG_POOL_OPS else True,
        pool=draw(pairs) if op in CONV_POOL_OPS else (1, 1),
    )  # fmt: skip
    try:
        assume(min(problem.pooled) > 0)
    except ShapeError:
        assume(False)
    return problem


@given(problems())
def test_is_read_back(problem):
    assert parse_problem(str(problem)) == problem


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("conv2d_forward:f32:n8c64h56w56:oc128k3s2p1floor", None),
        ("conv2d_forward:f32:n8c64h56w56:oc128k3", "conv2d_forward:f32:n8c64h56w56:oc128k3s1p0"),
        ("conv2d_forward:f32:n1c2h5w5:k3oc2g2p1", "conv2d_forward:f32:n1c2h5w5:oc2k3s1p1g2"),
        ("max_pool2d_backward:f64:n2c3h7w9:k3x2s2p1x0ceil", None),
        ("max_pool2d_forward:f32:n1c1h4w4:k2", "max_pool2d_forward:f32:n1c1h4w4:k2s2p0"),
        ("avg_pool2d_forward:f32:n1c1h6w6:k3s1p0x2x1x0nopad", None),
        ("im2col:f32:n1c1h4w4:k2", "im2col:f32:n1c1h4w4:k2s1p0"),
        (" dense_forward:f32:n100i784:o50\n", "dense_forward:f32:n100i784:o50"),
        (
            "conv2d_relu_max_pool2d_forward:f32:n1c1h9w9:oc2k3m2x3",
            "conv2d_relu_max_pool2d_forward:f32:n1c1h9w9:oc2k3s1p0m2x3",
        ),
        ("relu_forward:f32:n100x30x24x24", None),
        ("adam_update:f64:n12", None),
        ("softmax_cross_entropy_forward:f32:n100c10", None),
        ("batch_norm_forward:f32:n8c3s1", "batch_norm_forward:f32:n8c3"),
    ],
)
def test_forms(text, written):
    assert str(parse_problem(text)) == (written or text)


@pytest.mark.parametrize(
    "text",
    [
        "", "conv3d:f32:n1", "conv2d_forward", "conv2d_forward:f16:n1c1h4w4:oc1k3",
        "conv2d_forward:f32:n1c1h4w4:k3", "conv2d_forward:f32:n1c1h4w4:oc1k3z2",
        "conv2d_forward:f32:n1c1h4w4:oc1k3s1 p1", "conv2d_forward:f32:n1c1h4w4:oc1k3s0",
        "conv2d_forward:f32:n1c3h4w4:oc4k3g2", "conv2d_forward:f32:n1c1h4w4:oc1k3nopad",
        "conv2d_forward:f32:n1c1h4w4:oc1k3floorceil", "conv2d_forward:f32:n1c1h4w4:oc1k1x2x3",
        "conv2d_forward:f32:n1x2c1h4w4:oc1k3", "max_pool2d_forward:f32:n1c1h4w4:k2nopad",
        "max_pool2d_forward:f32:n1c1h4w4:oc3k2", "dense_forward:f32:n1i2:o3s2",
        "dense_forward:f32:n1i2:o3floor", "dense_forward:f32:n1i2", "im2col:f32:n1c1h4w4:k2ceil",
        "conv2d_forward:f32:n1c1h4w4:oc1k3p1x2x3", "conv2d_forward:f32:n1c1h4w4:oc1k3:extra",
        "avg_pool2d_forward:f32:n1c1h9w9:k2s1d2", "im2col:f32:n1c1h4w:4k2",
        "im2col:f32:n1c1h4w4:k2k3", "im2col:f32:n1c1h4w4:k²", "im2col:f32:n1c0h4w4:k2",
        "dense_forward:f32:n1i0:o3", "dense_forward:f32:n1i2:o0",
        "conv2d_forward:f32:n1c0h4w4:oc1k3", "conv2d_forward:f32:n1c1h4w4:oc0k3",
        "relu_forward:f32", "relu_forward:f32:", "relu_forward:f32:n3:n4", "relu_forward:f16:n3",
        "relu_forward:f32:c3", "relu_forward:f32:n3c4", "sgd_update:f32:n3floor",
        "batch_norm_forward:f32:n3", "batch_norm_forward:f32:n3c0", "batch_norm_forward:f32:n3c2x2",
        "softmax_cross_entropy_forward:f32:n3c4s5",
        "fractional_max_pool2d_forward:f32:n1c1h4w4:oh5ow2",
        "fractional_max_pool2d_forward:f32:n1c1h4w4:oh2", "prelu_forward:f32:n3",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(ArgumentError, match="problem "):
        parse_problem(text)


def test_the_form_is_shown():
    with pytest.raises(ArgumentError, match="of the form conv2d_forward:f32:n8c64h56w56:oc128k3s1"):
        parse_problem("conv2d_forward:f32:nonsense:more")
    with pytest.raises(ArgumentError, match=r"one of conv2d_forward, .*col2im"):
        parse_problem("conv:f32:n1:k1")
    with pytest.raises(ArgumentError, match="of the form tanh_forward:f32:n100x30x24x24"):
        parse_problem("tanh_forward:f32:n100c30")


@pytest.mark.parametrize(
    "text", ["conv2d_forward:f32:n1c1h4w4:oc1k5", "max_pool2d_forward:f32:n1c1h5w5:k2"]
)
def test_windows_that_do_not_fit_are_refused(text):
    with pytest.raises(ShapeError):
        parse_problem(text)


@given(st.text(alphabet="conv2d_fwar:nhkpsx0123456789floceig", max_size=60))
def test_no_text_ends_in_another_error(text):
    for candidate in (text, f"conv2d_forward:f32:n1c2h5w5:oc2k3{text}", f"im2col:f32:{text}:k2"):
        try:
            parse_problem(candidate)
        except FastscratchError as error:
            assert str(error)


def test_every_operation_is_in_one_family():
    assert sorted(op for family in FAMILIES for op in family) == sorted(OPS)
