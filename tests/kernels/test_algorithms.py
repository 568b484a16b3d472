"""Which algorithms the catalogue has, what they serve, and when they are preferred."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.dispatch import choose
from fastscratch.errors import ArgumentError, BackendUnavailableError
from fastscratch.kernels.algorithms import (
    ALGORITHMS,
    TRANSFORMED,
    gauss_prefers,
    gauss_supports,
    winograd2_prefers,
    winograd2_supports,
)
from fastscratch.kernels.catalogue import BACKENDS, OPS, backend_reason
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import all_problems, make_inputs
from fastscratch.testing.cases import shapes_of
from fastscratch.testing.inputs import double_precision, reference_outputs, run_kernel


@pytest.mark.parametrize("op", OPS)
def test_every_backend_ends_in_the_direct_one_which_serves_everything(op):
    for backend in BACKENDS:
        entries = [entry for entry in OPS[op].implementations if entry.backend == backend]
        *others, last = entries
        assert last is OPS[op].direct(backend)
        assert last.supports is None
        assert all(entry.algorithm and entry.supports for entry in others)
        named = op in TRANSFORMED and backend != "numpy"
        assert last.name == (f"{backend}:direct" if named else backend)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_an_algorithm_is_on_the_list_of_its_operations(algorithm):
    for op, spec in OPS.items():
        names = [entry.name for entry in spec.implementations if entry.algorithm is algorithm]
        has = op in algorithm.functions
        assert names == [f"{name}:{algorithm.name}" for name in algorithm.backends if has]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_what_is_preferred_is_supported_and_cases_and_shapes_have_both(algorithm):
    for op in algorithm.functions:
        shapes = [parse_problem(f"{op}:f32:{text}") for text in shapes_of(op).values()]
        problems = [*all_problems(op), *shapes]
        found = {(algorithm.supports(p), algorithm.prefers(p)) for p in problems}
        assert (True, True) in found
        assert (True, False) in found or algorithm.prefers is algorithm.supports


@pytest.mark.parametrize(
    ("text", "supported"),
    [
        ("oc4k3p1", True),
        ("oc4k3", True),
        ("oc4k3p0x2x1x0", True),
        ("oc4k2p1", True),
        ("oc4k3s2p1floor", True),
        ("oc4k5s2p2floor", True),
        ("oc4k6s3p2floor", True),
        ("oc4k8s4p2floor", True),
        ("oc4k7s2p2floor", False),
        ("oc4k10s5p2floor", False),
        ("oc4k3s3p1floor", False),
        ("oc4k3s2x1p1floor", False),
        ("oc4k3s2p1d2floor", False),
        ("oc4k3p2d2", True),
        ("oc4k3p8d1x8", True),
        ("oc4k3p9d1x9", False),
        ("oc4k3p1g2", True),
        ("oc4k3p1g4", False),
        ("oc4k3x1p1x0", True),
        ("oc4k1x2", True),
        ("oc4k1x5p0x2", True),
        ("oc4k3x1p8x0d8x9", True),
        ("oc4k3x1p9x0d9x1", False),
        ("oc4k1x7p0x3", False),
        ("oc4k1x3s1x2p0x1floor", False),
        ("oc4k1x3s2p0x1floor", False),
        ("oc4k2x3p1", False),
        ("oc4k4p2", False),
        ("oc4k5p2", True),
        ("oc4k7p3", False),
        ("oc4k9p4", True),
    ],
)
def test_four_points_serve_windows_in_pieces_of_two_or_three_taps(text, supported):
    problem = parse_problem(f"conv2d_forward:f32:n1c4h9w8:{text}")
    assert winograd2_supports(problem) is supported


@pytest.mark.parametrize(
    ("text", "supported"),
    [
        ("oc4k3p1", True),
        ("oc4k4p2d2", True),
        ("oc4k5p2", True),
        ("oc4k2p1", False),
        ("oc4k6p2", True),
        ("oc4k7p3d2", True),
        ("oc4k16p8", True),
        ("oc4k17p8", False),
        ("oc4k4x5p2", False),
        ("oc4k1x4p0x2", True),
        ("oc4k16x1p8x0", True),
        ("oc4k17x1p8x0", False),
        ("oc4k1x2", False),
        ("oc4k5s2p2floor", True),
        ("oc4k7s2p2floor", True),
        ("oc4k11s4p2floor", True),
        ("oc4k4s2p2floor", False),
        ("oc4k9s2p2floor", False),
        ("oc4k5p2g2", True),
        ("oc4k5p2g4", False),
    ],
)
def test_six_points_serve_windows_in_pieces_of_three_or_four_taps(text, supported):
    problem = parse_problem(f"conv2d_forward:f32:n1c4h9w8:{text}")
    assert gauss_supports(problem) is supported


def test_pieces_that_have_too_many_channels_are_left_to_the_direct_sum():
    for channels, supported in ((2048, True), (2049, False)):
        for shape in (f"c{channels}h16w16:oc1", f"c1h16w16:oc{channels}"):
            problem = parse_problem(f"conv2d_forward:f32:n1{shape}k8s4")
            assert winograd2_supports(problem) is supported


@pytest.mark.parametrize(
    ("text", "default", "fast"),
    [
        ("n8c64h56w56:oc64k3p1", "gauss", "winograd4"),
        ("n64c32h8w8:oc128k3p1", "gauss", "winograd4"),
        ("n1c64h32w32:oc64k3p1", "winograd2", "winograd4"),
        ("n64c64h14w14:oc64k3p1", "winograd2", "winograd4"),
        ("n64c256h28w28:oc256k3p1", "winograd2", "winograd4"),
        ("n8c512h7w7:oc512k3p1", "winograd2", "winograd4"),
        ("n1c64h7w7:oc64k3p1", "winograd2", "winograd2"),
        ("n8c64h28w28:oc64k3p2d2", "winograd2", "winograd4"),
        ("n8c64h64w64:oc64k3p4d4", "gauss", "winograd4"),
        ("n8c64h6w6:oc64k3p6d6", "direct", "direct"),
        ("n8c64h28w28:oc64k5p2", "gauss", "gauss"),
        ("n8c24h28w28:oc64k5p2", "gauss", "gauss"),
        ("n8c32h28w28:oc64k4p1", "gauss", "gauss"),
        ("n8c4h28w28:oc64k4p1", "direct", "direct"),
        ("n8c128h17w17:oc128k1x7p0x3", "gauss", "gauss"),
        ("n8c128h17w17:oc128k7x1p3x0", "gauss", "gauss"),
        ("n8c64h1w512:oc64k1x3p0x1", "gauss", "gauss"),
        ("n8c64h1w511:oc64k1x2", "winograd2", "winograd2"),
        ("n8c3h17w17:oc128k1x3p0x1", "direct", "direct"),
        ("n100c16h14w14:oc16k3p1", "winograd2", "winograd4"),
        ("n8c64h28w28:oc64k5p0d6", "direct", "direct"),
        ("n8c64h5w5:oc64k5p0", "dense", "dense"),
        ("n8c64h1w1:oc64k1", "dense", "dense"),
        ("n8c64h5w6:oc64k5p0", "direct", "direct"),
        ("n8c64h5w5:oc64k5p0g2", "direct", "direct"),
        ("n1c64h6w6:oc64k5p2", "direct", "direct"),
        ("n0c64h8w8:oc64k5p2", "direct", "direct"),
        ("n64c3h32w32:oc64k3p1", "direct", "direct"),
        ("n8c384h13w13:oc384k3p1g2", "winograd2", "winograd4"),
        ("n8c128h56w56:oc128k3p1g2", "gauss", "winograd4"),
        ("n8c96h27w27:oc256k5p2g2", "gauss", "gauss"),
        ("n8c1024h7w7:oc1024k3p1g32", "gauss", "winograd4"),
        ("n8c1024h7w7:oc1024k3p1g8", "winograd2", "winograd4"),
        ("n8c128h56w56:oc128k3p1g32", "direct", "direct"),
        ("n8c64h56w56:oc8k3p1", "direct", "direct"),
        ("n8c12h28w28:oc48k3p1", "direct", "direct"),
        ("n8c12h28w28:oc12k3p1", "direct", "direct"),
        ("n9c64h1w1:oc64k3p1", "direct", "direct"),
        ("n1c64h2w2:oc64k3p1", "direct", "direct"),
        ("n0c64h8w8:oc64k3p1", "direct", "direct"),
        ("n8c64h56w56:oc128k3s2p1floor", "winograd2", "winograd2"),
        ("n8c16h56w56:oc24k3s2p1floor", "direct", "direct"),
        ("n8c64h56w56:oc64k3s2p1d2floor", "direct", "direct"),
        ("n16c64h32w32:oc128k4s2p1", "winograd2", "winograd2"),
        ("n16c32h28w28:oc64k5s2p2floor", "winograd2", "winograd2"),
        ("n8c64h56w56:oc64k7s2p3floor", "gauss", "gauss"),
        ("n8c3h227w227:oc64k11s4p0floor", "gauss", "gauss"),
        ("n1c512h8w8:oc512k3s2p1floor", "direct", "direct"),
        ("n8c64h56w56:oc8k4s2p1floor", "direct", "direct"),
        ("n0c64h56w56:oc64k3s2p1floor", "direct", "direct"),
        ("n8c64h28w28:oc64k2p0", "winograd2", "winograd2"),
        ("n8c8h28w28:oc16k2p0", "direct", "direct"),
        ("n8c64h28w28:oc64k7p3", "gauss", "gauss"),
        ("n8c64h28w28:oc64k9p4", "gauss", "gauss"),
        ("n1c64h7w7:oc64k7p3", "direct", "direct"),
    ],
)
def test_the_preferred_algorithm(text, default, fast, require_backend):
    require_backend("cython")
    require_backend("numba")
    problem = parse_problem(f"conv2d_forward:f32:{text}")
    found = []
    for level in ("default", "fast"):
        with fs.accuracy(level):
            for named in ("cython", "numba", None):
                choice = choose(problem, fs.dispatch.current_settings(), named)
                found.append(choice.implementation.name)
    names = [f"{b}:{name}" for name in (default, fast) for b in ("cython", "numba", "cython")]
    assert found == names


@pytest.mark.parametrize(
    ("direction", "text", "preferred"),
    [
        # Narrow maps leave the direct algorithm's vectors half empty: fewer channels are enough.
        ("forward", "n4c32h14w14:oc8k3p1", False),
        ("forward", "n4c32h7w7:oc8k3p1", True),
        ("forward", "n4c8h7w7:oc32k3p1", False),
        ("backward_input", "n4c8h7w7:oc32k3p1", True),
        ("backward_input", "n4c32h7w7:oc8k3p1", False),
        ("backward_weight", "n4c16h56w56:oc8k3p1", True),
        ("backward_weight", "n4c8h56w56:oc16k3p1", False),
        ("backward_weight", "n4c32h56w56:oc5k3p1", False),
        ("backward_weight", "n4c32h14w14:oc5k3p1", True),
        ("backward_weight", "n4c8h7w7:oc5k3p1", True),
        ("backward_weight", "n4c32h7w7:oc2k3p1", False),
        # Dilated ones must save more: as phases, small maps are smaller still.
        ("forward", "n4c32h28w28:oc32k3p2d2", True),
        ("forward", "n4c32h28w28:oc16k3p2d2", False),
        ("forward", "n4c32h10w10:oc32k3p2d2", False),
        ("backward_input", "n4c32h12w12:oc32k3p2d2", True),
        ("backward_input", "n4c32h12w12:oc32k3p0d2", False),
        ("backward_weight", "n4c32h12w12:oc32k3p0d2", True),
    ],
)
def test_what_is_preferred_differs_by_direction_and_width(direction, text, preferred):
    problem = parse_problem(f"conv2d_{direction}:f32:{text}")
    assert winograd2_prefers(problem) is preferred


@pytest.mark.parametrize(
    ("text", "at_32_bytes", "at_64_bytes"),
    [
        ("f32:n4c16h32w32:oc16k3p1", True, True),
        ("f32:n4c15h32w32:oc16k3p1", False, False),
        ("f32:n4c32h32w32:oc16k3p1", True, True),
        ("f32:n4c32h32w32:oc17k3p1", True, False),
        ("f32:n4c64h32w32:oc17k3p1", True, True),
        ("f32:n4c16h32w32:oc24k3p1", True, False),
        ("f32:n4c32h32w32:oc24k3p1", True, True),
        ("f32:n4c16h32w32:oc32k3p1", True, True),
        ("f32:n4c64h32w32:oc15k3p1", False, False),
        ("f64:n4c16h32w32:oc16k3p1", True, True),
    ],
)
def test_channels_that_do_not_fill_vectors_must_sum_more(
    monkeypatch, text, at_32_bytes, at_64_bytes
):
    problem = parse_problem(f"conv2d_forward:{text}")
    for vector_bytes, preferred in ((32, at_32_bytes), (64, at_64_bytes)):
        monkeypatch.setattr("fastscratch.kernels.algorithms._VECTOR_BYTES", vector_bytes)
        assert winograd2_prefers(problem) is preferred


def test_gauss_takes_a_vector_of_channels(monkeypatch):
    """Where they fill one that is made, as many summed are enough."""
    for vector_bytes in (32, 64):
        monkeypatch.setattr("fastscratch.kernels.algorithms._VECTOR_BYTES", vector_bytes)
        for op in sorted(TRANSFORMED):
            assert gauss_prefers(parse_problem(f"{op}:f32:n64c16h32w32:oc16k3p1"))
    assert not gauss_prefers(parse_problem("conv2d_forward:f32:n64c16h32w32:oc17k3p1"))
    assert not gauss_prefers(parse_problem("conv2d_forward:f32:n64c15h32w32:oc16k3p1"))


@pytest.mark.parametrize(
    ("shape", "at_32_bytes", "at_64_bytes"),
    [
        ("n8c16h28w28:oc64k5p2", True, True),
        ("n8c4h28w28:oc64k5p2", False, False),
        ("n8c64h30w30:oc16k4p2x1x2x1", True, True),
        ("n8c64h30w30:oc8k4p2x1x2x1", True, False),
        ("n8c64h30w30:oc7k4p2x1x2x1", False, False),
    ],
)
def test_large_windows_need_channels_for_their_vectors(
    monkeypatch, shape, at_32_bytes, at_64_bytes
):
    for vector_bytes, preferred in ((32, at_32_bytes), (64, at_64_bytes)):
        monkeypatch.setattr("fastscratch.kernels.algorithms._VECTOR_BYTES", vector_bytes)
        for op in sorted(TRANSFORMED):
            assert gauss_prefers(parse_problem(f"{op}:f32:{shape}")) is preferred


@pytest.mark.parametrize(
    ("direction", "shape", "preferred"),
    [
        ("forward", "n8c64h56w56:oc64k3s2p1floor", False),
        ("backward_input", "n8c64h56w56:oc64k3s2p1floor", True),
        ("backward_weight", "n8c64h56w56:oc64k3s2p1floor", False),
        ("forward", "n8c3h227w227:oc64k11s4floor", True),
        ("backward_input", "n8c3h227w227:oc64k11s4floor", False),
        ("backward_weight", "n8c3h227w227:oc64k11s4floor", True),
    ],
)
def test_what_pieces_cost_differs_by_direction(direction, shape, preferred):
    problem = parse_problem(f"conv2d_{direction}:f32:{shape}")
    assert (gauss_prefers(problem) or winograd2_prefers(problem)) is preferred


def test_a_named_algorithm_runs_whatever_is_preferred(require_backend):
    require_backend("cython")
    preferred = parse_problem("conv2d_forward:f32:n8c64h56w56:oc64k3p1")
    other = parse_problem("conv2d_forward:f32:n1c1h8w8:oc8k3p1")
    settings = fs.dispatch.current_settings()
    for problem in (preferred, other):
        able = [a.name for a in ALGORITHMS if a.supports(problem)]
        assert able == ["winograd4", "gauss", "winograd2"]
        for name in ("direct", *able):
            chosen = choose(problem, settings, f"cython:{name}").implementation
            assert chosen.name == f"cython:{name}"
    strided = parse_problem("conv2d_forward:f32:n8c64h56w56:oc64k3s2x1p1floor")
    with pytest.raises(BackendUnavailableError, match=r"'cython:winograd2' .* does not support"):
        choose(strided, settings, "cython:winograd2")


def test_choices_are_recorded_by_algorithm(require_backend):
    require_backend("cython")
    x, weight = np.ones((2, 16, 8, 8), np.float32), np.ones((16, 16, 3, 3), np.float32)
    with fs.use_backend("cython"), fs.record_choices() as choices:
        fs.ops.conv2d_forward(x, weight)
        fs.ops.conv2d_forward(x, weight, stride=5)
    assert choices == {"conv2d_forward": {"cython:winograd2": 1, "cython:direct": 1}}
    report = fs.explain("conv2d_forward", x, weight, backend="cython")
    assert report.implementation == "cython:winograd2"
    assert "  - cython:direct: can run it" in str(report).splitlines()


def test_an_unknown_accuracy_is_an_error():
    with pytest.raises(ArgumentError, match='accuracy must be "default" or "fast", got \'high\''):
        fs.accuracy("high")


# Error of the largest output, in eps, on normal inputs: what accuracy("fast") promises, and what
# the default does.
BOUNDS = {"winograd2": 8, "gauss": 8, "winograd4": 32}
SHAPES = (
    "n2c64h28w28:oc32k3p1",
    "n2c512h7w7:oc32k3p1",
    "n1c16h30w31:oc16k3p1",
    "n8c32h28w28:oc32k3p1",
    "n2c64h28w28:oc32k5p2",
    "n2c512h7w7:oc32k4p2",
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", sorted(TRANSFORMED))
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_errors_stay_within_the_promised_bound(op, shape, dtype, require_backend):
    """The reference in float64 judges float32; a float64 result, one with other roundings."""
    problem = parse_problem(f"{op}:{dtype}:{shape}")
    inputs = make_inputs(problem, "normal")
    wide, widened = double_precision(problem, inputs)
    truth = reference_outputs(wide, widened)
    eps = np.finfo(np.float32 if dtype == "f32" else np.float64).eps
    for entry in OPS[op].implementations:
        algorithm = entry.algorithm
        if algorithm is None or backend_reason(entry.backend) or not algorithm.supports(problem):
            continue
        outputs = {
            name: np.empty(array.shape, array.dtype)
            for name, array in OPS[op].arrays(problem).items()
            if array.role == "out"
        }
        run_kernel(entry.load(), problem, inputs | outputs, 2)
        for name, out in outputs.items():
            error = np.abs(out - truth[name]).max() / np.abs(truth[name]).max() / eps
            assert error <= BOUNDS[algorithm.name], f"{entry.name} {name}"
